//! Refusals: what must not start does not, says why in one line, exits with the promised code, and has
//! changed nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Launch, Migration, Outcome, Server, run_cli};

/// The last line of stderr, which is the one that says why.
fn reason(outcome: &Outcome) -> &str {
    outcome.stderr.lines().last().unwrap_or_default()
}

#[test]
fn a_target_that_holds_keys_is_refused_and_nothing_is_changed() {
    let (source, target) = (Server::source(), Server::target());
    source.ok("SET a source");
    target.client().pipeline(["SELECT 7", "SET b target"]);
    let refused = Launch::between(&source, &target).refused();
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("target"), "{}", refused.stderr);
    assert_eq!((target.size(0), target.size(7), source.size(0)), (0, 1, 1));
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let (mut gone, there) = (Server::source(), Server::target());
    gone.kill();
    for (source, target, name) in
        [(gone.url(), there.url(), "source"), (there.url(), gone.url(), "target")]
    {
        let refused = Launch::urls(&source, &target).refused();
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        assert!(reason(&refused).contains(name), "{}", refused.stderr);
        let checked = run_cli(&["check", "--source", &source, "--target", &target]);
        assert_eq!(checked.code, 3, "{}", checked.stderr);
        assert!(checked.stderr.contains(name), "{}", checked.stderr);
    }
}

#[test]
fn a_wrong_password_is_named_without_being_shown() {
    let source = Server::source_with(&["--requirepass", "right"]);
    let target = Server::target();
    let wrong = format!("redis://:wr0ngpass@{}", source.address());
    for (from, to, name) in [(&wrong, &target.url(), "source"), (&target.url(), &wrong, "target")] {
        let refused = Launch::urls(from, to).refused();
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        assert!(reason(&refused).contains(name), "{}", refused.stderr);
        assert!(!refused.stderr.contains("wr0ngpass"), "{}", refused.stderr);
    }
    let missing = format!("redis://{}", source.address());
    assert_eq!(Launch::urls(&missing, &target.url()).refused().code, 3);
}

#[test]
fn passwords_are_percent_decoded_and_may_come_from_the_environment() {
    let source = Server::source_with(&["--requirepass", "p@ss:w/rd"]);
    let target = Server::target_with(&["--requirepass", "geheim"]);
    let encoded = format!("redis://:p%40ss%3Aw%2Frd@{}", source.address());
    let bare = format!("redis://{}", target.address());
    let crossfade =
        Launch::urls(&encoded, &bare).variable("CROSSFADE_TARGET_PASSWORD", "geheim").start();
    let mut client = crossfade.client();
    client.ok("AUTH p@ss:w/rd");
    client.ok("SET a 1");
    crossfade.wait_converged();
    support::assert_equal(&source, &target);
    let shown = crossfade.status().to_string() + &crossfade.log().lines().join("\n");
    for secret in ["p@ss", "p%40ss", "geheim"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    crossfade.finish();
}

#[test]
fn options_that_are_wrong_are_usage_errors() {
    let url = "redis://127.0.0.1:1";
    let run = |more: &[&str]| {
        let mut arguments = vec!["run", "--source", url, "--target", "redis://127.0.0.1:2"];
        arguments.extend(more);
        run_cli(&arguments)
    };
    for more in [
        &["--no-such-option"][..],
        &["--listen", "nowhere"],
        &["--ack", "neither"],
        &["--target-policy", "maybe"],
        &["--mirror-buffer", "lots"],
        &["--backfill-rate", "-1"],
        &["--databases", "0,x"],
        &["--drain-timeout", "soon"],
        &["--log-format", "xml"],
        &["--config", "/nowhere/crossfade.toml"],
    ] {
        let refused = run(more);
        assert_eq!(refused.code, 2, "{more:?}: {}", refused.stderr);
        assert!(!refused.stderr.is_empty(), "{more:?}");
    }
    assert_eq!(run_cli(&[]).code, 2);
    assert_eq!(run_cli(&["nonsense"]).code, 2);
    assert_eq!(run_cli(&["run"]).code, 2, "source and target are required");
}

#[test]
fn urls_that_are_wrong_are_usage_errors_that_say_which() {
    for url in
        ["", "127.0.0.1:6379", "http://127.0.0.1", "redis://", "redis://h:99999", "redis://h/x"]
    {
        let refused = run_cli(&["run", "--source", url, "--target", "redis://127.0.0.1:2"]);
        assert_eq!(refused.code, 2, "{url:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("source"), "{url:?}: {}", refused.stderr);
    }
}

#[test]
fn a_config_file_is_read_after_the_environment_and_the_command_line() {
    let (source, target) = (Server::source(), Server::target());
    let config = source.directory().join("crossfade.toml");
    std::fs::write(&config, "databases = \"0,1\"\nack = \"both\"\nbackfill-rate = 5\n").unwrap();
    let crossfade = Launch::between(&source, &target)
        .option("--config", config.to_str().unwrap())
        .variable("CROSSFADE_DATABASES", "0,2")
        .start();
    let mut client = crossfade.client();
    assert!(client.call("SELECT 1").is_error(), "the environment beats the file");
    assert!(!client.call("SELECT 2").is_error());
    drop(client);
    crossfade.finish();
}

#[test]
fn a_config_file_with_a_fault_is_a_usage_error_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    for text in
        ["databases = ", "no_such_option = 1\n", "ack = \"neither\"\n", "backfill-rate = \"x\"\n"]
    {
        let config = directory.path().join("faulty.toml");
        std::fs::write(&config, text).unwrap();
        let refused = run_cli(&[
            "run",
            "--source",
            "redis://127.0.0.1:1",
            "--target",
            "redis://127.0.0.1:2",
            "--config",
            config.to_str().unwrap(),
        ]);
        assert_eq!(refused.code, 2, "{text}: {}", refused.stderr);
        assert!(refused.stderr.contains("faulty.toml"), "{text}: {}", refused.stderr);
    }
}

#[test]
fn an_address_that_is_taken_is_said_in_one_line() {
    let (source, target) = (Server::source(), Server::target());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run_cli(&[
        "run",
        "--source",
        &source.url(),
        "--target",
        &target.url(),
        "--listen",
        &address,
        "--admin",
        "127.0.0.1:0",
    ]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains(&address), "{}", refused.stderr);
}

#[test]
fn a_state_directory_is_made_when_missing_and_a_file_in_its_place_is_refused() {
    let (source, target) = (Server::source(), Server::target());
    let file = source.directory().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let refused = Launch::between(&source, &target).state_dir(&file).refused();
    assert!([1, 2].contains(&refused.code), "{} {}", refused.code, refused.stderr);
    assert!(refused.stderr.contains(file.to_str().unwrap()), "{}", refused.stderr);
    let missing = source.directory().join("a/b/c");
    let crossfade = Launch::between(&source, &target).state_dir(&missing).start();
    assert!(missing.is_dir());
    crossfade.finish();
}

#[test]
fn one_state_directory_serves_one_process_at_a_time() {
    let migration = Migration::lasting();
    let state = migration.source.directory().join("crossfade-state");
    let refused = Launch::between(&migration.source, &migration.target).state_dir(&state).refused();
    assert_ne!(refused.code, 0, "{}", refused.stderr);
    assert!(refused.stderr.contains(state.to_str().unwrap()), "{}", refused.stderr);
    assert_eq!(migration.client().ok("PING").text(), "PONG", "the first one is unharmed");
}

#[test]
fn the_state_of_another_migration_is_refused() {
    let Migration { crossfade, source, target } = Migration::lasting();
    crossfade.wait_converged();
    crossfade.finish();
    let (other, state) = (Server::source(), source.directory().join("crossfade-state"));
    other.ok("SET a 1");
    let refused = Launch::between(&other, &target).state_dir(&state).refused();
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert_eq!(target.size(0), 0);
}

#[test]
fn state_that_is_damaged_is_refused_and_nothing_is_emptied() {
    let Migration { crossfade, source, target } = Migration::lasting();
    crossfade.client().ok("SET a 1");
    crossfade.wait_converged();
    crossfade.finish();
    let state = source.directory().join("crossfade-state");
    for entry in
        std::fs::read_dir(&state).unwrap().map(Result::unwrap).filter(|e| e.path().is_file())
    {
        std::fs::write(entry.path(), b"\0garbage\xff").unwrap();
    }
    let refused = Launch::between(&source, &target).state_dir(&state).refused();
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains(state.to_str().unwrap()), "{}", refused.stderr);
    assert_eq!((source.size(0), target.size(0)), (1, 1), "nothing was emptied");
}

#[test]
fn a_flush_policy_never_empties_the_side_that_a_cutover_made_primary() {
    let Migration { crossfade, source, target } = Migration::lasting();
    crossfade.client().ok("SET a 1");
    crossfade.cut_over();
    crossfade.finish();
    let state = source.directory().join("crossfade-state");
    let again = Launch::between(&source, &target)
        .state_dir(&state)
        .option("--target-policy", "flush")
        .start();
    assert_eq!(again.phase(), "cut_over");
    assert_eq!(again.client().ok("GET a").integer(), 1);
    again.wait_converged();
    support::assert_equal(&source, &target);
}

#[test]
fn commands_of_a_migration_that_does_not_run_exit_3() {
    for command in ["status", "verify", "cutover", "rollback", "finalize", "pause", "resume"] {
        let outcome = run_cli(&[command, "--admin", "127.0.0.1:1"]);
        assert_eq!(outcome.code, 3, "{command}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("127.0.0.1:1"), "{command}: {}", outcome.stderr);
    }
}
