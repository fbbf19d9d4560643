//! Clocks that are wrong, and clocks that are set: the servers' own, and crossfade's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::Value;
use support::{Clock, Crossfade, Launch, Migration, Rng, Server, Workload, assert_equal, fill};

const HOUR: i64 = 3600;

/// Keys that end in every way in which one can say so, at times that are far from now.
const ENDING: [&str; 8] = [
    "SET ending:relative 1 PX 86400000",
    "SET ending:absolute 1 PXAT 4102444800123",
    "SET ending:short 1 PX 1500",
    "RPUSH ending:list a b",
    "EXPIRE ending:list 100000",
    "HSET ending:hash a 1",
    "EXPIREAT ending:hash 4102444800",
    "SET ending:kept 1 EX 50000",
];

fn say(migration: &Migration, lines: &[&str]) {
    migration.client().pipeline(lines.iter().copied());
}

fn hammer(crossfade: &Crossfade, rng: &mut Rng, commands: u64) {
    let workload = Workload::start(&crossfade.address(), rng, 3);
    workload.run_for(commands);
    workload.stop();
}

/// Nothing that is counted or told has anything to do with the hour.
fn is_sane(status: &Value) {
    let seconds = |value: &Value| value.as_f64().unwrap();
    for time in [&status["mirror"]["lag_seconds"], &status["uptime_seconds"]] {
        assert!((0.0..600.0).contains(&seconds(time)), "{status:#}");
    }
    assert_ne!(status["verify"]["state"], "stale", "{status:#}");
}

#[test]
fn expiries_are_right_on_a_target_whose_clock_is_an_hour_off() {
    for ahead in [HOUR, -HOUR] {
        let mut rng = Rng::arbitrary();
        let clock = Clock::ahead(ahead);
        let source = Server::source();
        fill(&mut source.client(), &mut rng, 300);
        source.client().pipeline(ENDING);
        let state = source.directory().join("crossfade-state");
        let migration = Migration::with(source, clock.server(), |launch| launch.state_dir(&state));
        say(&migration, &["DEL ending:list", "GETEX ending:kept EX 60000", ENDING[3], ENDING[4]]);
        hammer(&migration.crossfade, &mut rng, 1_500);
        migration.assert_equal();
        let left = |server: &Server| server.ok("PTTL ending:relative").integer();
        assert!(left(&migration.source).abs_diff(left(&migration.target)) < 10_000);
        migration.crossfade.cut_over();
        say(&migration, &ENDING);
        hammer(&migration.crossfade, &mut rng, 1_500);
        migration.assert_equal();
        assert_eq!(migration.crossfade.verify()["state"], "clean");
        migration.crossfade.roll_back();
        hammer(&migration.crossfade, &mut rng, 500);
        migration.assert_equal();
    }
}

#[test]
fn a_step_of_the_clock_of_crossfade_itself_changes_nothing() {
    let mut rng = Rng::arbitrary();
    let clock = Clock::ahead(0);
    let (source, target) = (Server::source(), Server::target());
    source.client().pipeline(ENDING);
    let state = source.directory().join("crossfade-state");
    let crossfade = clock.launch(Launch::between(&source, &target).state_dir(&state)).start();
    crossfade.wait_converged();
    for ahead in [HOUR, -HOUR] {
        let workload = Workload::start(&crossfade.address(), &mut rng, 3);
        workload.run_for(300);
        clock.set(ahead);
        for _ in 0..5 {
            workload.run_for(100);
            is_sane(&crossfade.status());
        }
        workload.stop();
        crossfade.wait_converged();
        assert_equal(&source, &target);
        let verified = crossfade.verify();
        assert_eq!(verified["state"], "clean");
        let finished = verified["finished_at"].as_f64().unwrap();
        let expected = support::now() as f64 / 1000.0 + ahead as f64;
        assert!((finished - expected).abs() < 60.0, "{finished} by a clock that says {expected}");
    }
    // Older than a verify may be, if one believed the clock.
    clock.set(50 * HOUR);
    is_sane(&crossfade.status());
    let flipped = crossfade.admin().cutover(5_000, false);
    assert_eq!(flipped.code, 200, "{}", flipped.text);
    hammer(&crossfade, &mut rng, 500);
    clock.set(-50 * HOUR);
    crossfade.wait_converged();
    assert_equal(&source, &target);
    crossfade.roll_back();
    crossfade.finish();
}

/// Waits until crossfade has seen so many steps, and has done what follows from them.
fn wait_steps(crossfade: &Crossfade, steps: usize) {
    crossfade.wait_status("the step is seen, and everything is copied", |status| {
        let seen = crossfade.log().lines();
        seen.iter().filter(|line| line.contains("clock was set")).count() == steps
            && status["backfill"]["cause"] == "clock"
            && status["backfill"]["state"] == "done"
    });
}

#[test]
fn a_step_of_a_server_s_clock_is_seen_and_expiries_are_right_again() {
    let mut rng = Rng::arbitrary();
    let (here, there) = (Clock::ahead(0), Clock::ahead(0));
    let source = here.server();
    fill(&mut source.client(), &mut rng, 300);
    source.client().pipeline(ENDING);
    let state = source.directory().join("crossfade-state");
    let migration = Migration::with(source, there.server(), |launch| {
        launch.state_dir(&state).expect_log("clock was set")
    });
    let crossfade = &migration.crossfade;
    crossfade.wait_converged();
    for (steps, (clock, ahead)) in (1..).zip([(&here, HOUR), (&there, -HOUR)]) {
        let workload = Workload::start(&crossfade.address(), &mut rng, 3);
        workload.run_for(300);
        clock.set(ahead);
        workload.run_for(300);
        wait_steps(crossfade, steps);
        workload.stop();
        migration.assert_equal();
    }
    crossfade.cut_over();
    here.set(0);
    wait_steps(crossfade, 3);
    say(&migration, &ENDING);
    migration.assert_equal();
    assert_eq!(crossfade.verify()["state"], "clean");
    crossfade.roll_back();
    migration.finish();
}
