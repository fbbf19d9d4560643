//! Programs and an address that are told what happens to a migration, and asked before a cut-over.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;

use serde_json::Value;
use support::{Launch, Migration, Server, source_with_keys, wait_for};

const SECRET: &str = "hunter2-of-the-operator";

fn hook(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
}

fn with_hooks(directory: &Path, options: impl FnOnce(Launch) -> Launch) -> Migration {
    let source = source_with_keys(10);
    let state = source.directory().join("crossfade-state");
    let hooks = directory.to_str().unwrap();
    Migration::with(source, Server::target(), |launch| {
        options(launch.state_dir(&state).option("--hooks", hooks))
    })
}

/// What a hook has left in a file.
fn left(path: &Path) -> String {
    wait_for("the hook has written", || {
        fs::read_to_string(path).ok().filter(|text| !text.is_empty())
    })
}

#[test]
fn a_program_refuses_a_cutover_in_its_own_words_and_force_passes_over_it() {
    let hooks = tempfile::tempdir().unwrap();
    hook(hooks.path(), "before-cutover", "echo nothing moves on a Friday; exit 1");
    let migration =
        with_hooks(hooks.path(), |launch| launch.expect_log("the hook before-cutover refuses"));
    migration.crossfade.wait_phase("mirroring");
    migration.crossfade.verify();
    let answer = migration.crossfade.admin().cutover(5_000, false);
    let blocker = "the hook before-cutover refuses: nothing moves on a Friday";
    assert_eq!((answer.code, &answer.json()["blockers"][0]), (409, &Value::from(blocker)));
    assert_eq!(migration.crossfade.phase(), "mirroring");
    assert_eq!(migration.crossfade.admin().cutover(5_000, true).code, 200);
    migration.finish();
}

#[test]
fn programs_are_told_of_flips_and_phases_with_the_status_and_without_secrets() {
    let hooks = tempfile::tempdir().unwrap();
    let tell = r#"cat > "$0.new"; env | grep CROSSFADE_ >> "$0.new"; mv "$0.new" "$0.told""#;
    for name in ["before-cutover", "after-cutover", "after-rollback"] {
        hook(hooks.path(), name, tell);
    }
    hook(
        hooks.path(),
        "on-phase",
        r#"echo "$CROSSFADE_PREVIOUS_PHASE $CROSSFADE_PHASE" >> "$0.told""#,
    );
    let migration =
        with_hooks(hooks.path(), |launch| launch.variable("CROSSFADE_ADMIN_HOSTS", SECRET));
    migration.crossfade.cut_over();
    let told = left(&hooks.path().join("after-cutover.told"));
    let (json, variables) = told.split_once("}CROSSFADE_").unwrap();
    let json: Value = serde_json::from_str(&format!("{json}}}")).unwrap();
    assert_eq!(json["event"], "after-cutover");
    assert_eq!((&json["phase"], &json["primary"]), (&"cut_over".into(), &"target".into()));
    assert!(
        variables.contains("CROSSFADE_HOLD_MS=") || variables.starts_with("HOLD_MS="),
        "{variables}"
    );
    assert!(left(&hooks.path().join("before-cutover.told")).contains("CROSSFADE_FORCE=no"));
    migration.crossfade.roll_back();
    assert!(left(&hooks.path().join("after-rollback.told")).contains("CROSSFADE_PRIMARY=source"));
    wait_for("all phases are told", || {
        left(&hooks.path().join("on-phase.told")).ends_with("mirroring\n").then_some(())
    });
    for file in fs::read_dir(hooks.path()).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains(SECRET), "{text}");
    }
    migration.finish();
}

#[test]
fn an_address_is_told_again_when_it_fails_and_its_secret_is_not_logged() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/{SECRET}", listener.local_addr().unwrap());
    let (sender, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let _ = sender.send(read_body(&mut stream));
            let code = if number == 0 { "500 no" } else { "200 OK" };
            let _ =
                write!(stream, "HTTP/1.1 {code}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let source = source_with_keys(10);
    let state = source.directory().join("crossfade-state");
    let migration = Migration::with(source, Server::target(), |launch| {
        launch.state_dir(&state).option("--webhook", &url)
    });
    migration.crossfade.cut_over();
    let told: Vec<Value> = bodies.iter().take(3).collect();
    assert_eq!(told[0], told[1], "the first was told again");
    assert!(told.iter().all(|news| news["event"].is_string()), "{told:#?}");
    let log = migration.crossfade.log().lines().join("\n");
    assert!(!log.contains(SECRET), "{log}");
    migration.finish();
}

fn read_body(stream: &mut impl Read) -> Value {
    let mut text = Vec::new();
    loop {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).unwrap();
        text.extend_from_slice(&some[..count]);
        let head = text.windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(body) = head.and_then(|head| serde_json::from_slice(&text[head + 4..]).ok()) {
            return body;
        }
        assert_ne!(count, 0);
    }
}

#[test]
fn a_directory_that_is_not_there_is_a_fault_of_usage() {
    let (source, target) = (Server::source(), Server::target());
    let outcome = Launch::between(&source, &target).option("--hooks", "/nowhere").refused();
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("--hooks /nowhere: is not a directory"), "{}", outcome.stderr);
}
