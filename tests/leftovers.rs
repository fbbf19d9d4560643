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

use std::path::PathBuf;
use std::time::Duration;
use support::{Crossfade, Launch, Resp, Server, Tamer, Temper, assert_equal, run_cli, wait_until};

/// What keys are called under which values are built.
const HALVES: &str = "crossfade:tmp:*";

/// Two servers, each behind a proxy that can make a copy take long, and state that outlives processes.
struct Scene {
    source: Server,
    target: Server,
    before_source: Tamer,
    before_target: Tamer,
    state: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let (source, target) = (Server::source(), Server::target());
        let (before_source, before_target) =
            (Tamer::before(&source.address()), Tamer::before(&target.address()));
        let state = source.directory().join("crossfade-state");
        Self { source, target, before_source, before_target, state }
    }

    fn launch(&self) -> Launch {
        Launch::urls(&self.before_source.url(), &self.before_target.url())
    }

    fn start(&self) -> Crossfade {
        self.launch().state_dir(&self.state).start()
    }

    /// Kills crossfade while it copies a big value, so that half of it stays on the follower.
    fn kill_in_the_middle(&self, crossfade: Crossfade, follower: &Server, before: &Tamer) {
        wait_until("half a value is there", || halves(follower) > 0);
        crossfade.kill();
        for tamer in [&self.before_source, &self.before_target] {
            tamer.cut();
        }
        before.set(Temper::Calm);
        assert_eq!(halves(follower), 1, "this is what it is about");
    }

    fn is_mended(&self, crossfade: &Crossfade) {
        crossfade.wait_status("every pass is done", |status| status["backfill"]["state"] == "done");
        crossfade.wait_converged();
        assert_eq!((halves(&self.source), halves(&self.target)), (0, 0));
        assert_equal(&self.source, &self.target);
        crossfade
            .wait_status("nothing is in doubt any more", |status| status["record"]["groups"] == 0);
    }
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
    let scene = Scene::new();
    push_big(&mut scene.source.client(), "big");
    scene.before_target.set(SLOW);
    let crossfade = scene.start();
    scene.kill_in_the_middle(crossfade, &scene.target, &scene.before_target);
    let crossfade = scene.start();
    scene.is_mended(&crossfade);

    scene.before_target.set(SLOW);
    // Its result can't be told in commands, so it is copied.
    crossfade.client().ok("SORT big BY nosort STORE sorted");
    scene.kill_in_the_middle(crossfade, &scene.target, &scene.before_target);
    let crossfade = scene.start();
    assert_eq!(crossfade.phase(), "mirroring", "only what may differ is copied again");
    scene.is_mended(&crossfade);

    crossfade.cut_over();
    scene.before_source.set(SLOW);
    crossfade.client().ok("SORT big BY nosort STORE sorted");
    scene.kill_in_the_middle(crossfade, &scene.source, &scene.before_source);
    let crossfade = scene.start();
    assert_eq!(crossfade.phase(), "cut_over");
    scene.is_mended(&crossfade);
    crossfade.finish();
}

#[test]
fn half_a_value_is_gone_after_a_start_without_state_that_takes_the_target_as_it_is() {
    let scene = Scene::new();
    push_big(&mut scene.source.client(), "big");
    scene.target.ok("SET theirs 1");
    let start = || scene.launch().option("--target-policy", "overwrite").start();
    scene.before_target.set(SLOW);
    scene.kill_in_the_middle(start(), &scene.target, &scene.before_target);
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
