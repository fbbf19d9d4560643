//! The report of a migration, held against what was counted outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::Value;
use support::{Driver, Launch, Migration, Server, run_cli, source_with_keys};

const PASSWORD: &str = "hunter2-of-the-source";

fn report(migration: &Migration) -> Value {
    migration.crossfade.admin().get("/v1/report").json()
}

#[test]
fn it_agrees_with_what_was_seen_outside_and_spans_restarts() {
    let source = source_with_keys(100);
    let state = source.directory().join("crossfade-state");
    let mut migration =
        Migration::with(source, Server::target(), |launch| launch.state_dir(&state));
    migration.crossfade.wait_converged();
    let mut client = migration.client();
    for number in 0..50 {
        client.ok(format!("SET report:{number} {number}"));
    }
    let first = migration.crossfade.cut_over().json();
    for number in 0..30 {
        client.ok(format!("INCR report:{number}"));
    }
    let second = migration.crossfade.roll_back().json();
    let told = report(&migration);
    assert_eq!(told["counts"]["commands"], migration.crossfade.status()["clients"]["commands"]);
    assert_eq!(told["counts"]["copied"], 100);
    assert!(told["counts"]["applied"].as_u64().unwrap() + recopied(&told) >= 80, "{told:#}");
    // The mirror that turns round at a flip is not a server that was lost.
    let deeds = told["audit"].as_array().unwrap();
    let lost = deeds.iter().find(|deed| deed["action"] == "connection");
    assert_eq!(lost, None, "{deeds:#?}");
    let holds = [&told["flips"][0]["hold_ms"], &told["flips"][1]["hold_ms"]];
    assert_eq!(holds, [&first["hold_ms"], &second["hold_ms"]]);
    assert_eq!(
        (&told["flips"][0]["to"], &told["flips"][1]["to"]),
        (&"target".into(), &"source".into())
    );
    assert_eq!(told["verifies"].as_array().unwrap().len(), 1);
    assert!(told["longest_wait_seconds"].as_f64().unwrap() > 0.0);
    drop(client);
    migration.crossfade.finish();
    migration.crossfade =
        Launch::between(&migration.source, &migration.target).state_dir(&state).start();
    migration.crossfade.wait_converged();
    let mut client = migration.client();
    client.ok("SET report:last 1");
    let again = report(&migration);
    let commands = |told: &Value| told["counts"]["commands"].as_u64().unwrap();
    let new = migration.crossfade.status()["clients"]["commands"].as_u64().unwrap();
    assert_eq!(commands(&again), commands(&told) + new);
    assert_eq!(again["starts"].as_array().unwrap().len(), 2);
    assert_eq!(again["flips"], told["flips"]);
    drop(client);
    migration.finish();
}

fn recopied(told: &Value) -> u64 {
    let causes = told["counts"]["recopies"].as_object().unwrap();
    causes.values().filter_map(Value::as_u64).sum()
}

#[test]
fn the_command_prints_it_for_people_machines_and_printers_also_when_nothing_runs() {
    let source = Server::source_with(&["--requirepass", PASSWORD]);
    let state = source.directory().join("crossfade-state");
    let migration = Migration::with(source, Server::target(), |launch| launch.state_dir(&state));
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    let admin = migration.crossfade.admin().address().to_owned();
    let people = run_cli(&["report", "--admin", &admin]);
    assert_eq!(people.code, 0, "{}", people.stderr);
    assert!(people.stdout.contains("Who did what") && people.stdout.contains("clean"));
    let printer = run_cli(&["report", "--html", "--admin", &admin]);
    assert!(printer.stdout.starts_with("<!doctype html>"));
    migration.crossfade.finish();
    let machine = run_cli(&["report", "--json", "--state-dir", state.to_str().unwrap()]);
    let told: Value = serde_json::from_str(&machine.stdout).unwrap();
    assert_eq!(told["verifies"][0]["state"], "clean");
    assert_eq!(told["configuration"].as_str().unwrap().len(), 64);
    for text in [&people.stdout, &printer.stdout, &machine.stdout] {
        assert!(!text.contains(PASSWORD));
    }
    assert_eq!(run_cli(&["report", "--state-dir", "/nowhere"]).code, 1);
}

#[test]
fn it_prints_on_two_pages_however_much_was_done() {
    let Some(driver) = Driver::start() else { return };
    let migration = Migration::lasting_of(source_with_keys(10));
    for number in 1..200 {
        migration.crossfade.admin().backfill(false, Some(number));
    }
    migration.crossfade.cut_over();
    let browser = driver.browser();
    let address = migration.crossfade.admin().address().to_owned();
    browser.open(&format!("http://{address}/v1/report?format=html"));
    let pages = browser.printed_pages();
    assert!((1..=2).contains(&pages), "{pages} pages");
    browser.picture("6-report");
    drop(browser);
    migration.finish();
}
