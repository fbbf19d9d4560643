//! Faults: whatever happens to the target harms no client, whatever happens to the source is told to the
//! clients as the server would, and after each the servers are equal and nothing acknowledged is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;
use support::{
    Crossfade, Launch, Migration, Resp, Rng, Server, Tamer, Temper, Workload, fill, wait_until,
};

/// A migration with the tamer between crossfade and the target.
fn behind_a_tamed_target() -> (Migration, Tamer) {
    let (source, target) = (Server::source(), Server::target());
    let tamer = Tamer::before(&target.address());
    let crossfade = Launch::urls(&source.url(), &tamer.url()).start();
    let migration = Migration { crossfade, source, target };
    migration.crossfade.wait_phase("mirroring");
    (migration, tamer)
}

/// A migration with the tamer between crossfade and the source.
fn behind_a_tamed_source(source: Server) -> (Migration, Tamer) {
    let target = Server::target();
    let tamer = Tamer::before(&source.address());
    let crossfade = Launch::urls(&tamer.url(), &target.url()).start();
    let migration = Migration { crossfade, source, target };
    migration.crossfade.wait_phase("mirroring");
    (migration, tamer)
}

/// Sets so many keys and fails when one answer takes long or is an error.
fn clients_are_unharmed(crossfade: &Crossfade) {
    let mut client = crossfade.client();
    let started = std::time::Instant::now();
    for n in 0..300 {
        client.ok(format!("SET unharmed:{} {n}", n % 50));
        client.ok("INCR unharmed:counter");
    }
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "600 commands took {:?}",
        started.elapsed()
    );
}

#[test]
fn a_target_that_is_stopped_harms_no_client_and_catches_up() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    migration.target.freeze();
    clients_are_unharmed(&migration.crossfade);
    migration.crossfade.wait_status("the lag is shown", |status| {
        status["mirror"]["lag_seconds"].as_f64() > Some(0.2)
    });
    migration.target.thaw();
    migration.assert_equal();
}

#[test]
fn a_target_that_is_killed_and_comes_back_with_its_keys_converges() {
    let mut migration =
        Migration::with(Server::source(), Server::durable_target(), |launch| launch);
    migration.crossfade.wait_phase("mirroring");
    clients_are_unharmed(&migration.crossfade);
    migration.target.kill();
    clients_are_unharmed(&migration.crossfade);
    migration.target.restart();
    clients_are_unharmed(&migration.crossfade);
    migration.assert_equal();
}

#[test]
fn a_target_that_comes_back_empty_is_filled_again() {
    let source = Server::source();
    fill(&mut source.client(), &mut Rng::seeded(31), 300);
    let mut migration = Migration::of(source);
    migration.crossfade.wait_converged();
    migration.target.restart_empty();
    clients_are_unharmed(&migration.crossfade);
    wait_until("the target is filled again", || {
        migration.target.size(0) == migration.source.size(0)
    });
    migration.assert_equal();
    assert!(migration.crossfade.status()["backfill"]["cause"].is_string(), "the reason is told");
}

#[test]
fn a_target_that_is_killed_during_the_backfill_ends_complete() {
    let source = Server::source();
    source.client().pipeline((0..1_500).map(|n| format!("SET plain:{n} {n}")));
    let mut migration = Migration::with(source, Server::target(), |launch| {
        launch.option("--backfill-rate", "1000")
    });
    migration.crossfade.wait_status("some keys are copied", |status| {
        status["backfill"]["copied"].as_u64() > Some(200)
    });
    migration.target.restart_empty();
    clients_are_unharmed(&migration.crossfade);
    wait_until("every key is there", || migration.target.size(0) == migration.source.size(0));
    migration.assert_equal();
}

#[test]
fn a_target_out_of_memory_harms_no_client_and_converges_when_it_has_room() {
    let target = Server::target_with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let migration = Migration::with(Server::source(), target, |launch| launch);
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    let value = "x".repeat(20_000);
    for n in 0..300 {
        client.ok(format!("SET large:{n} {value}"));
    }
    clients_are_unharmed(&migration.crossfade);
    migration.crossfade.wait_status("the target's refusals are shown", |status| {
        status["mirror"]["dirty_keys"].as_u64() > Some(0)
    });
    migration.target.ok("CONFIG SET maxmemory 0");
    migration.assert_equal();
}

#[test]
fn a_target_that_becomes_read_only_harms_no_client_and_converges_later() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    // A replica of a server that is not there: read-only, with its keys kept.
    migration.target.ok("REPLICAOF 127.0.0.1 1");
    clients_are_unharmed(&migration.crossfade);
    migration.target.ok("REPLICAOF NO ONE");
    migration.assert_equal();
}

#[test]
fn a_command_that_the_target_refuses_harms_no_client_and_its_keys_are_recopied() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    migration.target.ok("ACL SETUSER default -incr -incrby -rpush");
    clients_are_unharmed(&migration.crossfade);
    migration.client().pipeline((0..100).map(|n| format!("RPUSH list:{} {n}", n % 5)));
    migration.assert_equal();
}

#[test]
fn connections_to_the_target_that_are_cut_again_and_again_lose_nothing() {
    let (migration, tamer) = behind_a_tamed_target();
    let mut rng = Rng::seeded(32);
    let workload = Workload::start(&migration.crossfade.address(), &mut rng, 3);
    for _ in 0..8 {
        workload.run_for(200);
        tamer.cut();
    }
    workload.stop();
    migration.assert_equal();
}

#[test]
fn replies_of_the_target_that_vanish_are_no_reason_to_apply_twice() {
    let (migration, tamer) = behind_a_tamed_target();
    let mut client = migration.client();
    tamer.set(Temper::SwallowReplies);
    client.pipeline((0..200).map(|n| format!("RPUSH list:{} {n}", n % 5)));
    wait_until("the target has done some of it", || migration.target.size(0) > 0);
    tamer.set(Temper::Calm);
    tamer.cut();
    client.pipeline((0..200).map(|n| format!("INCR counter:{}", n % 5)));
    migration.assert_equal();
}

#[test]
fn the_memory_of_a_mirror_that_cannot_drain_is_bounded() {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--mirror-buffer", "4mib")
    });
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    clients_are_unharmed(&migration.crossfade);
    let before = migration.crossfade.resident_bytes();
    migration.target.freeze();
    let value = "x".repeat(100_000);
    for n in 0..1_500 {
        client.ok(format!("SET large:{} {value}", n % 100));
    }
    let grown = migration.crossfade.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "150 MB of writes before a stopped target took {grown} bytes");
    let queued = migration.crossfade.status()["mirror"]["queued_bytes"].as_u64().unwrap();
    assert!(queued <= 8 << 20, "{queued} bytes are queued");
    migration.target.thaw();
    migration.assert_equal();
}

#[test]
fn a_buffer_and_64_mebibytes_are_memory_enough_for_a_flood_before_a_stopped_target() {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--mirror-buffer", "16mib")
    });
    migration.crossfade.wait_phase("mirroring");
    // Beyond it the process ends.
    let memory = (16 + 64) << 20;
    migration.crossfade.limit(&format!("--data={memory}:{memory}"));
    migration.target.freeze();
    let mut client = migration.client();
    let value = "x".repeat(20_000);
    for round in 0..5 {
        client.pipeline((0..200).map(|n| format!("SET large:{n} {value}")));
        let many = |n| format!("INCR many:keys:with:names:of:some:length:{round}:{n}");
        client.pipeline((0..6_000).map(many));
    }
    let mirror = migration.crossfade.status()["mirror"].clone();
    assert!(mirror["queued_bytes"].as_u64() > Some(8 << 20), "the buffer is in use: {mirror:#}");
    assert!(mirror["dirty_keys"].as_u64() > Some(10_000), "and past its end: {mirror:#}");
    migration.target.thaw();
    migration.assert_equal();
}

#[test]
fn with_ack_both_a_stopped_target_degrades_and_is_never_an_error() {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--ack", "both")
    });
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    migration.target.freeze();
    for n in 0..100 {
        client.ok(format!("SET a {n}"));
    }
    assert_eq!(migration.crossfade.status()["mirror"]["degraded"], true);
    migration.target.thaw();
    migration
        .crossfade
        .wait_status("it is no longer degraded", |status| status["mirror"]["degraded"] == false);
    migration.assert_equal();
}

#[test]
fn a_client_gone_with_a_thousand_unanswered_writes_leaves_the_servers_equal() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    for round in 0..5 {
        let mut client = migration.client();
        let requests: Vec<u8> = (0..1_000)
            .flat_map(|n| support::encode(format!("RPUSH list:{} {round}:{n}", n % 7)))
            .collect();
        client.send_raw(&requests);
        drop(client);
    }
    migration.crossfade.wait_status("they are gone", |status| status["clients"]["connected"] == 0);
    migration.finish();
}

#[test]
fn connections_to_the_source_that_are_cut_leave_the_servers_equal() {
    let (migration, tamer) = behind_a_tamed_source(Server::source());
    for round in 0..6 {
        let mut client = migration.client();
        for n in 0..300 {
            client.send(format!("RPUSH list:{} {round}:{n}", n % 7));
        }
        tamer.cut();
        wait_until("service resumes", || serves(&migration.crossfade));
    }
    migration.assert_equal();
}

fn serves(crossfade: &Crossfade) -> bool {
    Resp::try_connect(&crossfade.address())
        .and_then(|mut client| client.try_call("PING"))
        .is_ok_and(|reply| reply.text() == "PONG")
}

#[test]
fn a_write_whose_reply_vanished_disconnects_its_client_and_is_settled_by_a_recopy() {
    let (migration, tamer) = behind_a_tamed_source(Server::source());
    let mut client = migration.client();
    client.ok("SET counter 41");
    tamer.set(Temper::SwallowReplies);
    client.send("INCR counter");
    wait_until("the source has done it", || migration.source.ok("GET counter").integer() == 42);
    // Its reply is on the way to where it vanishes.
    std::thread::sleep(Duration::from_millis(100));
    tamer.set(Temper::Calm);
    tamer.cut();
    assert!(client.try_reply().is_err(), "nobody knows, so nobody may answer");
    migration.assert_equal();
    assert_eq!(migration.target.ok("GET counter").integer(), 42, "counted once");
}

#[test]
fn a_source_that_restarts_is_served_again_within_seconds_and_loses_nothing_acknowledged() {
    let mut migration =
        Migration::with(Server::durable_source(), Server::target(), |launch| launch);
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    let acknowledged =
        (0..500).filter(|n| !client.call(format!("RPUSH list {n}")).is_error()).count();
    migration.source.restart();
    wait_until("service resumes", || serves(&migration.crossfade));
    let length = migration.client().ok("LLEN list").integer();
    assert_eq!(usize::try_from(length).unwrap(), acknowledged);
    migration.assert_equal();
}

#[test]
fn a_source_that_stays_away_is_named_in_the_error() {
    let mut migration = Migration::with(Server::durable_source(), Server::target(), |launch| {
        launch.option("--source-timeout", "1")
    });
    migration.crossfade.wait_phase("mirroring");
    let mut idle = migration.client();
    idle.ok("SET a 1");
    migration.source.kill();
    migration.crossfade.wait_status("it is seen", |status| status["source"]["connected"] == false);
    let error = idle.call("GET a").text();
    assert!(error.contains("source"), "{error}");
    assert_eq!(migration.crossfade.admin().get("/readyz").code, 503);
    migration.source.restart();
    wait_until("service resumes", || serves(&migration.crossfade));
    assert_eq!(idle.ok("GET a").integer(), 1, "an idle connection is not dropped");
    migration.assert_equal();
}

#[test]
fn a_source_that_restarts_in_the_middle_of_the_scan_is_scanned_again() {
    let source = Server::durable_source();
    source.client().pipeline((0..1_500).map(|n| format!("SET plain:{n} {n}")));
    let mut migration = Migration::with(source, Server::target(), |launch| {
        launch.option("--backfill-rate", "1000")
    });
    migration.crossfade.wait_status("some keys are copied", |status| {
        status["backfill"]["copied"].as_u64() > Some(200)
    });
    migration.source.restart();
    migration.assert_equal();
    assert_eq!(migration.target.size(0), 1_500);
}

#[test]
fn a_stuck_target_does_not_keep_a_stop_from_ending() {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--drain-timeout", "1")
    });
    migration.crossfade.wait_phase("mirroring");
    migration.target.freeze();
    migration.client().ok("SET a 1");
    let Migration { mut crossfade, source: _source, target: _target } = migration;
    crossfade.terminate();
    assert!(crossfade.exit_code().is_some());
}
