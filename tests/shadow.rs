//! Reads that the secondary is asked too: no false alarm under load, and every real difference is found.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Launch, Migration, Resp, Rng, Server, Tamer, Temper, Workload, run_cli, wait_until};

/// What crossfade says of each difference.
const SAID: &str = "the secondary answers a read otherwise";

fn shadow(migration: &Migration) -> Value {
    migration.crossfade.status()["shadow"].clone()
}

fn count(migration: &Migration, outcome: &str) -> u64 {
    shadow(migration)[outcome].as_u64().unwrap()
}

/// One read of every kind that is compared, of the hot keys of the workload and of those that end.
fn random_read(rng: &mut Rng) -> String {
    let n = rng.below(6);
    match rng.below(14) {
        0 => format!("GET str:{n}"),
        1 => format!("MGET str:{n} str:0 volatile:{n} absent"),
        2 => format!("GETRANGE str:{n} 0 5"),
        3 => format!("HGETALL hash:{n}"),
        4 => format!("HMGET hash:{n} f1 f2 f3"),
        5 => format!("SMEMBERS set:{n}"),
        6 => format!("SUNION set:{n} set:0"),
        7 => format!("LRANGE list:{n} 0 -1"),
        8 => format!("ZRANGE zset:{n} 0 -1 WITHSCORES"),
        9 => format!("XRANGE stream:{n} - +"),
        10 => format!("EXISTS str:{n} hash:{n} volatile:{n}"),
        11 => format!("GEOSEARCH geo:{n} FROMLONLAT 20 20 BYRADIUS 2000 km ASC"),
        12 => format!("TYPE volatile:{n}"),
        _ => format!("GET volatile:{n}"),
    }
}

/// Sets keys that end soon, and reads all there is.
fn read(client: &mut Resp, rng: &mut Rng, rounds: usize) {
    for _ in 0..rounds {
        let (n, life) = (rng.below(6), 1 + rng.below(60));
        client.ok(format!("SET volatile:{n} {life} PX {life}"));
        client.pipeline((0..12).map(|_| random_read(rng)));
        std::thread::sleep(Duration::from_millis(rng.below(6)));
    }
}

#[test]
fn no_read_is_taken_for_different_under_a_mixed_load_and_a_slow_target() {
    let mut rng = Rng::arbitrary();
    let (source, target) = (Server::source(), Server::target());
    let tamer = Tamer::before(&target.address());
    let launch = Launch::urls(&source.url(), &tamer.url()).option("--shadow-reads", "100%");
    let migration = Migration { crossfade: launch.start(), source, target };
    tamer.set(Temper::Slow(Duration::from_millis(1)));
    let address = migration.crossfade.address();
    let workload = Workload::start(&address, &mut rng, 3);
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (address, mut rng) = (&address, rng.fork());
            scope.spawn(move || {
                let resp3 = reader == 1;
                let mut client =
                    if resp3 { Resp::connect_resp3(address) } else { Resp::connect(address) };
                client.ok(format!("SELECT {reader}"));
                read(&mut client, &mut rng, 250);
            });
        }
    });
    workload.stop();
    let mut client = migration.client();
    wait_until("reads have counted", || {
        read(&mut client, &mut rng, 5);
        count(&migration, "equal") > 300
    });
    assert_eq!(count(&migration, "different"), 0, "{}", shadow(&migration));
    assert_eq!(count(&migration, "refused"), 0, "{}", shadow(&migration));
    drop(client);
    migration.finish();
}

/// What is there, what somebody does to the target alone, and a read that shows it.
const PLANTED: [(&str, &str, &str); 20] = [
    ("SET p:0 v", "SET p:0 w", "GET p:0"),
    ("SET p:1 v", "DEL p:1", "GET p:1"),
    ("SET p:2 v", "APPEND p:2 x", "STRLEN p:2"),
    ("SET steady v", "SET p:3 new", "EXISTS p:3"),
    ("SET p:4 v EX 1000", "SET p:4 w EX 1000", "MGET steady p:4 absent"),
    ("HSET p:5 a 1 b 2", "HSET p:5 a 2", "HGETALL p:5"),
    ("HSET p:6 a 1 b 2", "HDEL p:6 a", "HGET p:6 a"),
    ("HSET p:7 a 1", "HSET p:7 b 1", "HLEN p:7"),
    ("SADD p:8 a b c", "SREM p:8 a", "SMEMBERS p:8"),
    ("SADD p:9 a", "SADD p:9 b", "SISMEMBER p:9 b"),
    ("SADD p:10 a b", "SADD p:10 c", "SUNION p:10 absent"),
    ("RPUSH p:11 a b", "RPUSH p:11 c", "LRANGE p:11 0 -1"),
    ("RPUSH p:12 a b", "LSET p:12 0 x", "LINDEX p:12 0"),
    ("RPUSH p:13 a", "LPOP p:13", "LLEN p:13"),
    ("ZADD p:14 1 a 2 b", "ZADD p:14 3 a", "ZRANGE p:14 0 -1 WITHSCORES"),
    ("ZADD p:15 1 a", "ZADD p:15 1.5 a", "ZSCORE p:15 a"),
    ("XADD p:16 1-1 f v", "XADD p:16 2-1 f v", "XRANGE p:16 - +"),
    ("XADD p:17 1-1 f v", "XDEL p:17 1-1", "XLEN p:17"),
    ("SETBIT p:18 7 1", "SETBIT p:18 7 0", "BITCOUNT p:18"),
    ("RPUSH p:19 a", "SET p:19 a", "LRANGE p:19 0 -1"),
];

#[test]
fn every_difference_that_somebody_makes_behind_the_back_is_found_under_load_and_mended() {
    let mut rng = Rng::arbitrary();
    let source = Server::source();
    source.client().pipeline(PLANTED.map(|(there, ..)| there));
    let migration = Migration::with(source, Server::target(), |launch| {
        launch.option("--shadow-reads", "100").expect_log(SAID)
    });
    migration.crossfade.wait_phase("mirroring");
    let workload = Workload::start(&migration.crossfade.address(), &mut rng, 2);
    migration.target.client().pipeline(PLANTED.map(|(_, planted, _)| planted));
    let mut readers = [migration.client(), Resp::connect_resp3(&migration.crossfade.address())];
    wait_until("every difference is found", || {
        for (place, (.., read)) in PLANTED.iter().enumerate() {
            readers[place % 2].call(*read);
        }
        count(&migration, "different") >= 20
    });
    workload.stop();
    let shadow = shadow(&migration);
    assert_eq!(shadow["different"], 20, "{shadow}");
    let named: Vec<&str> = shadow["unlike"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["key"].as_str().unwrap())
        .collect();
    assert!(
        PLANTED.iter().all(|(.., read)| named.iter().any(|key| read.contains(key))),
        "{shadow}"
    );
    assert!(migration.crossfade.status()["mirror"]["recopies"]["shadow"].as_u64().unwrap() >= 20);
    drop(readers);
    migration.finish();
}

#[test]
fn reads_are_asked_of_both_from_the_moment_when_it_is_wanted_and_no_longer() {
    let source = Server::source();
    source.client().ok("SET k v");
    let migration = Migration::of(source);
    migration.crossfade.wait_phase("mirroring");
    let admin = migration.crossfade.admin();
    let mut client = migration.client();
    client.ok("GET k");
    assert_eq!(count(&migration, "sampled"), 0);
    assert_eq!(admin.post("/v1/shadow", &json!({"percent": 100})).code, 200);
    wait_until("a read was asked of both", || {
        client.ok("GET k");
        count(&migration, "equal") > 0
    });
    let metrics = admin.get("/metrics").text;
    assert!(!metrics.contains("crossfade_shadow_reads_total{outcome=\"equal\"} 0\n"), "{metrics}");
    assert!(!metrics.contains("crossfade_read_duration_seconds_count{side=\"target\"} 0\n"));
    assert!(shadow(&migration)["target"]["p99"].as_f64().unwrap() > 0.0);
    let outcome = run_cli(&["shadow", "0", "--admin", admin.address()]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    wait_until("what was on its way is over", || {
        let before = count(&migration, "sampled");
        client.ok("GET k");
        std::thread::sleep(Duration::from_millis(20));
        count(&migration, "sampled") == before
    });
    drop(client);
    migration.finish();
}

#[test]
fn a_target_that_does_not_answer_costs_clients_nothing_and_is_not_taken_for_different() {
    let (source, target) = (Server::source(), Server::target());
    source.client().ok("SET k v");
    let tamer = Tamer::before(&target.address());
    let launch = Launch::urls(&source.url(), &tamer.url()).option("--shadow-reads", "100%");
    let migration = Migration { crossfade: launch.start(), source, target };
    migration.crossfade.wait_phase("mirroring");
    tamer.set(Temper::Slow(Duration::from_secs(5)));
    let mut client = migration.client();
    for _ in 0..20 {
        client.pipeline((0..200).map(|_| "GET k"));
    }
    wait_until("reads were let go", || count(&migration, "discarded") > 2_000);
    tamer.set(Temper::Calm);
    wait_until("reads are compared again", || {
        client.ok("GET k");
        count(&migration, "equal") > 0
    });
    assert_eq!(count(&migration, "different"), 0, "{}", shadow(&migration));
    drop(client);
    migration.finish();
}
