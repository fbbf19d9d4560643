//! Convergence: with the backfill done and lag 0 the two servers hold the same, whatever clients did while
//! the keys were copied.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;
use support::{Launch, Migration, Rng, Server, Tamer, Temper, Workload, fill, source_with_keys};

#[test]
fn an_empty_source_is_mirroring_at_once() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    migration.finish();
}

#[test]
fn every_type_database_and_expiry_is_copied() {
    let source = Server::source();
    let mut client = source.client();
    fill(&mut client, &mut Rng::seeded(11), 2_000);
    for line in [
        "SET volatile 1 EX 1000",
        "SET absolute 1 PXAT 4102444800123",
        "SADD numbers 1 2 3",
        "HSET small a 1",
        "XADD log 5-5 a b",
        "XGROUP CREATE log workers 0",
        "XREADGROUP GROUP workers w1 STREAMS log >",
        "SETBIT bits 100000 1",
        "PFADD hll a b c d",
        "GEOADD geo 13.361389 38.115556 Palermo",
    ] {
        client.ok(line);
    }
    client.ok([b"SET".as_slice(), b"\0binary\r\n\xff", b"\0\r\n\xff"]);
    client.ok("SELECT 15");
    client.ok("SET last 1");
    Migration::of(source).finish();
}

#[test]
fn large_collections_of_every_type_are_copied() {
    let source = Server::source();
    let mut client = source.client();
    let members = |command: &str, pairs: bool| {
        let mut words = vec![command.as_bytes().to_vec(), format!("big:{command}").into_bytes()];
        for n in 0..20_000 {
            if pairs {
                words.push(n.to_string().into_bytes());
            }
            words.push(format!("member:{n}").into_bytes());
        }
        words
    };
    client.ok(members("RPUSH", false));
    client.ok(members("SADD", false));
    client.ok(members("ZADD", true));
    client.ok(members("HSET", true));
    client.pipeline((0..5_000).map(|n| format!("XADD big:stream {}-1 n {n}", n + 1)));
    client.ok([b"SET".as_slice(), b"big:string", &vec![b'x'; 8_000_000]]);
    let migration = Migration::of(source);
    let mut proxied = migration.client();
    proxied.ok("HSET big:HSET 77 changed");
    proxied.ok("RPUSH big:RPUSH more");
    proxied.ok("SETRANGE big:string 4000000 changed");
    drop(proxied);
    migration.finish();
}

/// A write to an element of one of the big values, new or old.
fn hot_write(rng: &mut Rng) -> String {
    let (member, amount) = (rng.below(30_000), rng.below(2_000));
    let pop = ["SPOP hot:set 3", "ZPOPMIN hot:zset", "ZADD hot:zset GT CH 5000 m1 6000 m2"];
    match rng.below(12) {
        0 => format!("ZINCRBY hot:zset {amount} m{member}"),
        1 => format!("ZADD hot:zset {amount} m{member} 7 m{amount}"),
        2 => format!("ZREM hot:zset m{member} m{amount}"),
        3 => format!("HINCRBY hot:hash f{member} {amount}"),
        4 => format!("HSET hot:hash f{member} {amount} f{amount} 1"),
        5 => format!("HDEL hot:hash f{member} f{amount}"),
        6 => format!("HINCRBYFLOAT hot:hash f{member} 0.5"),
        7 | 8 => format!("SADD hot:set m{member} m{amount}"),
        9 | 10 => format!("SREM hot:set m{member} m{amount}"),
        _ => pop[rng.below(3) as usize].to_owned(),
    }
}

#[test]
fn big_values_that_are_never_left_alone_are_copied() {
    let (source, mut rng) = (Server::source(), Rng::seeded(21));
    let mut client = source.client();
    for range in (0..20_000).collect::<Vec<_>>().chunks(1_000) {
        let all = |form: fn(&i32) -> String| range.iter().map(form).collect::<String>();
        client.ok(format!("SADD hot:set{}", all(|n| format!(" m{n}"))));
        client.ok(format!("ZADD hot:zset{}", all(|n| format!(" {n} m{n}"))));
        client.ok(format!("HSET hot:hash{}", all(|n| format!(" f{n} {n}"))));
    }
    // Far away, so that many writes come between two parts of a value.
    let (target, tamer) = (Server::target(), Tamer::before(&source.address()));
    tamer.set(Temper::Slow(Duration::from_millis(5)));
    let crossfade = Launch::urls(&tamer.url(), &target.url()).start();
    let migration = Migration { crossfade, source, target };
    let mut client = migration.client();
    migration.crossfade.wait_status("all three are copied", |status| {
        client.pipeline((0..20).map(|_| hot_write(&mut rng)));
        status["phase"] == "mirroring" && status["mirror"]["dirty_keys"] == 0
    });
    migration.finish();
}

fn a_random_workload_converges(seed: u64) {
    let mut rng = Rng::seeded(seed);
    let source = source_with_keys(3_000);
    fill(&mut source.client(), &mut rng, 500);
    let migration = Migration::slowly(source, 1_500);
    let workload = Workload::start(&migration.crossfade.address(), &mut rng, 6);
    migration.crossfade.wait_phase("mirroring");
    workload.run_for(2_000);
    workload.stop();
    migration.finish();
}

#[test]
fn a_random_workload_during_the_backfill_converges_with_seed_1() {
    a_random_workload_converges(1);
}

#[test]
fn a_random_workload_during_the_backfill_converges_with_seed_2() {
    a_random_workload_converges(2);
}

#[test]
fn a_random_workload_during_the_backfill_converges_with_seed_3() {
    a_random_workload_converges(3);
}

#[test]
fn a_random_workload_before_a_slow_target_converges() {
    let mut rng = Rng::seeded(4);
    let (source, target) = (source_with_keys(500), Server::target());
    let tamer = Tamer::before(&target.address());
    let crossfade = Launch::urls(&source.url(), &tamer.url()).start();
    let migration = Migration { crossfade, source, target };
    tamer.set(Temper::Slow(Duration::from_millis(15)));
    let workload = Workload::start(&migration.crossfade.address(), &mut rng, 4);
    workload.run_for(4_000);
    workload.stop();
    tamer.set(Temper::Calm);
    migration.assert_equal();
}

#[test]
fn a_random_workload_needs_no_repair_by_verify() {
    let mut rng = Rng::seeded(5);
    let migration = Migration::start();
    let workload = Workload::start(&migration.crossfade.address(), &mut rng, 4);
    workload.run_for(3_000);
    workload.stop();
    migration.assert_equal();
    let verified = migration.crossfade.verify();
    assert_eq!(verified["state"], "clean", "{verified:#}");
    assert_eq!(verified["repaired"], 0, "{verified:#}");
    migration.finish();
}

#[test]
fn verify_runs_clean_beside_a_random_workload() {
    let mut rng = Rng::seeded(6);
    let migration = Migration::of(source_with_keys(1_000));
    migration.crossfade.wait_phase("mirroring");
    let workload = Workload::start(&migration.crossfade.address(), &mut rng, 3);
    let verified = migration.crossfade.verify();
    workload.stop();
    assert_eq!(verified["state"], "clean", "{verified:#}");
    migration.finish();
}

#[test]
fn a_writer_that_goes_round_the_proxy_is_found_mended_and_named() {
    let migration = Migration::of(source_with_keys(100));
    migration.crossfade.wait_converged();
    let mut foreign = migration.source.client();
    foreign.ok("CLIENT SETNAME goes-round");
    foreign.ok("SET plain:1 changed");
    foreign.ok("SET extra 1");
    foreign.ok("DEL plain:2");
    let found = migration.crossfade.verify();
    assert_eq!(
        (found["missing"].as_u64(), found["extra"].as_u64(), found["different"].as_u64()),
        (Some(1), Some(1), Some(1)),
        "{found:#}"
    );
    migration.assert_equal();
    assert_eq!(migration.crossfade.verify()["state"], "clean");
}

#[test]
fn the_backfill_can_be_paused_slowed_and_resumed() {
    let migration = Migration::slowly(source_with_keys(2_000), 200);
    let admin = migration.crossfade.admin();
    assert_eq!(admin.backfill(true, Some(200)).code, 200);
    let paused =
        migration.crossfade.wait_status("it is paused", |s| s["backfill"]["state"] == "paused");
    assert_eq!(paused["phase"], "backfilling");
    migration.client().ok("SET written-meanwhile 1");
    migration.speed_up();
    let done = migration.crossfade.status();
    assert_eq!(done["backfill"]["state"], "done");
    assert_eq!(done["backfill"]["percent"].as_f64(), Some(100.0));
    migration.finish();
}

#[test]
fn a_source_with_a_database_is_carried_into_the_targets_database() {
    let (source, target) = (Server::source(), Server::target());
    source.client().pipeline(["SET outside 1", "SELECT 2", "SET inside 1"]);
    let crossfade =
        Launch::urls(&format!("{}/2", source.url()), &format!("{}/4", target.url())).start();
    crossfade.wait_converged();
    crossfade.client().pipeline(["SELECT 2", "SET written 1"]);
    crossfade.wait_converged();
    assert_eq!((target.size(0), target.size(4)), (0, 2));
    assert_eq!((source.size(0), source.size(2)), (1, 2));
    crossfade.finish();
}

#[test]
fn two_databases_of_one_server_can_be_migrated_between() {
    let server = Server::source();
    server.client().pipeline(["SELECT 2", "SET inside 1"]);
    let url = server.url();
    let crossfade = Launch::urls(&format!("{url}/2"), &format!("{url}/4")).start();
    crossfade.wait_converged();
    crossfade.client().pipeline(["SELECT 2", "INCR inside"]);
    crossfade.wait_converged();
    let mut client = server.client();
    client.ok("SELECT 4");
    assert_eq!(client.ok("GET inside").integer(), 2);
    crossfade.finish();
}

#[test]
fn keys_that_the_target_holds_are_kept_or_flushed_as_told() {
    for (policy, kept) in [("overwrite", 1), ("flush", 0)] {
        let (source, target) = (Server::source(), Server::target());
        source.ok("SET common source");
        target.client().pipeline(["SET common target", "SET only-here 1"]);
        let migration =
            Migration::with(source, target, |launch| launch.option("--target-policy", policy));
        migration.crossfade.wait_converged();
        assert_eq!(migration.target.ok("GET common").text(), "source", "{policy}");
        assert_eq!(migration.target.ok("EXISTS only-here").integer(), kept, "{policy}");
    }
}

#[test]
fn with_ack_both_an_answered_write_is_on_the_target() {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--ack", "both")
    });
    migration.crossfade.wait_phase("mirroring");
    let (mut client, mut target) = (migration.client(), migration.target.client());
    for n in 0..200 {
        client.ok(format!("SET key {n}"));
        assert_eq!(target.ok("GET key").integer(), n);
    }
    drop(client);
    migration.finish();
}
