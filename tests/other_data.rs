//! A server whose data are not those that were copied: demoted, synchronised with another and promoted
//! again, or come back empty. The first is copied again, the second only when the operator says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::json;
use support::{Crossfade, Launch, Migration, Server, assert_equal, source_with_keys, wait_until};
use tempfile::TempDir;

const KEYS: usize = 200;

/// A server with other keys, some of them under the same names.
fn another() -> Server {
    let other = Server::source();
    other.client().pipeline((0..KEYS).map(|n| format!("SET plain:{} other", n * 2)));
    other
}

/// Makes `server` a replica of `other`, and waits until it has its data.
fn demote(server: &Server, other: &Server) {
    server.ok(format!("REPLICAOF 127.0.0.1 {}", other.port()));
    wait_until("it has the other's data", || {
        server.ok("INFO replication").text().contains("master_link_status:up")
    });
}

fn blockers(crossfade: &Crossfade) -> String {
    crossfade.status()["blockers"].to_string()
}

fn is_unsettled(status: &serde_json::Value) -> bool {
    status["mirror"]["dirty_keys"].as_u64() > Some(0)
}

/// A migration that is ready for a cut-over. Its state is in a directory of its own, because either
/// server may lose all its files.
fn verified(source: Server) -> (Migration, TempDir) {
    let state = tempfile::tempdir().unwrap();
    let with_state = |launch: Launch| launch.state_dir(state.path());
    let migration = Migration::with(source, Server::target(), with_state);
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    (migration, state)
}

/// Waits until nothing is copied because the side that serves has come back empty.
fn wait_emptied(crossfade: &Crossfade) {
    crossfade.wait_status("it is seen to be empty", |status| {
        status["backfill"]["cause"] == "emptied" && is_unsettled(status)
    });
    assert!(blockers(crossfade).contains("resync"), "{}", blockers(crossfade));
}

#[test]
fn a_source_that_is_a_replica_for_a_while_blocks_the_cutover_and_is_copied_again() {
    let other = another();
    let (migration, _state) = verified(source_with_keys(KEYS));
    assert_eq!(migration.crossfade.admin().get("/readyz").code, 200);
    demote(&migration.source, &other);
    wait_until("the blocker is named", || blockers(&migration.crossfade).contains("replica"));
    assert_eq!(migration.crossfade.admin().get("/readyz").code, 503, "clients can't write");
    assert_eq!(migration.crossfade.admin().cutover(1_000, true).code, 409);
    assert!(is_unsettled(&migration.crossfade.status()));
    migration.source.ok("REPLICAOF NO ONE");
    migration.client().ok("SET new 1");
    wait_until("it is copied again", || migration.target.ok("EXISTS new").integer() == 1);
    migration.assert_equal();
    assert_eq!(migration.crossfade.admin().get("/readyz").code, 200);
    assert_ne!(migration.crossfade.status()["verify"]["state"], "clean");
}

#[test]
fn a_demotion_and_a_promotion_between_two_looks_are_seen() {
    let other = another();
    let (migration, _state) = verified(source_with_keys(KEYS));
    demote(&migration.source, &other);
    migration.source.ok("REPLICAOF NO ONE");
    migration
        .crossfade
        .wait_status("the verify is stale", |status| status["verify"]["state"] == "stale");
    migration.assert_equal();
    assert_eq!(migration.target.ok("GET plain:2").text(), "other");
}

#[test]
fn a_target_that_was_a_replica_meanwhile_is_copied_to_again() {
    let other = another();
    let (migration, _state) = verified(source_with_keys(KEYS));
    demote(&migration.target, &other);
    migration.target.ok("REPLICAOF NO ONE");
    wait_until("the keys are there again", || migration.target.ok("GET plain:2").text() == "2");
    migration.assert_equal();
}

#[test]
fn a_source_that_was_a_replica_while_crossfade_was_down_is_copied_again() {
    let (other, source, target) = (another(), source_with_keys(KEYS), Server::target());
    let state = source.directory().join("crossfade-state");
    let launch = || Launch::between(&source, &target).state_dir(&state);
    let crossfade = launch().start();
    crossfade.wait_settled();
    crossfade.finish();
    demote(&source, &other);
    source.ok("REPLICAOF NO ONE");
    let crossfade = launch().expect_log("the source was restarted or replaced").start();
    crossfade.wait_settled();
    assert_equal(&source, &target);
    crossfade.finish();
}

#[test]
fn a_replica_that_is_attached_to_the_source_is_no_reason_to_copy_again() {
    let (migration, _state) = verified(source_with_keys(KEYS));
    let replica = Server::source();
    replica.ok(format!("REPLICAOF 127.0.0.1 {}", migration.source.port()));
    wait_until("it has a replication ID of its own", || {
        migration.source.ok("INFO replication").text().contains("state=online")
    });
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let status = migration.crossfade.status();
    assert_eq!(status["verify"]["state"], "clean", "{status:#}");
    assert_eq!(migration.crossfade.admin().cutover(5_000, false).code, 200);
}

#[test]
fn a_source_that_comes_back_empty_does_not_empty_the_target_until_the_operator_accepts_it() {
    let (mut migration, _state) = verified(source_with_keys(KEYS));
    migration.source.restart_empty();
    wait_emptied(&migration.crossfade);
    let mut client = migration.client();
    client.ok("SET plain:1 new");
    client.ok("DEL plain:1 plain:2");
    client.ok("RPUSH list a");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(migration.target.size(0), KEYS as i64, "the only other copy is left alone");
    let verify = migration.crossfade.admin().post("/v1/verify", &json!({}));
    assert_eq!(verify.code, 409, "{}", verify.text);
    assert_eq!(migration.crossfade.admin().cutover(1_000, false).code, 409);
    let refused = migration.crossfade.admin().post("/v1/resync", &json!({}));
    assert_eq!(refused.code, 409, "{}", refused.text);
    assert!(refused.text.contains("accept_empty"), "{}", refused.text);
    let accepted = migration.crossfade.admin().post("/v1/resync", &json!({"accept_empty": true}));
    assert_eq!(accepted.code, 202, "{}", accepted.text);
    wait_until("the target is as the source", || migration.target.size(0) == 1);
    migration.assert_equal();
}

#[test]
fn clients_can_be_moved_to_the_target_when_the_source_came_back_empty() {
    let (mut migration, _state) = verified(source_with_keys(KEYS));
    migration.source.restart_empty();
    wait_emptied(&migration.crossfade);
    migration.client().ok("SET lost 1");
    let answer = migration.crossfade.admin().cutover(5_000, true);
    assert_eq!(answer.code, 200, "{}", answer.text);
    assert_eq!(migration.client().ok("GET plain:7").integer(), 7);
    migration.client().ok("SET new 1");
    migration.assert_equal();
    assert_eq!(migration.source.size(0), KEYS as i64 + 2, "the new one, and the marker");
    migration.crossfade.roll_back();
    migration.assert_equal();
}

#[test]
fn clients_can_be_moved_back_when_the_target_came_back_empty_after_a_cutover() {
    let (mut migration, _state) = verified(source_with_keys(KEYS));
    migration.crossfade.cut_over();
    migration.target.restart_empty();
    wait_emptied(&migration.crossfade);
    assert_eq!(migration.source.size(0), KEYS as i64 + 1, "and the marker");
    assert_eq!(migration.crossfade.admin().rollback(1_000).code, 409, "it would lose writes");
    let forced = json!({"timeout_ms": 5_000, "force": true});
    let answer = migration.crossfade.admin().post("/v1/rollback", &forced);
    assert_eq!(answer.code, 200, "{}", answer.text);
    assert_eq!(migration.client().ok("GET plain:7").integer(), 7);
    migration.assert_equal();
}

#[test]
fn a_source_that_comes_back_empty_is_remembered_by_the_next_process() {
    let (mut source, target) = (source_with_keys(KEYS), Server::target());
    let state = target.directory().join("crossfade-state");
    let url = source.url();
    let launch = || Launch::urls(&url, &target.url()).state_dir(&state);
    let replaced = || launch().expect_log("the source was restarted or replaced");
    let crossfade = launch().start();
    crossfade.wait_settled();
    source.restart_empty();
    wait_emptied(&crossfade);
    crossfade.kill();
    // Not so empty any more, but what it had is on the target alone.
    source.client().pipeline((0..KEYS).map(|n| format!("SET other:{n} {n}")));
    let crossfade = replaced().start();
    wait_emptied(&crossfade);
    crossfade.kill();
    assert_eq!(target.size(0), KEYS as i64);

    let crossfade = replaced().start();
    wait_emptied(&crossfade);
    let accepted = crossfade.admin().post("/v1/resync", &json!({"accept_empty": true}));
    assert_eq!(accepted.code, 202, "{}", accepted.text);
    crossfade.wait_settled();
    assert_equal(&source, &target);
    crossfade.kill();
    source.restart_empty();
    let crossfade = replaced().start();
    wait_emptied(&crossfade);
    assert_eq!(target.size(0), KEYS as i64);
}

#[test]
fn what_a_client_flushes_is_flushed_on_both() {
    let (migration, _state) = verified(source_with_keys(KEYS));
    migration.client().ok("FLUSHALL");
    wait_until("the target is empty", || migration.target.size(0) == 0);
    migration.assert_equal();
    let again = migration.crossfade.admin().post("/v1/resync", &json!({}));
    assert_eq!(again.code, 202, "{}", again.text);
    migration.assert_equal();
}
