//! The write-intent record: after a crash only what may differ is copied again, in both directions,
//! and a record that can't be believed means everything.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::PathBuf;
use support::{
    Crossfade, Scene, Server, Tamer, Temper, assert_equal, source_with_keys, wait_until,
};

const KEYS: usize = 30_000;

fn recorded(crossfade: &Crossfade) -> u64 {
    crossfade.status()["record"]["groups"].as_u64().unwrap()
}

fn copied(crossfade: &Crossfade) -> u64 {
    let backfill = &crossfade.status()["backfill"];
    backfill["copied"].as_u64().unwrap() + backfill["recopied"].as_u64().unwrap()
}

/// Changes, creates and deletes a few keys, and sees to it that the secondary does not get it.
fn write_in_vain(crossfade: &Crossfade, before_secondary: &Tamer) {
    before_secondary.set(Temper::Stuck);
    let mut client = crossfade.client();
    let (set, new) = (|n| format!("SET plain:{n} changed"), |n| format!("RPUSH new:{n} a b"));
    client.pipeline((0..10).map(set));
    client.pipeline((10..20).map(|n| format!("DEL plain:{n}")));
    client.pipeline((0..10).map(new));
    client.ok("SELECT 5");
    client.ok("SET elsewhere 1");
    assert!((1..=31).contains(&recorded(crossfade)), "{}", recorded(crossfade));
}

#[test]
fn after_a_crash_only_the_groups_in_doubt_are_copied_again_either_way() {
    let scene = Scene::new(source_with_keys(KEYS));
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    write_in_vain(&crossfade, &scene.before_target);
    scene.kill(crossfade);
    assert_eq!(scene.target.size(0), i64::try_from(KEYS).unwrap());

    let crossfade = scene.launch().start();
    assert_eq!(crossfade.phase(), "mirroring", "not everything is copied again");
    crossfade.wait_settled();
    assert!(crossfade.log().contains("groups of keys in doubt are copied again"));
    assert!((1..=500).contains(&copied(&crossfade)), "{} of {KEYS}", copied(&crossfade));
    assert_equal(&scene.source, &scene.target);

    crossfade.cut_over();
    crossfade.wait_settled();
    let mut client = crossfade.client();
    client.pipeline((10..20).map(|n| format!("SET plain:{n} again")));
    drop(client);
    crossfade.wait_settled();
    write_in_vain(&crossfade, &scene.before_source);
    scene.kill(crossfade);
    let crossfade = scene.launch().start();
    assert_eq!(crossfade.phase(), "cut_over");
    crossfade.wait_settled();
    assert!((1..=500).contains(&copied(&crossfade)), "{} of {KEYS}", copied(&crossfade));
    assert_equal(&scene.source, &scene.target);
    crossfade.finish();
}

#[test]
fn lag_is_told_until_what_a_crash_left_in_doubt_is_copied() {
    let scene = Scene::new(source_with_keys(2_000));
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    write_in_vain(&crossfade, &scene.before_target);
    scene.kill(crossfade);
    let crossfade = scene.launch().option("--backfill-rate", "1").start();
    let mirror = crossfade.status()["mirror"].clone();
    assert!(mirror["lag_seconds"].as_f64().unwrap() > 0.0, "{mirror:#}");
    assert!(mirror["dirty_keys"].as_u64().unwrap() > 0, "{mirror:#}");
    assert_eq!(crossfade.admin().cutover(1_000, true).code, 409, "keys are in doubt");
    crossfade.admin().backfill(false, None);
    crossfade.wait_settled();
    assert_equal(&scene.source, &scene.target);
}

#[test]
fn a_refusal_says_how_many_keys_are_left_to_be_copied() {
    let scene = Scene::new(source_with_keys(2_000));
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    crossfade.cut_over();
    scene.before_source.set(Temper::Stuck);
    crossfade.client().ok("EVAL return(redis.call('SET','hidden','1')) 0");
    scene.kill(crossfade);
    let crossfade = scene.launch().option("--backfill-rate", "100").start();
    let admin = crossfade.admin();
    let verify = || admin.post("/v1/verify", &serde_json::json!({}));
    wait_until("it is under way", || verify().text.contains("keys are left"));
    for refused in [verify(), admin.rollback(1_000)] {
        assert_eq!(refused.code, 409, "{}", refused.text);
        assert!(refused.text.contains("keys are left"), "{}", refused.text);
    }
    admin.backfill(false, None);
    crossfade.wait_settled();
    assert_equal(&scene.source, &scene.target);
}

#[test]
fn what_reaches_beyond_keys_leaves_everything_in_doubt_until_it_has_arrived() {
    let scene = Scene::new(source_with_keys(300));
    for write in ["FLUSHDB", "SWAPDB 0 3", "EVAL return(redis.call('SET','hidden','1')) 0"] {
        scene.source.ok("FLUSHALL");
        scene.target.ok("FLUSHALL");
        scene.source.client().pipeline((0..300).map(|n| format!("SET plain:{n} {n}")));
        let crossfade = scene.launch().option("--target-policy", "overwrite").start();
        crossfade.wait_settled();
        crossfade.client().ok("SCRIPT LOAD return(1)");
        crossfade.wait_settled();
        scene.before_target.set(Temper::Stuck);
        crossfade.client().ok(write);
        assert_eq!(recorded(&crossfade), 65_536, "{write}");
        scene.before_target.set(Temper::Calm);
        crossfade.wait_settled();
        assert_equal(&scene.source, &scene.target);
        crossfade.finish();
        std::fs::remove_dir_all(&scene.state).unwrap();
    }
}

#[test]
fn an_element_that_is_waited_for_is_recorded_as_long_as_the_wait() {
    let scene = Scene::new(source_with_keys(300));
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    let mut waiting = crossfade.client();
    waiting.send("BLPOP queue 0");
    crossfade.wait_status("the wait is recorded", |status| status["record"]["groups"] == 1);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(recorded(&crossfade), 1, "as long as somebody waits");
    crossfade.client().ok("RPUSH queue a b");
    assert_eq!(waiting.reply().texts(), ["queue", "a"]);
    crossfade.wait_settled();
    assert_equal(&scene.source, &scene.target);
    crossfade.finish();
}

#[test]
fn a_record_that_is_missing_or_damaged_means_everything() {
    for damage in [
        (|record| std::fs::remove_file(record).unwrap()) as fn(&PathBuf),
        |record| std::fs::write(record, b"\0garbage\xff").unwrap(),
        |record| {
            let mut bytes = std::fs::read(record).unwrap();
            let last = bytes.len() - 3;
            bytes[last] ^= 1;
            std::fs::write(record, bytes).unwrap();
        },
    ] {
        let scene = Scene::new(source_with_keys(500));
        let crossfade = scene.launch().start();
        crossfade.wait_settled();
        scene.kill(crossfade);
        damage(&scene.state.join("record"));
        scene.source.ok("DEL plain:7");
        let crossfade = scene.launch().expect_log("everything is copied again").start();
        assert!(crossfade.status()["backfill"]["cause"].as_str().unwrap().contains("record"));
        crossfade.wait_settled();
        assert!(copied(&crossfade) >= 499);
        assert_equal(&scene.source, &scene.target);
        crossfade.finish();
    }
}

#[test]
fn a_server_that_was_restarted_meanwhile_is_copied_again() {
    let source = Server::durable_source();
    source.client().pipeline((0..500).map(|n| format!("SET plain:{n} {n}")));
    let mut scene = Scene::new(source);
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    scene.kill(crossfade);
    scene.target.restart_empty();
    let crossfade = scene.launch().expect_log("the target was restarted or replaced").start();
    crossfade.wait_settled();
    assert_equal(&scene.source, &scene.target);
    // While it runs, a secondary is replaced and copied again: the record holds for the new one.
    scene.target.restart_empty();
    crossfade.wait_status("the target is copied again", |status| {
        status["backfill"]["copied"].as_u64() >= Some(1_000)
    });
    crossfade.wait_settled();
    scene.kill(crossfade);
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    assert_eq!(copied(&crossfade), 0);
    assert_equal(&scene.source, &scene.target);
    crossfade.finish();
}

#[test]
fn a_disk_that_takes_no_more_stops_no_client_and_is_not_believed_later() {
    let scene = Scene::new(source_with_keys(500));
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    crossfade.verify();
    crossfade.limit("--fsize=0:unlimited");
    crossfade.client().ok("SET plain:1 changed");
    crossfade.client().ok("SET plain:2 changed");
    let status = crossfade.status();
    assert!(status["record"]["error"].is_string(), "{status:#}");
    let refused = crossfade.admin().cutover(1_000, false);
    assert_eq!(refused.code, 409);
    assert!(refused.text.contains("record can't be written"), "{}", refused.text);
    assert_ne!(crossfade.admin().cutover(1_000, true).code, 200, "the phase can't be kept either");
    assert!(crossfade.admin().get("/metrics").text.contains("crossfade_record_failing 1"));
    assert!(!scene.state.join("record").exists(), "nobody shall believe it");
    crossfade.wait_converged();
    scene.kill(crossfade);

    let mut crossfade =
        scene.launch().expect_log("everything is copied again").expect_log("can't be").start();
    crossfade.wait_settled();
    assert!(copied(&crossfade) >= 500);
    crossfade.limit("--fsize=0:unlimited");
    crossfade.client().ok("SET plain:1 more");
    assert!(crossfade.status()["record"]["error"].is_string());
    crossfade.limit("--fsize=unlimited:unlimited");
    crossfade.wait_status("a record is kept again", |status| status["record"]["error"].is_null());
    crossfade.wait_settled();
    crossfade.expect_log("stay where they are");
    crossfade.cut_over();
    crossfade.finish();
}
