//! What happens in a run and what never does, and how far the two servers' clocks are apart.

use super::rng::Rng;

/// How far the measured clock difference may be off, in milliseconds.
pub(super) const CLOCK_ERROR: usize = 3;

/// What happens in a run, and what never does.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "any of them goes with any other")]
pub(super) struct Habits {
    /// The engine dies now and then.
    pub(super) dies: bool,
    /// Clients run scripts.
    pub(super) scripts: bool,
    /// Clients wait for elements.
    pub(super) waits: bool,
    /// Clients are handed to the other server.
    pub(super) flips: bool,
    /// A server's data are replaced by others.
    pub(super) replaces: bool,
    /// A server's clock is set.
    pub(super) sets_clocks: bool,
    /// Somebody writes to the secondary behind the engine's back.
    pub(super) plants: bool,
}

impl Habits {
    /// All of them but those that are named.
    pub(super) fn without(names: &str) -> Self {
        let has = |name: &str| !names.split(',').any(|other| other == name);
        let (dies, scripts, waits) = (has("dies"), has("scripts"), has("waits"));
        let (flips, replaces, sets_clocks) = (has("flips"), has("replaces"), has("clocks"));
        Self { dies, scripts, waits, flips, replaces, sets_clocks, plants: has("plants") }
    }

    /// Some of these.
    pub(super) fn choose(self, rng: &mut Rng) -> Self {
        Self {
            dies: rng.one_in(2) && self.dies,
            scripts: rng.one_in(2) && self.scripts,
            waits: rng.one_in(2) && self.waits,
            flips: rng.one_in(2) && self.flips,
            replaces: rng.one_in(4) && self.replaces,
            sets_clocks: rng.one_in(4) && self.sets_clocks,
            plants: rng.one_in(4) && self.plants,
        }
    }
}

/// The difference of the clocks.
#[derive(Clone, Copy)]
pub(super) struct Clocks {
    pub(super) measured: i64,
    pub(super) real: i64,
}

impl Clocks {
    pub(super) fn random(rng: &mut Rng) -> Self {
        let measured = rng.pick(&[0, 7, 2000, -2000]);
        let error = rng.below(2 * CLOCK_ERROR + 1) as i64 - CLOCK_ERROR as i64;
        Self { measured, real: measured + error }
    }
}
