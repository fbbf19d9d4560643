//! The hard cases, one by one: interleavings of clients, copies and expiry that break simpler designs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;
use support::{Launch, Migration, Server, Tamer, Temper, source_with_keys, wait_until};

#[test]
fn two_clients_that_set_one_key_at_once_leave_the_same_value_on_both() {
    let migration = Migration::start();
    let address = migration.crossfade.address();
    std::thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let address = &address;
            scope.spawn(move || {
                let mut client = support::Resp::connect(address);
                for round in 0..100 {
                    client.pipeline((0..20).map(|key| format!("SET hot:{key} {name}:{round}")));
                }
            });
        }
    });
    migration.finish();
}

#[test]
fn an_incr_between_dump_and_restore_counts_once() {
    let source = Server::source();
    source.client().pipeline((0..200).map(|n| format!("SET counter:{n} 41")));
    let migration = Migration::slowly(source, 300);
    let mut client = migration.client();
    let mut rounds = 0;
    while migration.crossfade.phase() == "backfilling" {
        client.pipeline((0..200).map(|n| format!("INCR counter:{n}")));
        rounds += 1;
    }
    assert!(rounds > 1, "the backfill was over before the traffic met it");
    assert_eq!(client.ok("GET counter:7").integer(), 41 + rounds);
    drop(client);
    migration.finish();
}

#[test]
fn a_write_in_flight_when_its_keys_copy_starts_counts_once() {
    let source = Server::source();
    source.client().pipeline((0..50).map(|n| format!("RPUSH list:{n} first")));
    let (target, tamer) = (Server::target(), Tamer::before(&source.address()));
    let crossfade =
        Launch::urls(&tamer.url(), &target.url()).option("--backfill-rate", "100").start();
    tamer.set(Temper::Slow(Duration::from_millis(3)));
    let migration = Migration { crossfade, source, target };
    let mut client = migration.client();
    for round in 0..10 {
        client.pipeline((0..50).map(|n| format!("RPUSH list:{n} {round}")));
    }
    tamer.set(Temper::Calm);
    migration.speed_up();
    migration.assert_equal();
}

#[test]
fn keys_created_deleted_and_expired_during_the_backfill_end_as_on_the_source() {
    let source = source_with_keys(600);
    let migration = Migration::slowly(source, 400);
    let mut client = migration.client();
    for n in 0..600 {
        client.ok(match n % 4 {
            0 => format!("DEL plain:{n}"),
            1 => format!("PEXPIRE plain:{n} {}", 1 + n),
            2 => format!("SET created:{n} 1"),
            _ => format!("RENAME plain:{n} renamed:{n}"),
        });
    }
    migration.speed_up();
    drop(client);
    migration.finish();
}

#[test]
fn writes_to_keys_about_to_expire_leave_no_zombie_on_a_slow_target() {
    let (source, target) = (Server::source(), Server::target());
    let tamer = Tamer::before(&target.address());
    let crossfade = Launch::urls(&source.url(), &tamer.url()).start();
    crossfade.wait_phase("mirroring");
    let migration = Migration { crossfade, source, target };
    tamer.set(Temper::Slow(Duration::from_millis(40)));
    let mut client = migration.client();
    for round in 0..30_u64 {
        let (v, ms) = (round, 5 + round);
        client.pipeline([
            format!("SET counter:{v} 41 PX {ms}"),
            format!("SADD set:{v} a"),
            format!("PEXPIRE set:{v} {ms}"),
            format!("HSET hash:{v} a 1"),
            format!("PEXPIRE hash:{v} {ms}"),
            format!("RPUSH list:{v} a"),
            format!("PEXPIRE list:{v} {ms}"),
        ]);
        std::thread::sleep(Duration::from_millis(ms.saturating_sub(3)));
        client.pipeline([
            format!("INCR counter:{v}"),
            format!("SADD set:{v} b"),
            format!("HSET hash:{v} b 2"),
            format!("LPUSH list:{v} b"),
            format!("EXPIRE counter:{v} 100 XX"),
        ]);
    }
    tamer.set(Temper::Calm);
    migration.assert_equal();
}

#[test]
fn a_lock_taken_the_moment_the_old_one_expires_has_its_new_holder_on_the_target() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    for round in 0..20 {
        client.ok(format!("SET lock:{round} old PX 15"));
        wait_until("the lock is free", || {
            client.ok(format!("SET lock:{round} new NX PX 60000")) != support::Value::Null
        });
    }
    drop(client);
    migration.finish();
}

#[test]
fn commands_from_an_unmigrated_key_leave_their_destination_as_on_the_source() {
    let source = source_with_keys(2_000);
    let mut client = source.client();
    for n in 0..20 {
        client.pipeline([
            format!("RPUSH list:{n} 3 1 2"),
            format!("SADD set:{n} 1 2 3"),
            format!("ZADD zset:{n} 1 a 2 b"),
            format!("SET str:{n} abc"),
            format!("PFADD hll:{n} a b c"),
            format!("GEOADD geo:{n} 13.361389 38.115556 Palermo"),
            format!("SADD same:{n} 1 2 3"),
        ]);
    }
    let migration = Migration::slowly(source, 500);
    let mut client = migration.client();
    for n in 0..20 {
        let requests = [
            format!("RENAME str:{n} renamed:{n}"),
            format!("COPY renamed:{n} copied:{n}"),
            format!("SMOVE set:{n} moved:{n} 2"),
            format!("LMOVE list:{n} taken:{n} LEFT RIGHT"),
            format!("SUNIONSTORE union:{n} set:{n} moved:{n}"),
            format!("SDIFFSTORE same:{n} same:{n} same:{n}"),
            format!("ZUNIONSTORE zunion:{n} 1 zset:{n}"),
            format!("ZRANGESTORE zrange:{n} zset:{n} 0 0"),
            format!("BITOP NOT bits:{n} renamed:{n}"),
            format!("PFMERGE merged:{n} hll:{n}"),
            format!("SORT list:{n} STORE sorted:{n}"),
            format!("GEOSEARCHSTORE near:{n} geo:{n} FROMLONLAT 13 38 BYRADIUS 200 km"),
            format!("MOVE plain:{} 5", 200 + n),
        ];
        for (reply, request) in client.pipeline(requests.clone()).iter().zip(requests) {
            assert!(!reply.is_error(), "{request}: {}", reply.text());
        }
    }
    migration.speed_up();
    drop(client);
    migration.finish();
}

#[test]
fn mset_and_del_over_migrated_and_unmigrated_keys_leave_each_key_right() {
    let migration = Migration::slowly(source_with_keys(600), 300);
    let mut client = migration.client();
    for n in 0..200 {
        client.ok(match n % 4 {
            0 => format!("MSET plain:{n} a plain:{} b created:{n} c", n + 200),
            1 => format!("DEL plain:{n} plain:{} created:{}", n + 200, n - 1),
            2 => format!("UNLINK plain:{n} plain:{} nothing:{n}", n + 400),
            _ => format!("MSETNX born:{n} 1 twin:{n} 2"),
        });
    }
    migration.speed_up();
    drop(client);
    migration.finish();
}

#[test]
fn a_flush_in_the_middle_of_the_backfill_brings_no_key_back_from_the_dead() {
    for flush in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"] {
        let migration = Migration::slowly(source_with_keys(1_000), 1_000);
        let mut client = migration.client();
        client.ok("SET plain:1 changed");
        migration.crossfade.wait_status("some keys are copied", |status| {
            status["backfill"]["copied"].as_u64() > Some(100)
        });
        client.ok(flush);
        client.ok("SET after 1");
        migration.speed_up();
        migration.assert_equal();
        assert_eq!(migration.target.size(0), 1);
    }
}

#[test]
fn a_swap_of_databases_in_the_middle_of_the_backfill_is_followed_or_refused() {
    let source = source_with_keys(500);
    source.client().pipeline(["SELECT 1", "SET one 1", "SET plain:3 other"]);
    let migration = Migration::slowly(source, 500);
    let mut client = migration.client();
    let swapped = client.call("SWAPDB 0 1");
    assert!(
        !swapped.is_error() || swapped.text().starts_with("ERR crossfade: "),
        "{}",
        swapped.text()
    );
    client.ok("SET after 1");
    migration.speed_up();
    assert!(!client.call("SWAPDB 0 1").is_error(), "once every key is there, nothing hinders it");
    drop(client);
    migration.finish();
}

#[test]
fn random_and_time_made_results_are_the_same_on_both() {
    let migration = Migration::start();
    let mut client = migration.client();
    client.ok("XGROUP CREATE log g 0 MKSTREAM");
    client.ok("SET original 1");
    let payload = client.ok("DUMP original").bytes();
    client.ok([b"RESTORE".as_slice(), b"restored", b"100000", &payload]);
    for n in 0..100 {
        client.pipeline([
            format!("SADD set {n} x{n} y{n}"),
            "SPOP set".to_owned(),
            "SPOP set 1".to_owned(),
            format!("ZADD zset {n} {n} {n} x{n}"),
            "ZPOPMIN zset".to_owned(),
            format!("XADD log * n {n}"),
            format!("XADD log MAXLEN ~ 20 * n {n}"),
            format!("XREADGROUP GROUP g c{} COUNT 1 STREAMS log >", n % 3),
            "XAUTOCLAIM log g c9 0 0 COUNT 1".to_owned(),
            "INCRBYFLOAT float 0.1".to_owned(),
            "HINCRBYFLOAT floats f 0.1".to_owned(),
            "EVAL return(redis.call('SET',KEYS[1],redis.call('TIME')[2])) 1 time".to_owned(),
            "EVAL return(redis.call('SPOP',KEYS[1])) 1 set".to_owned(),
        ]);
    }
    drop(client);
    migration.finish();
}

#[test]
fn a_transaction_is_mirrored_as_what_was_done() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    client.ok("SET text abc");
    client.pipeline(["MULTI", "INCR n", "INCR text", "RPUSH list 1", "EXEC"]);
    client.pipeline(["MULTI", "SET dropped 1", "DISCARD"]);
    client.pipeline(["WATCH n"]);
    migration.client().ok("INCR n");
    assert_eq!(client.pipeline(["MULTI", "SET dropped 1", "EXEC"])[2], support::Value::Null);
    let mut leaving = migration.client();
    leaving.pipeline(["MULTI", "SET dropped 1"]);
    drop(leaving);
    client.pipeline(["MULTI", "SELECT 2", "SET in-two 1", "EXEC"]);
    assert_eq!(client.ok("GET in-two").integer(), 1);
    client.ok("SELECT 0");
    assert_eq!(client.ok("EXISTS dropped").integer(), 0);
    drop(client);
    migration.finish();
}

#[test]
fn scripts_with_undeclared_keys_converge_or_are_named() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    let sha = client.ok("SCRIPT LOAD return(redis.call('INCR',KEYS[1]))").text();
    client.ok(format!("EVALSHA {sha} 1 counter"));
    client.ok("EVAL return(redis.call('SET','undeclared:'..ARGV[1],'1')) 0 7");
    client.ok(["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function(keys) return redis.call('INCR', keys[1]) end)"]);
    client.ok("FCALL f 1 counter");
    migration.crossfade.wait_converged();
    let exists = migration.target.ok(format!("SCRIPT EXISTS {sha}")).texts();
    assert_eq!(exists, ["1"], "a script that was loaded is known on both");
    let equal = support::differences(&migration.source, &migration.target).is_empty();
    let blockers = migration.crossfade.status()["blockers"].to_string();
    assert!(equal || blockers.contains("script"), "different, and only {blockers} is named");
}

#[test]
fn writers_in_several_databases_as_several_users_in_both_protocols_have_one_order() {
    let (source, target) = (Server::source(), Server::target());
    for server in [&source, &target] {
        server.ok("ACL SETUSER writer on >pw ~* &* +@all");
    }
    let migration = Migration::with(source, target, |launch| launch);
    let address = migration.crossfade.address();
    std::thread::scope(|scope| {
        for index in 0..6_usize {
            let address = &address;
            scope.spawn(move || {
                let mut client = support::Resp::connect(address);
                if index % 2 == 1 {
                    client.ok("HELLO 3");
                }
                if index % 3 == 1 {
                    client.ok("AUTH writer pw");
                }
                for round in 0..150 {
                    client.ok(format!("SELECT {}", round % 2));
                    client.pipeline((0..4).map(|key| format!("SET hot:{key} {index}:{round}")));
                    client.ok(format!("APPEND log {index}"));
                }
            });
        }
    });
    migration.finish();
}

#[test]
fn wait_never_claims_more_than_is_true() {
    let migration = Migration::start();
    let mut client = migration.client();
    client.ok("SET a 1");
    assert_eq!(client.ok("WAIT 1 50").integer(), 0, "the source has no replica");
    migration.assert_equal();
}

#[test]
fn a_script_that_was_run_is_known_on_both() {
    let migration = Migration::start();
    migration.client().ok(["EVAL", "return 1", "0"]);
    migration.crossfade.wait_converged();
    let known = migration.target.ok("SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    assert_eq!(known.elements()[0].integer(), 1);
    migration.finish();
}

#[test]
fn a_job_that_was_moved_by_a_worker_is_not_deleted_by_what_came_before_it() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    let (mut worker, mut client) = (migration.client(), migration.client());
    for round in 0..100 {
        worker.send(format!("BLMOVE queue:{round} taken:{round} LEFT LEFT 0"));
        client.ok(format!("SET taken:{round} old"));
        migration.source.ok("PING");
        client.pipeline([format!("DEL taken:{round}"), format!("RPUSH queue:{round} job")]);
        worker.reply();
    }
    drop((worker, client));
    migration.finish();
}

#[test]
fn a_worker_that_waits_while_databases_change_places_is_served_where_it_waits() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    let (mut worker, mut client) = (migration.client(), migration.client());
    for round in 0..20 {
        worker.send(format!("BLPOP queue:{round} 0"));
        std::thread::sleep(Duration::from_millis(5));
        client.pipeline(["SWAPDB 0 1".to_owned(), format!("RPUSH queue:{round} a b")]);
        worker.reply();
    }
    drop((worker, client));
    migration.finish();
}
