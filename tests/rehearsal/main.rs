//! The rehearsal is held against what then really fails: a workload runs before a forced cut-over and
//! after it, and what fails only then was named before, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use support::{Launch, Migration, Resp, Server, Value, all_servers, run_cli, wait_for};

/// Commands and options of every version, a line each.
const WORKLOAD: &str = include_str!("workload.txt");

/// What clients do, as whom, between which servers.
struct Play {
    source: Server,
    target: Server,
    source_url: String,
    target_url: String,
    login: Option<&'static str>,
    workload: Vec<&'static str>,
}

/// What came of it.
struct Outcome {
    /// Lines that failed on the target alone.
    failed: Vec<&'static str>,
    /// The rehearsal, as it was when the clients were moved.
    rehearsal: serde_json::Value,
    blockers: String,
}

impl Play {
    fn between(source: Server, target: Server) -> Self {
        let (source_url, target_url) = (source.url(), target.url());
        let workload = WORKLOAD.lines().collect();
        Self { source, target, source_url, target_url, login: None, workload }
    }

    fn perform(self) -> Outcome {
        let state = self.source.directory().join("state");
        let crossfade = Launch::urls(&self.source_url, &self.target_url)
            .state_dir(&state)
            .expect_log("will be refused by the next primary")
            .start();
        let (source, target) = (self.source, self.target);
        let migration = Migration { crossfade, source, target };
        migration.crossfade.wait_converged();
        let before = run(&mut migration.client(), self.login, &self.workload);
        migration.crossfade.wait_converged();
        let refused = migration.crossfade.admin().cutover(5_000, false);
        let moved = migration.crossfade.admin().cutover(5_000, true);
        assert_eq!(moved.code, 200, "{}", moved.text);
        let rehearsal = migration.crossfade.status()["rehearsal"].clone();
        let after = run(&mut migration.client(), self.login, &self.workload);
        let lines = self.workload.into_iter().zip(before.into_iter().zip(after));
        let failed = lines.filter(|(_, (before, after))| !before.is_error() && after.is_error());
        Outcome {
            failed: failed.map(|(line, _)| line).collect(),
            rehearsal,
            blockers: refused.json()["blockers"].to_string(),
        }
    }
}

/// Runs the workload from nothing.
fn run(client: &mut Resp, login: Option<&str>, workload: &[&'static str]) -> Vec<Value> {
    let log_in = |client: &mut Resp| login.map(|login| client.ok(login));
    log_in(client);
    client.ok("FLUSHALL");
    let mut replies = Vec::new();
    for line in workload {
        replies.push(client.call(*line));
        if *line == "RESET" {
            log_in(client);
        }
    }
    replies
}

impl Outcome {
    /// The commands that the rehearsal names, as `why` says.
    fn named(&self) -> BTreeSet<String> {
        let commands = self.rehearsal["commands"].as_array().unwrap().iter();
        commands.map(|used| used["command"].as_str().unwrap().to_owned()).collect()
    }

    /// What is wrong with a script, by its digest.
    fn scripts(&self) -> Vec<&str> {
        let scripts = self.rehearsal["scripts"].as_array().unwrap().iter();
        scripts.map(|script| script["why"].as_str().unwrap()).collect()
    }

    /// Every line that failed was named, and every name stands for one.
    fn assert_exact(&self, what: &str) {
        let names = |line: &str| {
            let words: Vec<String> = line.split(' ').take(2).map(str::to_uppercase).collect();
            [words[0].clone(), words.join(" ")]
        };
        let named = self.named();
        let by_script = |line: &str| {
            line.starts_with("EVAL")
                && self.scripts().iter().any(|why| {
                    let called =
                        why.strip_prefix("it calls ").and_then(|why| why.split(',').next());
                    called.is_some_and(|called| line.contains(called))
                })
        };
        for line in &self.failed {
            let is_named = names(line).iter().any(|name| named.contains(name));
            assert!(is_named || by_script(line), "{what}: '{line}' fails, and was not named");
        }
        let failed: BTreeSet<String> = self.failed.iter().flat_map(|line| names(line)).collect();
        for name in &named {
            assert!(failed.contains(name), "{what}: {name} was named, and does not fail");
        }
    }
}

/// Each server that is there with the next one, both ways.
fn pairs() -> Vec<(PathBuf, PathBuf)> {
    let servers = all_servers();
    if servers.len() == 1 {
        eprintln!("SKIPPED: no other servers in CROSSFADE_TEST_SERVERS or .cache/servers");
    }
    let next = servers.iter().zip(servers.iter().cycle().skip(1));
    next.flat_map(|(one, other)| [(one.clone(), other.clone()), (other.clone(), one.clone())])
        .collect()
}

#[test]
fn between_any_versions_what_fails_after_a_cutover_was_named_and_nothing_else() {
    for (from, to) in pairs() {
        let what = format!("{} -> {}", from.display(), to.display());
        let outcome = Play::between(Server::start(&from, &[]), Server::start(&to, &[])).perform();
        eprintln!("{what}: {} lines fail, {:?}", outcome.failed.len(), outcome.named());
        outcome.assert_exact(&what);
        for name in outcome.named() {
            let blocks =
                outcome.blockers.contains(&name) || outcome.blockers.contains("more things");
            assert!(blocks, "{what}: {name} does not stand in the way: {}", outcome.blockers);
        }
    }
}

#[test]
fn commands_that_were_renamed_on_the_target_are_named() {
    let renamed = ["--rename-command", "KEYS", "", "--rename-command", "SORT", "MYSORT"];
    let outcome = Play::between(Server::source(), Server::target_with(&renamed)).perform();
    outcome.assert_exact("renamed on the target");
    assert_eq!(outcome.named(), BTreeSet::from(["KEYS", "SORT"].map(str::to_owned)));
}

#[test]
fn a_command_that_only_the_source_has_under_its_name_is_named() {
    let source = Server::source_with(&["--rename-command", "GETSET", "OLDGETSET"]);
    let mut play = Play::between(source, Server::target());
    play.workload = vec!["SET a 1", "OLDGETSET a 2", "GETSET a 3", "GET a"];
    let outcome = play.perform();
    outcome.assert_exact("renamed on the source");
    assert_eq!(outcome.failed, ["OLDGETSET a 2"]);
}

#[test]
fn what_the_user_of_the_targets_url_may_not_run_is_named() {
    let target = Server::target();
    target.ok("ACL SETUSER mover on >pw ~* &* +@all -keys -publish -getex -object|encoding");
    let address = target.address();
    let mut play = Play::between(Server::source(), target);
    play.target_url = format!("redis://mover:pw@{address}");
    let outcome = play.perform();
    outcome.assert_exact("a lesser stand-in");
    let expected = ["KEYS", "PUBLISH", "GETEX", "OBJECT ENCODING"].map(str::to_owned);
    assert_eq!(outcome.named(), BTreeSet::from(expected));
}

#[test]
fn what_a_user_may_not_run_or_reach_on_the_target_is_named() {
    let (source, target) = (Server::source(), Server::target());
    source.ok("ACL SETUSER app on >pw ~* &* +@all");
    target.ok("ACL SETUSER app on >pw ~app:* &* +@all -@sortedset -config|get");
    let mut play = Play::between(source, target);
    play.login = Some("AUTH app pw");
    play.workload = vec![
        "SET app:1 x",
        "GET app:1",
        "GETRANGE other:1 0 1",
        "ZADD app:z 1 a",
        "ZCARD app:z",
        "CONFIG GET maxmemory",
        "PING",
        "MGET app:1 other:2",
        "TYPE app:1",
    ];
    let outcome = play.perform();
    outcome.assert_exact("a lesser user");
    assert_eq!(outcome.failed.len(), 5, "{:?}", outcome.failed);
    assert_eq!(outcome.rehearsal["users"][0]["user"], "app");
    let hidden = outcome.rehearsal.to_string();
    assert!(!hidden.contains('#'), "no digest of a password: {hidden}");
}

#[test]
fn a_database_that_the_target_lacks_is_named() {
    let target = Server::target_with(&["--databases", "4"]);
    let mut play = Play::between(Server::source(), target);
    play.workload = vec!["SELECT 3", "GET a", "SELECT 12", "DBSIZE", "SELECT 99", "SELECT 0"];
    let outcome = play.perform();
    assert_eq!(outcome.failed, ["SELECT 12"]);
    let databases = outcome.rehearsal["databases"].as_array().unwrap();
    assert_eq!((databases.len(), &databases[0]["db"]), (1, &12.into()));
    assert!(outcome.blockers.contains("database 12"), "{}", outcome.blockers);
}

#[test]
fn what_was_done_before_the_window_stands_in_nobodys_way() {
    let renamed = ["--rename-command", "KEYS", ""];
    let migration = Migration::with(Server::source(), Server::target_with(&renamed), |launch| {
        launch.option("--rehearsal-window", "2s")
    });
    migration.client().ok("KEYS *");
    let blockers = |migration: &Migration| migration.crossfade.status()["blockers"].to_string();
    assert!(blockers(&migration).contains("clients use KEYS"), "{}", blockers(&migration));
    wait_for("it is forgotten", || (!blockers(&migration).contains("KEYS")).then_some(()));
    let commands = migration.crossfade.status()["rehearsal"]["commands"].clone();
    assert_eq!(commands[0]["command"], "KEYS", "but not that it was");
    migration.finish();
}

#[test]
fn a_right_that_is_given_takes_its_blocker_away() {
    let target = Server::target();
    target.ok("ACL SETUSER mover on >pw ~* &* +@all -keys");
    let url = format!("redis://mover:pw@{}", target.address());
    let source = Server::source();
    let crossfade = Launch::urls(&source.url(), &url).start();
    let migration = Migration { crossfade, source, target };
    migration.client().ok("KEYS *");
    migration
        .crossfade
        .wait_status("it is named", |status| status["blockers"].to_string().contains("KEYS"));
    migration.target.ok("ACL SETUSER mover +keys");
    migration.crossfade.wait_status("it is named no more", |status| {
        !status["blockers"].to_string().contains("KEYS")
            && status["rehearsal"]["commands"] == serde_json::json!([])
    });
    migration.finish();
}

/// Everything that a server would show of a visit.
fn traces(server: &Server) -> Vec<Value> {
    let mut client = server.client();
    let keys = (0..4).flat_map(|db| {
        client.ok(format!("SELECT {db}"));
        client.ok("KEYS *").texts()
    });
    let keys: BTreeSet<String> = keys.collect();
    let keys = keys.into_iter().map(|key| Value::Bulk(key.into_bytes()));
    let asked = ["CONFIG GET *", "ACL LIST", "FUNCTION LIST", "ACL LOG"];
    keys.chain(asked.map(|line| server.ok(line))).collect()
}

#[test]
fn observe_names_what_would_fail_before_anything_stands_in_the_path_and_changes_nothing() {
    let source = Server::source();
    let renamed = ["--rename-command", "GETSET", "", "--databases", "4"];
    let target = Server::target_with(&renamed);
    source.ok("ACL SETUSER app on >hunter22 ~app:* &* -@all +get");
    let mut client = source.client();
    client.ok("SELECT 3");
    client.pipeline((0..300).map(|n| format!("SET user:{n}:name x")));
    client.ok("GETSET user:1:name y");
    client.ok("SETRANGE blob:1 2000000 x");
    client.ok("SELECT 12");
    client.ok("SET far 1");
    let before = (traces(&source), traces(&target));
    let (from, to) = (source.url(), target.url());
    let page = source.directory().join("page.html");
    let arguments = ["observe", "--source", &from, "--target", &to];
    let seen = run_cli(&[&arguments[..], &["--json"]].concat());
    assert_eq!(seen.code, 1, "{}", seen.stderr);
    let json: serde_json::Value = serde_json::from_str(&seen.stdout).unwrap();
    let rehearsal = &json["rehearsal"];
    assert_eq!(rehearsal["commands"][0]["command"], "GETSET", "{rehearsal}");
    assert_eq!(rehearsal["commands"].as_array().unwrap().len(), 1, "{rehearsal}");
    assert_eq!(rehearsal["databases"][0]["db"], 12);
    assert_eq!(rehearsal["big"][0]["pattern"], "blob:*");
    let line = json["users"][0]["line"].as_str().unwrap().to_owned();
    assert!(line.starts_with("ACL SETUSER app reset on ") && !line.contains("hunter22"), "{line}");
    let text = run_cli(&arguments);
    assert!(text.stdout.contains("GETSET") && text.stdout.contains(&line), "{}", text.stdout);
    let html = run_cli(&[&arguments[..], &["--html", page.to_str().unwrap()]].concat());
    assert_eq!((html.code, html.stdout.as_str()), (1, ""));
    assert!(std::fs::read_to_string(&page).unwrap().contains("GETSET"));
    assert!(before == (traces(&source), traces(&target)), "something was changed");
    target.ok(line);
    let again = run_cli(&[&arguments[..], &["--json"]].concat());
    assert!(again.stdout.contains("\"users\":[]"), "{}", again.stdout);
}

#[test]
fn observe_hears_by_monitor_what_statistics_do_not_tell() {
    let (source, target) = (Server::source(), Server::target());
    let (from, to) = (source.url(), target.url());
    let arguments =
        ["observe", "--source", &from, "--target", &to, "--json", "--monitor", "1500ms"];
    let mut client = source.client();
    let done = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                client.ok(["EVAL", "return redis.call('GET', 'hidden:1')", "1", "user:1"]);
                client.ok("BLPOP jobs:1 0.01");
            }
        });
        let seen = run_cli(&arguments);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        seen
    });
    assert_eq!(seen.code, 0, "{}{}", seen.stdout, seen.stderr);
    assert!(seen.stderr.contains("MONITOR"), "its cost is told: {}", seen.stderr);
    let json: serde_json::Value = serde_json::from_str(&seen.stdout).unwrap();
    let monitored = &json["monitored"];
    assert_eq!(monitored["undeclared"][0]["pattern"], "hidden:*", "{monitored}");
    assert_eq!(monitored["blocking"][0]["command"], "BLPOP");
    assert!(!seen.stdout.contains("hidden:1"));
}
