//! Two deployments under sentinels, crossfade between them, and the way into each phase.

use std::time::{Duration, Instant};

use crate::load::Load;
use crate::support::{Crossfade, Deployment, Launch, Rng, assert_equal, fill};

/// Keys that the source holds at the start.
const KEYS: usize = 1_500;

/// When the failover happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Backfilling,
    Mirroring,
    CutOver,
    RolledBack,
}

/// What makes the sentinels replace a primary.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failover {
    Asked,
    Killed,
    Frozen,
}

/// Everything that a test needs. Dropped in this order: first the proxy.
pub(crate) struct Scene {
    crossfade: Crossfade,
    source: Deployment,
    target: Deployment,
    /// Whether the target serves.
    flipped: bool,
    _state: tempfile::TempDir,
}

impl Scene {
    /// A migration on its way into the phase.
    pub(crate) fn in_phase(phase: Phase, rng: &mut Rng) -> Self {
        let (source, target) = (Deployment::start("old"), Deployment::start("new"));
        fill(&mut source.primary().client(), rng, 100);
        source.primary().client().pipeline((0..KEYS).map(|n| format!("SET plain:{n} {n}")));
        let state = tempfile::tempdir().unwrap();
        let mut launch = Launch::urls(&source.url(), &target.url())
            .state_dir(&state.path().join("state"))
            .option("--source-timeout", "10");
        if phase == Phase::Backfilling {
            launch = launch.option("--backfill-rate", "300");
        }
        let crossfade = launch.start();
        let mut scene = Self { crossfade, source, target, flipped: false, _state: state };
        match phase {
            Phase::Backfilling => {}
            Phase::Mirroring => scene.crossfade.wait_phase("mirroring"),
            Phase::CutOver => scene.flip(),
            Phase::RolledBack => {
                scene.flip();
                scene.flip();
            }
        }
        scene
    }

    /// Has the other side serve.
    pub(crate) fn flip(&mut self) {
        self.crossfade.wait_converged();
        if self.flipped {
            self.crossfade.roll_back();
        } else {
            self.crossfade.cut_over();
        }
        self.flipped = !self.flipped;
    }

    /// Has a primary replaced under load: nothing is lost but what the servers lost themselves, and
    /// both sides hold the same in the end.
    pub(crate) fn strike(&mut self, failover: Failover, of_the_primary: bool, rng: &mut Rng) {
        let load = self.load(rng);
        let since = Instant::now();
        let side = self.side(of_the_primary);
        match failover {
            Failover::Asked => side.fail_over(),
            Failover::Killed => drop(side.kill_primary()),
            Failover::Frozen => side.freeze_primary(),
        }
        self.wait_followed();
        load.run_for(200);
        self.settle(load, since, of_the_primary);
    }

    /// The same in the middle of a flip, whichever way that ends.
    pub(crate) fn flip_while_failing_over(&mut self, of_the_primary: bool, rng: &mut Rng) {
        self.crossfade.wait_converged();
        self.crossfade.verify();
        let load = self.load(rng);
        let since = Instant::now();
        let (admin, back) = (self.crossfade.admin().clone(), self.flipped);
        let asking = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            if back { admin.rollback(5_000) } else { admin.cutover(5_000, false) }
        });
        self.side(of_the_primary).fail_over();
        let answer = asking.join().unwrap();
        assert!([200, 409, 504].contains(&answer.code), "{}: {}", answer.code, answer.text);
        eprintln!("the flip ended with {}", answer.code);
        self.flipped ^= answer.code == 200;
        self.wait_followed();
        load.run_for(200);
        self.settle(load, since, true);
    }

    /// Clients with new journals.
    fn load(&self, rng: &mut Rng) -> Load {
        self.crossfade.client().ok("DEL journal:0 journal:1 journal:2");
        let load = Load::start(&self.crossfade.address(), rng);
        load.run_for(100);
        load
    }

    /// Until then the old primary may take writes, which its servers lose.
    fn wait_followed(&self) {
        let (source, target) = (self.source.primary().address(), self.target.primary().address());
        self.crossfade.wait_status("it has gone where the sentinels say", |status| {
            status["source"]["address"] == source && status["target"]["address"] == target
        });
    }

    fn settle(&mut self, load: Load, since: Instant, may_lose: bool) {
        let record = load.stop();
        if !may_lose {
            record.assert_no_harm();
        }
        assert_eq!(self.crossfade.admin().backfill(false, None).code, 200);
        let phase = if self.flipped { "cut_over" } else { "mirroring" };
        self.crossfade.wait_status("everything is copied", |status| {
            status["phase"] == phase && status["backfill"]["state"] == "done"
        });
        self.crossfade.wait_converged();
        assert_equal(self.source.primary(), self.target.primary());
        // What the old primary acknowledged and the new one had not heard of is lost with it.
        let lost = (since.checked_sub(Duration::from_secs(1)).unwrap(), Instant::now());
        record.assert_kept(self.side(true).primary(), may_lose.then_some(lost));
        let verified = self.crossfade.verify();
        assert_eq!(verified["state"], "clean", "{verified:#}");
        assert!(!self.crossfade.log().contains("panicked"), "a task panicked");
        for side in [&self.source, &self.target] {
            side.wait_ready();
        }
    }

    fn side(&mut self, of_the_primary: bool) -> &mut Deployment {
        if self.flipped == of_the_primary { &mut self.target } else { &mut self.source }
    }

    /// One comparison more.
    pub(crate) fn finish(self) {
        self.crossfade.wait_converged();
        assert_equal(self.source.primary(), self.target.primary());
    }
}
