//! Big values that are written without a pause: copied while that goes on, and in no flip's way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use support::{Migration, Resp, Rng, Scene, Server, Temper, assert_equal};

/// Elements of each big value: some MiB.
const ELEMENTS: usize = 60_000;

/// A source with one big value of each type that is followed, the list and the string with an end.
fn big_values() -> Server {
    let source = Server::source();
    let mut client = source.client();
    client.ok(format!("SETRANGE big:string {} x", 3_000_000));
    for start in (0..ELEMENTS).step_by(500) {
        let join = |item: fn(usize) -> String| {
            (start..start + 500).map(item).collect::<Vec<_>>().join(" ")
        };
        client.ok(format!("RPUSH big:list {}", join(|n| format!("element-{n}"))));
        client.ok(format!("SADD big:set {}", join(|n| format!("member-{n}"))));
        client.ok(format!("HSET big:hash {}", join(|n| format!("f{n} value-{n}"))));
        client.ok(format!("ZADD big:zset {}", join(|n| format!("{n} member-{n}"))));
    }
    client.ok("EXPIRE big:list 3600");
    client.ok("EXPIRE big:string 3600");
    source
}

fn any_write(rng: &mut Rng) -> String {
    let n = rng.below(ELEMENTS as u64);
    match rng.below(17) {
        0 => format!("LPUSH big:list a{n} b{n}"),
        1 => format!("RPUSH big:list c{n}"),
        2 => "LPOP big:list 2".to_owned(),
        3 => "RPOP big:list".to_owned(),
        4 => format!("LSET big:list {} d{n}", n / 2),
        5 => "LTRIM big:list 1 -2".to_owned(),
        6 => format!("APPEND big:string e{n}"),
        7 => format!("SETRANGE big:string {} f{n}", n * 50),
        8 => format!("SETBIT big:string {} 1", n * 400),
        9 => format!("SADD big:set g{n}"),
        10 => "SPOP big:set".to_owned(),
        11 => format!("HSET big:hash f{n} h{n}"),
        12 => format!("ZADD big:zset {n} member-{n}"),
        13 => format!("PEXPIRE big:hash {}", 3_600_000 + n),
        14 => "PERSIST big:hash".to_owned(),
        15 => format!("PEXPIRE big:list {}", 3_600_000 + n),
        _ => format!("SET small:{} {n}", n % 100),
    }
}

/// A client that writes until it is told to stop.
fn write<'scope>(
    scope: &'scope Scope<'scope, '_>,
    mut client: Resp,
    mut rng: Rng,
    over: &'scope AtomicBool,
) -> ScopedJoinHandle<'scope, ()> {
    scope.spawn(move || {
        while !over.load(Ordering::Relaxed) {
            client.ok(any_write(&mut rng));
            std::thread::sleep(Duration::from_micros(300));
        }
    })
}

#[test]
fn big_values_are_copied_and_flips_succeed_while_they_are_written_without_a_pause() {
    let mut rng = Rng::seeded(Rng::arbitrary().number());
    let migration = Migration::lasting_of(big_values());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> =
            (0..3).map(|_| write(scope, migration.client(), rng.fork(), &over)).collect();
        migration.crossfade.wait_phase("mirroring");
        migration.crossfade.wait_status("the copies have caught up with the writes", |status| {
            status["mirror"]["dirty_keys"] == 0
        });
        let cutover = migration.crossfade.admin().cutover(5_000, true);
        assert_eq!(cutover.code, 200, "{}", cutover.text);
        let rollback = migration.crossfade.admin().rollback(5_000);
        assert_eq!(rollback.code, 200, "{}", rollback.text);
        over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
    });
    migration.finish();
}

#[test]
fn a_big_list_that_a_script_writes_is_copied_when_it_is_left_alone() {
    let migration = Migration::lasting_of(big_values());
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    for n in 0..50 {
        client.ok(format!("EVAL return(redis.call('LPUSH',KEYS[1],ARGV[1])) 1 big:list {n}"));
        std::thread::sleep(Duration::from_millis(10));
    }
    migration.finish();
}

#[test]
fn flips_succeed_over_a_slow_network_while_clients_write() {
    let mut rng = Rng::seeded(Rng::arbitrary().number());
    let delay = Duration::from_millis(30);
    for temper in [Temper::Slow(delay), Temper::Uneven(delay)] {
        let scene = Scene::new(big_values());
        let crossfade = scene.launch().start();
        crossfade.wait_phase("mirroring");
        let ways = [&scene.before_source, &scene.before_target];
        for way in ways {
            way.set(temper);
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> =
                (0..3).map(|_| write(scope, crossfade.client(), rng.fork(), &over)).collect();
            for _ in 0..3 {
                for flip in
                    [crossfade.admin().cutover(5_000, true), crossfade.admin().rollback(5_000)]
                {
                    assert_eq!(flip.code, 200, "{temper:?}: {}", flip.text);
                }
            }
            over.store(true, Ordering::Relaxed);
            for writer in writers {
                writer.join().unwrap();
            }
        });
        for way in ways {
            way.set(Temper::Calm);
        }
        crossfade.wait_settled();
        assert_equal(&scene.source, &scene.target);
        crossfade.finish();
    }
}
