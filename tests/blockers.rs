//! A cut-over that is not safe is refused with its reasons, one that cannot finish changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, Instant};
use support::{Launch, Migration, Server, Tamer, Temper, wait_until};

fn refused_with_blockers(migration: &Migration, force: bool) -> String {
    let before = migration.crossfade.phase();
    let answer = migration.crossfade.admin().cutover(1_000, force);
    assert_eq!(answer.code, 409, "{}", answer.text);
    let body = answer.json();
    assert!(body["error"].is_string(), "{body}");
    assert!(!body["blockers"].as_array().unwrap().is_empty(), "{body}");
    assert_eq!(migration.crossfade.phase(), before, "a refusal changes nothing");
    body["blockers"].to_string()
}

#[test]
fn a_cutover_is_refused_until_a_verification_was_clean() {
    let migration = Migration::lasting();
    migration.crossfade.wait_converged();
    assert_eq!(migration.crossfade.status()["ready"], false);
    let blockers = refused_with_blockers(&migration, false);
    assert!(blockers.contains("verify"), "{blockers}");
    migration.crossfade.verify();
    assert_eq!(migration.crossfade.status()["ready"], true, "{:#}", migration.crossfade.status());
    assert_eq!(migration.crossfade.admin().cutover(5_000, false).code, 200);
    migration.finish();
}

#[test]
fn a_cutover_during_the_backfill_is_refused() {
    let source = Server::source();
    source.client().pipeline((0..2_000).map(|n| format!("SET plain:{n} {n}")));
    let state = source.directory().join("state");
    let migration = Migration::with(source, Server::target(), |launch| {
        launch.state_dir(&state).option("--backfill-rate", "100")
    });
    let blockers = refused_with_blockers(&migration, false);
    assert!(blockers.contains("backfill"), "{blockers}");
    let verify = migration.crossfade.admin().post("/v1/verify", &serde_json::json!({}));
    assert_eq!(verify.code, 409, "{}", verify.text);
    assert_eq!(migration.crossfade.admin().rollback(1_000).code, 409);
}

#[test]
fn without_a_state_directory_a_cutover_needs_force() {
    let migration = Migration::start();
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    refused_with_blockers(&migration, false);
    let answer = migration.crossfade.admin().cutover(5_000, true);
    assert_eq!(answer.code, 200, "{}", answer.text);
    migration.client().ok("SET a 1");
    migration.assert_equal();
}

#[test]
fn a_cutover_that_cannot_drain_in_time_changes_nothing_and_no_client_sees_an_error() {
    let source = Server::source();
    let (target, state) = (Server::target(), source.directory().join("state"));
    let tamer = Tamer::before(&target.address());
    let crossfade = Launch::urls(&source.url(), &tamer.url()).state_dir(&state).start();
    let migration = Migration { crossfade, source, target };
    let mut client = migration.client();
    client.ok("SET a 1");
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    tamer.set(Temper::SwallowReplies);
    client.ok("SET a 2");
    let answer = migration.crossfade.admin().cutover(500, false);
    assert!(answer.code == 504 || answer.code == 409, "{} {}", answer.code, answer.text);
    assert_eq!(migration.crossfade.phase(), "mirroring");
    assert_eq!(client.ok("GET a").integer(), 2);
    client.ok("SET a 3");
    assert_eq!(migration.source.ok("GET a").integer(), 3, "the source still serves");
    assert_eq!(migration.source.ok("EXISTS crossfade:cutover").integer(), 0);
    tamer.set(Temper::Calm);
    tamer.cut();
    migration.assert_equal();
}

#[test]
fn the_hold_never_outlasts_its_timeout() {
    let source = Server::source();
    let (target, state) = (Server::target(), source.directory().join("state"));
    let tamer = Tamer::before(&target.address());
    let crossfade = Launch::urls(&source.url(), &tamer.url()).state_dir(&state).start();
    let migration = Migration { crossfade, source, target };
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    tamer.set(Temper::Slow(Duration::from_secs(3)));
    let mut client = migration.client();
    client.ok("SET a 1");
    let admin = migration.crossfade.admin().clone();
    let flip = std::thread::spawn(move || admin.cutover(300, false));
    let mut longest = Duration::ZERO;
    while !flip.is_finished() {
        let asked = Instant::now();
        client.ok("INCR b");
        longest = longest.max(asked.elapsed());
    }
    let answer = flip.join().unwrap();
    // Less than the target takes for a single answer.
    assert!(longest < Duration::from_secs(2), "a client was held for {longest:?}");
    assert_ne!(answer.code, 200, "{}", answer.text);
    tamer.set(Temper::Calm);
}

#[test]
fn a_user_that_the_target_lacks_blocks_the_cutover_by_name() {
    let migration = Migration::lasting();
    migration.source.ok("ACL SETUSER app on >pw ~* &* +@all");
    migration.client().ok("AUTH app pw");
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    let blockers = refused_with_blockers(&migration, false);
    assert!(blockers.contains("app"), "{blockers}");
    migration.target.ok("ACL SETUSER app on >pw ~* &* +@all");
    wait_until("the blocker is gone", || migration.crossfade.status()["ready"] == true);
}

#[test]
fn an_unreachable_target_blocks_the_cutover() {
    let mut migration = Migration::lasting();
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    migration.target.kill();
    migration.crossfade.wait_status("the target is seen to be gone", |status| {
        status["target"]["connected"] == false
    });
    refused_with_blockers(&migration, false);
    assert_eq!(migration.client().ok("INCR a").integer(), 1, "clients are unharmed");
}

#[test]
fn a_foreign_writer_that_stays_connected_blocks_the_cutover() {
    let migration = Migration::lasting();
    migration.crossfade.wait_converged();
    let mut foreign = migration.source.client();
    foreign.ok("CLIENT SETNAME goes-round");
    foreign.ok("SET round 1");
    migration.crossfade.verify();
    let info = foreign.ok("CLIENT INFO").text();
    let address = info.split(' ').find_map(|field| field.strip_prefix("addr=")).unwrap();
    wait_until("the foreign writer is named", || {
        foreign.ok("INCR round");
        let blockers = migration.crossfade.status()["blockers"].to_string();
        blockers.contains("goes-round") || blockers.contains(address)
    });
    refused_with_blockers(&migration, false);
}
