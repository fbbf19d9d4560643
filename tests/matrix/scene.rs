//! Two servers behind tamers, crossfade between them, and the way into each phase.

use std::time::{Duration, Instant};

use crate::load::Load;
use crate::support::{Crossfade, Launch, Rng, Server, Tamer, Temper, fill};

/// Keys that the source holds at the start.
const KEYS: usize = 1_500;

/// When the fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Backfilling,
    Mirroring,
    CuttingOver,
    CutOver,
    RollingBack,
    RolledBack,
}

impl Phase {
    /// Whether the fault meets the hold of a flip.
    pub(crate) fn is_a_flip(self) -> bool {
        matches!(self, Self::CuttingOver | Self::RollingBack)
    }

    /// Whether the target serves when the fault begins.
    fn is_after_the_cutover(self) -> bool {
        matches!(self, Self::CutOver | Self::RollingBack)
    }
}

/// A server and the way to it.
pub(crate) struct Side {
    pub(crate) server: Server,
    pub(crate) tamer: Tamer,
}

impl Side {
    fn new(server: Server) -> Self {
        let tamer = Tamer::before(&server.address());
        Self { server, tamer }
    }
}

/// Everything that a cell of the matrix needs. Dropped in this order: first the proxy.
pub(crate) struct Scene {
    pub(crate) crossfade: Crossfade,
    pub(crate) source: Side,
    pub(crate) target: Side,
    /// Whether the target serves.
    pub(crate) flipped: bool,
    /// Between these moments a primary acknowledged what the next one does not know.
    pub(crate) lost: Option<(Instant, Instant)>,
    _state: tempfile::TempDir,
}

impl Scene {
    /// A migration on its way into the phase.
    pub(crate) fn in_phase(phase: Phase, rng: &mut Rng) -> Self {
        let (source, target) = (Server::durable_source(), Server::durable_target());
        fill(&mut source.client(), rng, 100);
        source.client().pipeline((0..KEYS).map(|n| format!("SET plain:{n} {n}")));
        let (source, target) = (Side::new(source), Side::new(target));
        let state = tempfile::tempdir().unwrap();
        let mut launch = Launch::urls(&source.tamer.url(), &target.tamer.url())
            .state_dir(&state.path().join("state"))
            .option("--source-timeout", "1");
        if phase == Phase::Backfilling {
            launch = launch.option("--backfill-rate", "500");
        }
        let crossfade = launch.start();
        let flipped = phase.is_after_the_cutover();
        let scene = Self { crossfade, source, target, flipped, lost: None, _state: state };
        scene.enter(phase);
        scene
    }

    fn enter(&self, phase: Phase) {
        match phase {
            Phase::Backfilling => {}
            Phase::Mirroring => self.crossfade.wait_phase("mirroring"),
            Phase::CuttingOver => {
                self.crossfade.wait_converged();
                self.verify();
            }
            Phase::CutOver | Phase::RollingBack => drop(self.crossfade.cut_over()),
            Phase::RolledBack => {
                self.crossfade.cut_over();
                self.crossfade.roll_back();
            }
        }
    }

    pub(crate) fn primary(&mut self) -> &mut Side {
        if self.flipped { &mut self.target } else { &mut self.source }
    }

    pub(crate) fn secondary(&mut self) -> &mut Side {
        if self.flipped { &mut self.source } else { &mut self.target }
    }

    /// Asks for the flip and does something in the middle of its hold, which the secondary's slowness
    /// makes long enough; true when the clients have moved.
    pub(crate) fn flip_and_meanwhile(&mut self, load: &Load, act: impl FnOnce(&mut Self)) -> bool {
        let (during, back) =
            if self.flipped { ("rolling_back", true) } else { ("cutting_over", false) };
        load.run_for(50);
        self.secondary().tamer.set(Temper::Slow(Duration::from_millis(30)));
        let admin = self.crossfade.admin().clone();
        let asking = std::thread::spawn(move || {
            if back { admin.rollback(3_000) } else { admin.cutover(3_000, false) }
        });
        while self.crossfade.phase() != during && !asking.is_finished() {
            std::thread::yield_now();
        }
        self.secondary().tamer.set(Temper::Calm);
        act(self);
        let answer = asking.join().unwrap();
        assert!([200, 409, 504].contains(&answer.code), "{}: {}", answer.code, answer.text);
        answer.code == 200
    }

    /// A comparison by crossfade itself must find nothing that it does not mend.
    pub(crate) fn verify(&self) {
        let verified = self.crossfade.verify();
        assert_eq!(verified["state"], "clean", "{verified:#}");
    }
}
