//! Half a value that a killed process has left on the secondary: gone after the next start, and never
//! taken for anybody's data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;
use support::{Crossfade, Launch, Resp, Scene, Server, Temper, assert_equal, run_cli, wait_until};

/// What keys are called under which values are built.
const HALVES: &str = "crossfade:tmp:*";

fn scene() -> Scene {
    Scene::new(Server::source())
}

/// Kills crossfade while it copies a big value, so that half of it stays on the follower.
fn kill_in_the_middle(scene: &Scene, crossfade: Crossfade, follower: &Server) {
    wait_until("half a value is there", || halves(follower) > 0);
    scene.kill(crossfade);
    assert_eq!(halves(follower), 1, "this is what it is about");
}

fn is_mended(scene: &Scene, crossfade: &Crossfade) {
    crossfade.wait_status("every pass is done", |status| status["backfill"]["state"] == "done");
    crossfade.wait_converged();
    assert_eq!((halves(&scene.source), halves(&scene.target)), (0, 0));
    assert_equal(&scene.source, &scene.target);
    crossfade.wait_settled();
}

fn halves(server: &Server) -> usize {
    server.ok(["KEYS", HALVES]).elements().len()
}

/// A list that takes many chunks, and none of them long.
fn push_big(client: &mut Resp, key: &str) {
    let element = "x".repeat(1_000);
    let line = format!("RPUSH {key}{}", format!(" {element}").repeat(100));
    client.pipeline((0..200).map(|_| line.clone()));
}

const SLOW: Temper = Temper::Slow(Duration::from_millis(40));

#[test]
fn half_a_value_is_gone_after_a_restart_in_every_phase() {
    let scene = scene();
    push_big(&mut scene.source.client(), "big");
    scene.before_target.set(SLOW);
    let crossfade = scene.launch().start();
    kill_in_the_middle(&scene, crossfade, &scene.target);
    let crossfade = scene.launch().start();
    is_mended(&scene, &crossfade);

    scene.before_target.set(SLOW);
    // Its result can't be told in commands, so it is copied.
    crossfade.client().ok("SORT big BY nosort STORE sorted");
    kill_in_the_middle(&scene, crossfade, &scene.target);
    let crossfade = scene.launch().start();
    assert_eq!(crossfade.phase(), "mirroring", "only what may differ is copied again");
    is_mended(&scene, &crossfade);

    crossfade.cut_over();
    scene.before_source.set(SLOW);
    crossfade.client().ok("SORT big BY nosort STORE sorted");
    kill_in_the_middle(&scene, crossfade, &scene.source);
    let crossfade = scene.launch().start();
    assert_eq!(crossfade.phase(), "cut_over");
    is_mended(&scene, &crossfade);
    crossfade.finish();
}

#[test]
fn half_a_value_is_gone_after_a_start_without_state_that_takes_the_target_as_it_is() {
    let scene = scene();
    push_big(&mut scene.source.client(), "big");
    scene.target.ok("SET theirs 1");
    let start = || scene.launch_without_state().option("--target-policy", "overwrite").start();
    scene.before_target.set(SLOW);
    kill_in_the_middle(&scene, start(), &scene.target);
    let crossfade = start();
    crossfade.wait_converged();
    assert_eq!(halves(&scene.target), 0);
    assert_eq!(scene.target.ok("GET theirs").integer(), 1, "it is nobody's to remove");
    scene.target.ok("DEL theirs");
    assert_equal(&scene.source, &scene.target);
    crossfade.finish();
}

#[test]
fn half_a_value_is_no_difference_and_goes_with_the_next_copy() {
    let (source, target) = (Server::source(), Server::target());
    source.ok("SET a 1");
    let crossfade = Launch::between(&source, &target).start();
    crossfade.wait_converged();
    target.ok("RPUSH crossfade:tmp:0123456789abcdef half of it");
    let verified = crossfade.verify();
    assert_eq!((&verified["state"], &verified["extra"]), (&"clean".into(), &0.into()));
    crossfade.finish();
    let servers = ["--source", &source.url(), "--target", &target.url()];
    let compared = run_cli(&[["compare"].as_slice(), &servers].concat());
    assert_eq!(compared.code, 0, "{compared:?}");
    let policy = ["--target-policy", "overwrite"];
    let copied = run_cli(&[["copy"].as_slice(), &servers, &policy].concat());
    assert_eq!(copied.code, 0, "{copied:?}");
    assert_eq!(halves(&target), 0);
    assert_equal(&source, &target);
}
