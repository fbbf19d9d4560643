//! Cut-over, rollback and finalize: one command moves every client, with nothing lost, no error and no
//! dropped connection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Invariants, Launch, Migration, Resp, Rng, Server, Value, Workload};

#[test]
fn invariants_hold_across_cutover_rollback_and_a_second_cutover() {
    let migration = Migration::lasting();
    let invariants = Invariants::start(&migration.crossfade.address());
    invariants.run_for(300);
    assert_eq!(verify_and_cut_over(&migration), "cut_over");
    invariants.run_for(300);
    migration.crossfade.roll_back();
    invariants.run_for(300);
    assert_eq!(verify_and_cut_over(&migration), "cut_over");
    invariants.run_for(300);
    invariants.finish(&migration.target);
    migration.finish();
}

/// Verifies and cuts over while clients write, when lag 0 is never seen for long.
fn verify_and_cut_over(migration: &Migration) -> String {
    migration.crossfade.wait_phase("mirroring");
    let verified = migration.crossfade.verify();
    assert_eq!(verified["state"], "clean", "{verified:#}");
    let answer = migration.crossfade.admin().cutover(10_000, false);
    assert_eq!(answer.code, 200, "{}", answer.text);
    assert!(answer.json()["hold_ms"].is_number());
    answer.json()["phase"].as_str().unwrap().to_owned()
}

#[test]
fn a_random_workload_converges_across_cutover_and_rollback() {
    let mut rng = Rng::seeded(21);
    let migration = Migration::lasting();
    migration.crossfade.wait_phase("mirroring");
    let workload = Workload::start(&migration.crossfade.address(), &mut rng, 4);
    workload.run_for(500);
    verify_and_cut_over(&migration);
    workload.run_for(1_000);
    migration.crossfade.roll_back();
    workload.run_for(500);
    workload.stop();
    migration.finish();
}

#[test]
fn after_a_cutover_the_target_serves_and_the_source_follows() {
    let migration = Migration::lasting();
    let mut client = migration.client();
    client.ok("SET a 1");
    migration.crossfade.cut_over();
    assert_eq!(client.ok("INCR a").integer(), 2, "the connection lives on");
    assert_eq!(migration.target.ok("GET a").integer(), 2);
    assert_eq!(migration.crossfade.status()["primary"], "target");
    migration.crossfade.wait_converged();
    assert_eq!(migration.source.ok("GET a").integer(), 2);
    assert_eq!(migration.source.ok("EXISTS crossfade:cutover").integer(), 1, "the marker is there");
    assert_eq!(migration.target.ok("EXISTS crossfade:cutover").integer(), 0, "and only there");
    drop(client);
    migration.finish();
}

#[test]
fn lanes_are_opened_once_however_many_clients_want_them_and_before_a_flip_holds_anyone() {
    let migration = Migration::lasting();
    let lanes = |server: &Server| {
        let list = server.ok("CLIENT LIST").text();
        list.lines().filter(|client| client.contains(" name=crossfade-lane")).count()
    };
    let mut clients: Vec<Resp> = (0..200).map(|_| migration.client()).collect();
    let mut ask_all = || {
        for client in &mut clients {
            client.send("GET a");
        }
        for client in &mut clients {
            client.reply();
        }
    };
    let connections = || {
        let stats = migration.source.ok("INFO stats").text();
        let count = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        count.unwrap().parse::<usize>().unwrap()
    };
    let before = connections();
    ask_all();
    let (opened, count) = (connections() - before, lanes(&migration.source));
    assert!((1..=8).contains(&count), "{count} lanes");
    assert!(opened < 20, "{opened} connections for {count} lanes");
    migration.crossfade.cut_over();
    assert_eq!(lanes(&migration.target), count, "before anybody has asked");
    ask_all();
    assert_eq!(lanes(&migration.target), count);
    drop(clients);
    migration.finish();
}

#[test]
fn a_rollback_takes_every_write_back_and_removes_the_marker() {
    let migration = Migration::lasting();
    let mut client = migration.client();
    migration.crossfade.cut_over();
    client.pipeline((0..500).map(|n| format!("RPUSH list {n}")));
    migration.crossfade.roll_back();
    assert_eq!(migration.source.ok("LLEN list").integer(), 500);
    assert_eq!(migration.source.ok("EXISTS crossfade:cutover").integer(), 0);
    client.ok("RPUSH list last");
    assert_eq!(migration.source.ok("LLEN list").integer(), 501);
    assert_eq!(migration.crossfade.status()["verify"]["state"], "stale");
    drop(client);
    migration.finish();
}

#[test]
fn finalize_lets_the_source_go_and_bars_the_way_back() {
    let migration = Migration::lasting();
    let mut client = migration.client();
    client.ok("SET a 1");
    assert_eq!(migration.crossfade.admin().finalize().code, 409, "not before a cut-over");
    migration.crossfade.cut_over();
    assert_eq!(migration.crossfade.admin().finalize().code, 200);
    assert_eq!(migration.crossfade.phase(), "finalized");
    client.ok("SET a 2");
    assert_eq!(migration.target.ok("GET a").integer(), 2);
    assert_eq!(migration.source.ok("GET a").integer(), 1, "the source is let go");
    assert_eq!(migration.crossfade.admin().rollback(1_000).code, 409);
    drop(client);
    migration.crossfade.finish();
}

#[test]
fn clients_are_not_moved_to_a_target_that_refuses_every_write_however_much_it_is_wished() {
    let mut migration = Migration::lasting();
    migration.crossfade.expect_log("clients stay where they are");
    migration.client().ok("SET a 1");
    migration.crossfade.wait_phase("mirroring");
    assert_eq!(migration.crossfade.verify()["state"], "clean");
    migration.target.ok("CONFIG SET min-replicas-to-write 1");
    let refused = migration.crossfade.admin().cutover(5_000, true);
    assert_eq!(refused.code, 409, "{}", refused.text);
    assert!(refused.text.contains("the target refuses writes: NOREPLICAS"), "{}", refused.text);
    migration.client().ok("SET a 2");
    migration.target.ok("CONFIG SET min-replicas-to-write 0");
    migration.crossfade.wait_converged();
    assert_eq!(migration.crossfade.admin().cutover(5_000, true).code, 200);
    migration.finish();
}

#[test]
fn a_mirrored_flushall_leaves_the_marker_on_the_source() {
    let migration = Migration::lasting();
    migration.crossfade.cut_over();
    migration.client().ok("FLUSHALL");
    migration.crossfade.wait_converged();
    assert_eq!(migration.source.ok("EXISTS crossfade:cutover").integer(), 1);
    assert_eq!(migration.client().ok("DBSIZE").integer(), 0);
}

#[test]
fn subscribers_miss_no_message_across_the_flip() {
    let migration = Migration::lasting();
    let mut subscribers = [migration.client(), Resp::connect_resp3(&migration.crossfade.address())];
    for subscriber in &mut subscribers {
        subscriber.ok("SUBSCRIBE news");
    }
    let mut publisher = migration.client();
    let mut publish = |from: i64, to: i64| {
        for n in from..to {
            assert_eq!(publisher.ok(format!("PUBLISH news {n}")).integer(), 2);
        }
    };
    publish(0, 50);
    migration.crossfade.cut_over();
    publish(50, 100);
    migration.crossfade.roll_back();
    publish(100, 150);
    for subscriber in &mut subscribers {
        for n in 0..150 {
            assert_eq!(subscriber.reply().texts(), ["message", "news", &n.to_string()]);
        }
    }
}

#[test]
fn a_blocked_pop_goes_on_blocking_across_the_flip_and_gets_its_element_once() {
    let migration = Migration::lasting();
    let mut forever = migration.client();
    let mut bounded = migration.client();
    forever.send("BLPOP queue 0");
    bounded.send("BLPOP other 4");
    assert_eq!(forever.reply_within(Duration::from_millis(100)), None);
    migration.crossfade.cut_over();
    assert_eq!(forever.reply_within(Duration::from_millis(100)), None);
    migration.client().ok("RPUSH queue element");
    assert_eq!(forever.reply().texts(), ["queue", "element"]);
    assert_eq!(migration.client().ok("LLEN queue").integer(), 0);
    assert_eq!(
        bounded.reply(),
        Value::Null,
        "what is left of the timeout passes on the new primary"
    );
    drop((forever, bounded));
    migration.finish();
}

#[test]
fn blocking_commands_of_every_kind_survive_the_flip() {
    let migration = Migration::lasting();
    migration.client().ok("XGROUP CREATE stream g $ MKSTREAM");
    let requests = [
        ("BRPOP list 0", "RPUSH list a"),
        ("BLMOVE from to LEFT LEFT 0", "RPUSH from b"),
        ("BZPOPMIN zset 0", "ZADD zset 1 c"),
        ("BLMPOP 0 1 many LEFT COUNT 2", "RPUSH many d e"),
        ("XREAD BLOCK 0 STREAMS log $", "XADD log 1-1 f g"),
        ("XREADGROUP GROUP g c BLOCK 0 STREAMS stream >", "XADD stream * h i"),
    ];
    let mut blocked: Vec<Resp> = requests.iter().map(|_| migration.client()).collect();
    for (client, (request, _)) in blocked.iter_mut().zip(requests) {
        client.send(request);
        assert_eq!(client.reply_within(Duration::from_millis(50)), None, "{request}");
    }
    migration.crossfade.cut_over();
    let mut waker = migration.client();
    for (client, (request, wakes)) in blocked.iter_mut().zip(requests) {
        waker.ok(wakes);
        let reply = client.reply();
        assert!(!reply.is_error() && reply != Value::Null, "{request}: {reply:?}");
    }
    drop((blocked, waker));
    migration.finish();
}

#[test]
fn what_belongs_to_a_connection_is_kept_across_the_flip() {
    let migration = Migration::lasting();
    let mut client = Resp::connect_resp3(&migration.crossfade.address());
    client.ok("SELECT 3");
    client.ok("CLIENT SETNAME kept");
    client.ok("SET a 1");
    let mut queued = migration.client();
    queued.pipeline(["MULTI", "INCR queued", "INCR queued"]);
    let mut watching = migration.client();
    watching.ok("WATCH watched");
    let mut silent = migration.client();
    silent.send("CLIENT REPLY OFF");
    migration.crossfade.cut_over();
    assert_eq!(client.ok("GET a").integer(), 1, "the database");
    assert_eq!(client.ok("CLIENT GETNAME").text(), "kept");
    assert!(client.ok("HELLO").texts().windows(2).any(|pair| pair == ["proto", "3"]));
    assert_eq!(queued.ok("EXEC").texts(), ["1", "2"], "an open transaction");
    assert_eq!(watching.pipeline(["MULTI", "SET x 1", "EXEC"])[2], Value::Null, "an open watch");
    assert_eq!(watching.pipeline(["MULTI", "SET x 1", "EXEC"])[2].clone().texts(), ["OK"]);
    silent.send("SET quietly 1");
    silent.send("CLIENT REPLY ON");
    assert_eq!(silent.reply().text(), "OK");
    assert_eq!(silent.ok("GET quietly").integer(), 1);
    drop((client, queued, watching, silent));
    migration.finish();
}

#[test]
fn a_client_that_tracks_keys_drops_its_cache_at_the_flip_and_goes_on_tracking() {
    let migration = Migration::lasting();
    let mut tracking = Resp::connect_resp3(&migration.crossfade.address());
    tracking.ok("CLIENT TRACKING ON");
    tracking.ok("GET watched");
    migration.crossfade.cut_over();
    let Value::Push(all) = tracking.reply() else { panic!("an invalidation was due") };
    assert_eq!((all[0].text().as_str(), &all[1]), ("invalidate", &Value::Null));
    assert_eq!(tracking.ok("GET watched"), Value::Null);
    migration.client().ok("SET watched 1");
    assert!(matches!(tracking.reply(), Value::Push(_)), "tracked on the new primary too");
}

#[test]
fn a_scripts_digest_is_known_on_the_new_primary() {
    let migration = Migration::lasting();
    let mut client = migration.client();
    let sha = client.ok("SCRIPT LOAD return(redis.call('INCR',KEYS[1]))").text();
    client.ok("EVAL return(ARGV[1]) 0 once");
    migration.crossfade.cut_over();
    assert_eq!(client.ok(format!("EVALSHA {sha} 1 n")).integer(), 1);
    drop(client);
    migration.finish();
}

#[test]
fn a_scan_begun_before_the_flip_misses_no_key_after_it() {
    let migration = Migration::lasting();
    let mut client = migration.client();
    client.pipeline((0..500).map(|n| format!("SET key:{n} {n}")));
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = "0".to_owned();
    let mut flipped = false;
    loop {
        let reply = client.ok(["SCAN", &cursor, "COUNT", "20"]).elements();
        seen.extend(reply[1].clone().texts());
        cursor = reply[0].text();
        if cursor == "0" {
            break;
        }
        if !flipped {
            migration.crossfade.cut_over();
            flipped = true;
        }
    }
    assert!(flipped);
    assert_eq!(seen.len(), 500);
}

#[test]
fn the_sources_credentials_go_on_working_in_every_phase() {
    let source = Server::source_with(&["--requirepass", "source-password"]);
    let target = Server::target_with(&["--requirepass", "target-password"]);
    for server in [&source, &target] {
        server.ok("ACL SETUSER app on >app-password ~* &* +@all");
    }
    let state = source.directory().join("state");
    let migration = Migration::with(source, target, |launch| launch.state_dir(&state));
    let address = migration.crossfade.address();
    let works = |phase: &str| {
        let mut client = Resp::connect(&address);
        assert!(client.call("GET a").text().starts_with("NOAUTH"), "{phase}");
        assert!(client.call("AUTH target-password").is_error(), "{phase}");
        client.ok("AUTH source-password");
        client.ok("INCR a");
        client.ok("AUTH app app-password");
        client.ok("INCR a");
        assert!(client.call("AUTH app wrong").text().starts_with("WRONGPASS"), "{phase}");
    };
    works("mirroring");
    migration.crossfade.cut_over();
    works("cut_over");
    migration.crossfade.roll_back();
    works("mirroring again");
    migration.crossfade.cut_over();
    assert_eq!(migration.crossfade.admin().finalize().code, 200);
    works("finalized");
    assert_eq!(migration.target.ok("GET a").integer(), 8);
}

#[test]
fn a_run_without_state_before_a_source_with_the_marker_refuses() {
    let Migration { crossfade, source, target } = Migration::lasting();
    crossfade.cut_over();
    crossfade.finish();
    let refused = Launch::between(&source, &target).option("--target-policy", "flush").refused();
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("--ignore-cutover-marker"), "{}", refused.stderr);
}

#[test]
fn a_transaction_queued_step_by_step_across_flips_runs_each_command_once() {
    const ROUND: i64 = 3;
    let migration = Migration::lasting();
    let (address, over) = (migration.crossfade.address(), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (address, over) = (address.clone(), Arc::clone(&over));
            std::thread::spawn(move || {
                let mut client = Resp::connect(&address);
                let mut rounds = 0;
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(client.ok("MULTI").text(), "OK");
                    for step in 0..ROUND {
                        let queued = client.ok(format!("RPUSH list:{number} {rounds}:{step}"));
                        assert_eq!(queued.text(), "QUEUED");
                    }
                    let lengths = client.ok("EXEC").elements();
                    let expected = (1..=ROUND).map(|step| rounds * ROUND + step);
                    assert!(lengths.iter().map(Value::integer).eq(expected), "{lengths:?}");
                    rounds += 1;
                }
            })
        })
        .collect();
    for _ in 0..5 {
        verify_and_cut_over(&migration);
        migration.crossfade.roll_back();
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    migration.finish();
}
