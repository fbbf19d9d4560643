//! Commands that wait for data: what is answered, what is not, and when.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;
use support::{Migration, Server, wait_until};

/// Long enough to see that something does not happen.
const SILENCE: Duration = Duration::from_millis(300);

#[test]
fn a_client_that_wants_no_replies_waits_for_its_job_and_takes_it() {
    let migration = Migration::start();
    let mut other = migration.client();
    for silence in ["CLIENT REPLY OFF", "CLIENT REPLY SKIP"] {
        let mut silent = migration.client();
        for line in [silence, "BLPOP queue 0", "INCR after"] {
            silent.send(line);
        }
        std::thread::sleep(SILENCE);
        assert_eq!(other.ok("EXISTS after").integer(), 0, "{silence}: it did not wait");
        other.ok("RPUSH queue job");
        wait_until("what it sent behind is done", || other.ok("EXISTS after").integer() == 1);
        assert_eq!(other.ok("LLEN queue").integer(), 0, "{silence}: the job was not taken");
        if silence == "CLIENT REPLY OFF" {
            silent.send("CLIENT REPLY ON");
            assert_eq!(silent.reply().text(), "OK", "the first word since");
        } else {
            assert_eq!(silent.reply().integer(), 1, "the first word since");
        }
        other.ok("DEL after");
    }
    drop(other);
    migration.finish();
}

/// A migration that answers when both have it, or after a long time.
fn patient() -> Migration {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--ack", "both").option("--ack-timeout", "20s")
    });
    migration.crossfade.wait_phase("mirroring");
    migration
}

#[test]
fn who_waited_is_answered_when_both_have_what_it_took() {
    let migration = patient();
    let mut other = migration.client();
    other.ok("XGROUP CREATE stream g $ MKSTREAM");
    for (waits, wakes, (asks, holds)) in [
        ("BLPOP queue 0", "RPUSH queue job rest", ("LRANGE queue 0 -1", "rest")),
        ("BLMOVE from to LEFT LEFT 0", "RPUSH from job", ("LRANGE to 0 -1", "job")),
        ("BZPOPMIN zset 0", "ZADD zset 1 a 2 b", ("ZRANGE zset 0 -1", "b")),
        (
            "XREADGROUP GROUP g c BLOCK 0 STREAMS stream >",
            "XADD stream 1-1 a b",
            ("XPENDING stream g", "1-1"),
        ),
    ] {
        let mut worker = migration.client();
        worker.send(waits);
        assert_eq!(worker.reply_within(SILENCE), None, "{waits}");
        migration.target.freeze();
        other.send(wakes);
        assert_eq!(worker.reply_within(SILENCE), None, "{waits}: the target does not have it");
        migration.target.thaw();
        assert!(!worker.reply().is_error(), "{waits}");
        let there = format!("{:?}", migration.target.ok(asks));
        let expected = format!("{:?}", support::Value::Bulk(holds.as_bytes().to_vec()));
        assert!(there.contains(&expected), "{waits}: the target holds {there}");
        other.reply();
    }
    drop(other);
    migration.finish();
}

#[test]
fn a_script_is_answered_when_both_have_what_it_wrote_undeclared() {
    let migration = patient();
    let (mut client, mut target) = (migration.client(), migration.target.client());
    for n in 0..50 {
        client.ok([
            "EVAL",
            "return redis.call('SET', 'undeclared:' .. ARGV[1], ARGV[1])",
            "0",
            &n.to_string(),
        ]);
        assert_eq!(target.ok(format!("GET undeclared:{n}")).text(), n.to_string());
    }
    drop((client, target));
    migration.finish();
}
