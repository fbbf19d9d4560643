//! The commands beside `run`: what they print, as text and as JSON, and how they exit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::Value;
use support::{Migration, Outcome, Rng, Server, assert_equal, fill, run_cli};

/// A command between two servers.
fn between(command: &str, source: &Server, target: &Server, more: &[&str]) -> Outcome {
    let (source, target) = (source.url(), target.url());
    let mut arguments = vec![command, "--source", &source, "--target", &target];
    arguments.extend(more);
    run_cli(&arguments)
}

/// A command to a running migration.
fn told(migration: &Migration, command: &str, more: &[&str]) -> Outcome {
    let mut arguments = vec![command, "--admin", migration.crossfade.admin().address()];
    arguments.extend(more);
    run_cli(&arguments)
}

fn json(outcome: &Outcome) -> Value {
    let value: Value = serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|error| panic!("not one JSON object ({error}): {outcome:?}"));
    assert!(value.is_object(), "{value}");
    value
}

#[test]
fn help_and_version_are_printed() {
    let help = run_cli(&["--help"]);
    assert_eq!(help.code, 0);
    for command in ["run", "check", "copy", "compare", "status", "verify", "cutover", "rollback"] {
        assert!(help.stdout.contains(command), "{command} is not in the help");
    }
    let version = run_cli(&["--version"]);
    assert_eq!((version.code, version.stdout.contains("crossfade")), (0, true));
}

#[test]
fn check_finds_two_ready_servers_ready() {
    let (source, target) = (Server::source(), Server::target());
    let text = between("check", &source, &target, &[]);
    assert_eq!(text.code, 0, "{text:?}");
    assert!(!text.stdout.is_empty());
    json(&between("check", &source, &target, &["--json"]));
}

#[test]
fn check_finds_a_target_with_keys_or_without_room_blocked() {
    let (source, target) = (Server::source(), Server::target());
    target.ok("SET a 1");
    let blocked = between("check", &source, &target, &[]);
    assert_eq!(blocked.code, 1, "{blocked:?}");
    assert!((blocked.stdout + &blocked.stderr).contains("target"));
}

#[test]
fn check_finds_a_user_that_lacks_a_permission() {
    let (source, target) = (Server::source(), Server::target());
    target.ok("ACL SETUSER weak on >pw ~* +@all -restore");
    let url = format!("redis://weak:pw@{}", target.address());
    let blocked = run_cli(&["check", "--source", &source.url(), "--target", &url]);
    assert_eq!(blocked.code, 1, "{blocked:?}");
    assert!((blocked.stdout + &blocked.stderr).to_lowercase().contains("restore"));
}

#[test]
fn copy_carries_everything_over_and_compare_agrees() {
    let (source, target) = (Server::source(), Server::target());
    fill(&mut source.client(), &mut Rng::seeded(41), 1_000);
    source.ok("SET lasting 1 EX 1000");
    let copied = between("copy", &source, &target, &["--json"]);
    assert_eq!(copied.code, 0, "{copied:?}");
    json(&copied);
    assert_equal(&source, &target);
    let compared = between("compare", &source, &target, &[]);
    assert_eq!(compared.code, 0, "{compared:?}");
}

#[test]
fn copy_wants_an_empty_target_unless_told_otherwise() {
    let (source, target) = (Server::source(), Server::target());
    source.client().pipeline(["SET a source", "SELECT 1", "SET b 1"]);
    target.client().pipeline(["SET a target", "SET only-here 1"]);
    assert_eq!(between("copy", &source, &target, &[]).code, 1);
    assert_eq!(target.ok("GET a").text(), "target");
    let overwriting = between("copy", &source, &target, &["--target-policy", "overwrite"]);
    assert_eq!(overwriting.code, 0, "{overwriting:?}");
    assert_eq!(target.ok("GET a").text(), "source");
    assert_eq!(target.ok("EXISTS only-here").integer(), 1);
    let flushing = ["--target-policy", "flush", "--databases", "0"];
    assert_eq!(between("copy", &source, &target, &flushing).code, 0);
    assert_eq!(target.ok("EXISTS only-here").integer(), 0);
}

#[test]
fn a_flush_empties_nothing_when_the_target_has_no_such_database() {
    let (source, target) = (Server::source(), Server::target_with(&["--databases", "4"]));
    source.client().pipeline(["SELECT 9", "SET a 1"]);
    target.ok("SET theirs 1");
    let flushing = ["--target-policy", "flush", "--databases", "9"];
    let refused = between("copy", &source, &target, &flushing);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("can't be flushed: ERR DB index"), "{refused:?}");
    assert_eq!(target.ok("EXISTS theirs").integer(), 1);
}

#[test]
fn copy_counts_what_it_may_not_read_and_ends() {
    let (source, target) = (Server::source(), Server::target());
    source.client().pipeline((0..100).map(|n| format!("SET open:{n} {n}")));
    source.client().pipeline((0..10).map(|n| format!("SET closed:{n} {n}")));
    source.ok("ACL SETUSER half on >pw ~open:* +@all");
    let from = format!("redis://half:pw@{}", source.address());
    let copied = run_cli(&["copy", "--source", &from, "--target", &target.url(), "--json"]);
    assert_eq!(copied.code, 1, "{copied:?}");
    let summary = json(&copied);
    assert_eq!((summary["copied"].as_u64(), summary["failed"].as_u64()), (Some(100), Some(10)));
    assert_eq!(target.ok("DBSIZE").integer(), 100);
}

#[test]
fn compare_finds_missing_extra_type_value_and_expiry() {
    let (source, target) = (Server::source(), Server::target());
    let both: [(&str, &str); 6] = [
        ("SET same 1", "SET same 1"),
        ("SET missing 1", "DEL missing"),
        ("DEL extra", "SET extra 1"),
        ("SET kind 1", "RPUSH kind 1"),
        ("RPUSH value 1 2", "RPUSH value 2 1"),
        ("SET expiry 1 EX 1000", "SET expiry 1"),
    ];
    for (left, right) in both {
        source.ok(left);
        target.ok(right);
    }
    let text = between("compare", &source, &target, &[]);
    assert_eq!(text.code, 1, "{text:?}");
    for key in ["missing", "extra", "kind", "value", "expiry"] {
        assert!(text.stdout.contains(key), "{key} is not named: {}", text.stdout);
    }
    let found = json(&between("compare", &source, &target, &["--json"]));
    assert_eq!(
        (found["missing"].as_u64(), found["extra"].as_u64()),
        (Some(1), Some(1)),
        "{found:#}"
    );
}

#[test]
fn status_shows_what_the_api_shows() {
    let migration = Migration::start();
    migration.crossfade.wait_converged();
    let text = told(&migration, "status", &[]);
    assert_eq!(text.code, 0, "{text:?}");
    assert!(text.stdout.contains("mirroring"), "{}", text.stdout);
    let shown = json(&told(&migration, "status", &["--json"]));
    for pointer in [
        "/version",
        "/phase",
        "/primary",
        "/uptime_seconds",
        "/source/address",
        "/source/version",
        "/source/connected",
        "/target/address",
        "/target/connected",
        "/backfill/state",
        "/backfill/scanned",
        "/backfill/copied",
        "/backfill/recopied",
        "/backfill/failed",
        "/backfill/total_estimate",
        "/backfill/percent",
        "/backfill/keys_per_second",
        "/backfill/eta_seconds",
        "/backfill/bytes_per_mark",
        "/mirror/lag_seconds",
        "/mirror/queued",
        "/mirror/queued_bytes",
        "/mirror/applied",
        "/mirror/mismatched",
        "/mirror/failed",
        "/mirror/dirty_keys",
        "/mirror/degraded",
        "/verify/state",
        "/verify/checked",
        "/verify/missing",
        "/verify/extra",
        "/verify/different",
        "/verify/repaired",
        "/verify/finished_at",
        "/clients/connected",
        "/clients/commands",
        "/ready",
        "/blockers",
    ] {
        assert!(shown.pointer(pointer).is_some(), "{pointer} is missing in {shown:#}");
    }
}

#[test]
fn a_migration_is_led_through_every_phase_by_its_commands() {
    let migration = Migration::lasting();
    migration.client().ok("SET a 1");
    migration.crossfade.wait_converged();
    let early = told(&migration, "cutover", &[]);
    assert_eq!(early.code, 1, "{early:?}");
    assert!(early.stderr.contains("verify"), "the reason is on stderr: {early:?}");
    let verified = told(&migration, "verify", &["--json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    json(&verified);
    migration.crossfade.wait_status("it is clean", |status| status["verify"]["state"] == "clean");
    let flipped = told(&migration, "cutover", &["--json"]);
    assert_eq!(flipped.code, 0, "{flipped:?}");
    assert_eq!(json(&flipped)["phase"], "cut_over");
    let back = told(&migration, "rollback", &["--json"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(json(&back)["phase"], "mirroring");
    assert_eq!(told(&migration, "finalize", &[]).code, 1);
    migration.crossfade.cut_over();
    assert_eq!(told(&migration, "finalize", &[]).code, 0);
    assert_eq!(migration.crossfade.phase(), "finalized");
    migration.crossfade.finish();
}

#[test]
fn verify_says_what_it_found_and_that_it_is_clean_once_repaired() {
    let migration = Migration::start();
    migration.crossfade.wait_converged();
    migration.target.ok("SET extra 1");
    let verified = told(&migration, "verify", &[]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(verified.stdout.contains("1 extra"), "{verified:?}");
    assert_eq!(migration.target.size(0), 0);
}

#[test]
fn pause_and_resume_stop_the_backfill_and_let_it_go_on() {
    let source = Server::source();
    source.client().pipeline((0..1_000).map(|n| format!("SET plain:{n} {n}")));
    let migration =
        Migration::with(source, Server::target(), |launch| launch.option("--backfill-rate", "400"));
    assert_eq!(told(&migration, "pause", &[]).code, 0);
    migration
        .crossfade
        .wait_status("it is paused", |status| status["backfill"]["state"] == "paused");
    assert_eq!(told(&migration, "resume", &[]).code, 0);
    migration.crossfade.wait_phase("mirroring");
    migration.finish();
}

#[test]
fn a_token_is_asked_for_and_taken() {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--admin-token", "t0ken")
    });
    let refused = told(&migration, "pause", &[]);
    assert_eq!(refused.code, 3, "the admin API refuses the credentials: {refused:?}");
    assert_eq!(told(&migration, "pause", &["--admin-token", "wrong"]).code, 3);
    assert_eq!(told(&migration, "pause", &["--admin-token", "t0ken"]).code, 0);
    assert_eq!(told(&migration, "status", &[]).code, 0, "reading needs no token");
}
