//! Deployments whose primary is replaced by sentinels: on either side, in each phase, under load.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../matrix/load.rs"]
mod load;
mod scene;
mod signpost;
#[path = "../support/mod.rs"]
mod support;

use scene::{Failover, Phase, Scene};
use support::{Deployment, Launch, Rng, Server, assert_equal, run_cli};

/// A source and a target whose primaries are replaced, one after the other.
fn failovers_in(phase: Phase) {
    let mut rng = Rng::arbitrary();
    let mut scene = Scene::in_phase(phase, &mut rng);
    for failover in [Failover::Asked, Failover::Killed] {
        for of_the_primary in [true, false] {
            eprintln!("{phase:?}: {failover:?}, primary: {of_the_primary}");
            scene.strike(failover, of_the_primary, &mut rng);
        }
    }
    scene.finish();
}

#[test]
fn failovers_while_backfilling() {
    failovers_in(Phase::Backfilling);
}

#[test]
fn failovers_while_mirroring() {
    failovers_in(Phase::Mirroring);
}

#[test]
fn failovers_after_the_cutover() {
    failovers_in(Phase::CutOver);
}

#[test]
fn failovers_after_a_rollback() {
    failovers_in(Phase::RolledBack);
}

#[test]
fn a_primary_that_hangs_is_left_when_the_sentinels_have_left_it() {
    let mut rng = Rng::arbitrary();
    let mut scene = Scene::in_phase(Phase::Mirroring, &mut rng);
    for of_the_primary in [true, false] {
        scene.strike(Failover::Frozen, of_the_primary, &mut rng);
    }
    scene.finish();
}

#[test]
fn a_failover_in_the_middle_of_a_flip_ends_on_one_side_or_the_other() {
    let mut rng = Rng::arbitrary();
    let mut scene = Scene::in_phase(Phase::Mirroring, &mut rng);
    for of_the_primary in [true, false] {
        scene.flip_while_failing_over(of_the_primary, &mut rng);
    }
    scene.finish();
}

#[test]
fn cut_over_rolled_back_and_cut_over_with_failovers_between() {
    let mut rng = Rng::arbitrary();
    let mut scene = Scene::in_phase(Phase::Mirroring, &mut rng);
    for _ in 0..3 {
        scene.flip();
        scene.strike(Failover::Asked, true, &mut rng);
    }
    scene.finish();
}

#[test]
fn every_command_takes_sentinels_with_passwords_of_their_own() {
    let guarded = ["--requirepass", "of-servers", "--masterauth", "of-servers"];
    let source = Deployment::start_with("m", &guarded, Some("of-sentinels"));
    let target = Server::target();
    source.primary().ok("SET k v");
    let arguments = ["--source", &source.url(), "--target", &target.url()];
    let password = ("CROSSFADE_SOURCE_SENTINEL_PASSWORD", "of-sentinels");
    let run = |command: &str| {
        support::run_cli_with(&[&[command], arguments.as_slice()].concat(), &[password])
    };
    let refused = run_cli(&[&["check"], arguments.as_slice()].concat());
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("NOAUTH"), "{refused:?}");
    let ready = run("check");
    assert_eq!(ready.code, 0, "{ready:?}");
    let agreed = "3 sentinels agree, 1 of its servers could take over";
    assert!(ready.stdout.contains(agreed), "{ready:?}");
    assert_eq!(run("copy").code, 0);
    assert_equal(source.primary(), &target);
    assert_eq!(run("compare").code, 0);
    target.ok("FLUSHALL");
    let crossfade = Launch::urls(&source.url(), &target.url()).variable(password.0, password.1);
    let crossfade = crossfade.start();
    crossfade.wait_phase("mirroring");
    let mut client = crossfade.client();
    client.ok("AUTH of-servers");
    client.ok("SET l w");
    crossfade.wait_converged();
    assert_equal(source.primary(), &target);
    crossfade.finish();
}

#[test]
fn a_name_that_no_sentinel_knows_is_answered_with_those_that_they_know() {
    let source = Deployment::start("orders");
    let url = source.url().replace("/orders", "/order");
    let failed = run_cli(&["check", "--source", &url, "--target", "redis://127.0.0.1:1"]);
    assert_eq!(failed.code, 3, "{failed:?}");
    assert_eq!(failed.stderr.lines().count(), 1, "{failed:?}");
    assert!(failed.stderr.contains("it knows no primary 'order', but: orders"), "{failed:?}");
}

#[test]
fn sentinels_that_none_answers_are_named_each_with_the_reason() {
    let url = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/m";
    let failed = run_cli(&["check", "--source", url, "--target", "redis://127.0.0.1:1"]);
    assert_eq!(failed.code, 3, "{failed:?}");
    assert_eq!(failed.stderr.lines().count(), 1, "{failed:?}");
    for one in ["source m of the sentinels", "127.0.0.1:1: ", "127.0.0.1:2: ", "refused"] {
        assert!(failed.stderr.contains(one), "{one}: {failed:?}");
    }
}

#[test]
fn a_sentinel_that_dies_is_not_missed() {
    let mut source = Deployment::start("m");
    let target = Server::target();
    source.kill_sentinel(2);
    let crossfade = Launch::urls(&source.url(), &target.url()).start();
    crossfade.wait_phase("mirroring");
    source.fail_over();
    let address = source.primary().address();
    let status = crossfade
        .wait_status("the new primary serves", |status| status["source"]["address"] == address);
    assert_eq!(status["source"]["kind"], "sentinel");
    assert_eq!(status["target"]["kind"], "standalone");
    let node = &status["source"]["nodes"][0];
    assert_eq!((&node["role"], &node["address"]), (&"primary".into(), &address.into()));
    let follower = source.replica().address();
    crossfade.wait_status("the old one is told of as its replica", |status| {
        let node = &status["source"]["nodes"][1];
        node["role"] == "replica" && node["address"] == follower && node["connected"] == true
    });
    crossfade.client().ok("SET k v");
    crossfade.wait_converged();
    assert_equal(source.primary(), &target);
}
