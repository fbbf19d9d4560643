//! When clients may be held, and for how long: before a flip what is left to drain is estimated.
//!
//! *Rule:* an effect reaches the secondary about as late as those before it did (their lag), so that
//! is how long a drain takes. A few dirty keys are waited for some milliseconds, which do for small
//! ones; a big one takes as long as it takes, and is copied while clients go on. Where the servers
//! are far away, nothing is drained in less than some round trips: a hold may last so long, or no flip
//! could ever be.
//!
//! *Must not know:* how clients are held.

use crate::pipeline::Direction;
use std::time::Duration;

/// The first holds last so small a part of the longest at most, where the servers are not far away.
const SHORT: u32 = 10;
/// After so many holds in vain because of dirty keys they may last twice as long. Those that were too
/// short for what was on its way tell at once that the next one must be longer.
const IN_VAIN: u32 = 8;
/// A write, its effect and perhaps a copy are on their way for so many round trips to both servers.
const DRAIN_TRIPS: u32 = 3;
/// With the questions that are asked once everything is drained.
const HOLD_TRIPS: u32 = 5;
/// No network is so slow: a server that takes longer is busy.
const FARTHEST: Duration = Duration::from_millis(200);
/// So many small dirty keys are copied in a few milliseconds.
const FEW: usize = 64;
/// Bytes that any secondary takes in a few milliseconds.
const LITTLE: usize = 512 * 1024;
/// After so many looks a secondary with a lag all the time counts as far away, and not as busy.
const LOOKS: u32 = 100;

/// What has not reached the secondary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undrained {
    /// Keys that must be copied first, and those of them whose copies take long.
    dirty: usize,
    slow: usize,
    /// Bytes of effects.
    bytes: usize,
    /// The age of the oldest effect.
    lag: Duration,
}

impl Undrained {
    pub(super) fn of(direction: &Direction) -> Self {
        let engine = &direction.engine;
        let now = engine.now();
        engine.look(|engine| Self {
            dirty: engine.dirty_keys(),
            slow: engine.slow_keys(),
            bytes: engine.queued().1,
            lag: Duration::from_millis(engine.effects_lag(now)),
        })
    }
}

/// How long a hold may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// While keys are dirty.
    copies: Duration,
    /// While effects are on their way.
    effects: Duration,
}

impl Bound {
    pub(super) fn allows(&self, elapsed: Duration, dirty: bool) -> bool {
        elapsed < if dirty { self.copies } else { self.effects }
    }
}

/// Why a hold did not end in a flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// Keys were dirty that it began without, or that took longer than expected.
    Copies,
    /// Writes or effects were on their way.
    UnderWay,
}

/// Looks for a moment to hold clients at.
#[derive(Debug)]
pub(super) struct Calm {
    longest: Duration,
    /// The first holds last no longer.
    short: Duration,
    /// Looks that found no big key dirty.
    looks: u32,
    /// The least lag and the fewest bytes that they found.
    least: (Duration, usize),
    /// Holds that were let go, weighed so that [`IN_VAIN`] of them double the next one.
    in_vain: u32,
}

impl Calm {
    /// With the longest hold that the operator allows, and the time of a question to both servers, one
    /// after the other.
    pub(super) fn new(longest: Duration, round_trip: Duration) -> Self {
        let round_trip = round_trip.min(FARTHEST);
        let longest = longest.max(round_trip * HOLD_TRIPS);
        let short = (longest / SHORT).max(round_trip * DRAIN_TRIPS);
        Self { longest, short, looks: 0, least: (Duration::MAX, usize::MAX), in_vain: 0 }
    }

    /// How long clients may be held when they are held now; `None`: not now.
    pub(super) fn look(&mut self, left: Undrained) -> Option<Bound> {
        if left.slow > 0 || left.dirty > FEW {
            return None;
        }
        self.looks += 1;
        self.least = (self.least.0.min(left.lag), self.least.1.min(left.bytes));
        let times = 2_u32.saturating_pow(self.in_vain / IN_VAIN);
        let short = self.short.saturating_mul(times).min(self.longest);
        let is_known = self.looks > LOOKS;
        let lag = if is_known { self.least.0.max(short / 2) } else { short / 2 };
        let bytes = if is_known { self.least.1.max(LITTLE) } else { LITTLE };
        // Twice as long as expected must be allowed.
        let fits = left.lag <= lag && left.bytes <= bytes && lag * 2 <= self.longest;
        fits.then(|| Bound { copies: short, effects: short.max(lag * 2) })
    }

    /// A hold was let go.
    pub(super) fn was_in_vain(&mut self, late: Late) {
        self.in_vain += match late {
            Late::Copies => 1,
            Late::UnderWay => IN_VAIN,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const fn bound(copies: u64, effects: u64) -> Bound {
        Bound { copies: ms(copies), effects: ms(effects) }
    }

    fn left(dirty: usize, bytes: usize, lag: u64) -> Undrained {
        Undrained { dirty, slow: 0, bytes, lag: ms(lag) }
    }

    /// One that has looked long enough to know how far the secondary is away.
    fn informed(usual: Undrained) -> Calm {
        let mut calm = Calm::new(ms(100), ms(0));
        for _ in 0..LOOKS {
            assert_eq!(calm.look(usual), None, "it may be busy");
        }
        calm
    }

    #[test]
    fn a_hold_begins_when_no_big_key_is_dirty_and_little_is_left() {
        let mut calm = Calm::new(ms(100), ms(0));
        let big = Undrained { slow: 1, ..left(1, 0, 0) };
        for not_now in [big, left(FEW + 1, 0, 0), left(0, LITTLE + 1, 0), left(0, 10, 6)] {
            assert_eq!(calm.look(not_now), None, "{not_now:?}");
        }
        assert_eq!(calm.look(left(FEW, 10, 5)), Some(bound(10, 10)));
    }

    #[test]
    fn a_secondary_that_is_far_away_gets_more_time_as_far_as_the_operator_allows() {
        let mut calm = informed(left(0, 2 * LITTLE, 40));
        assert_eq!(calm.look(left(0, 2 * LITTLE, 41)), None, "it was quicker before");
        assert_eq!(calm.look(left(0, 2 * LITTLE, 40)), Some(bound(10, 80)));
        assert_eq!(informed(left(0, 10, 51)).look(left(0, 10, 51)), None, "no hold would do");
    }

    #[test]
    fn holds_in_vain_make_the_next_ones_longer_but_never_too_long() {
        let mut calm = Calm::new(ms(100), ms(0));
        let mut after = |holds: u32| {
            (0..holds).for_each(|_| calm.was_in_vain(Late::Copies));
            calm.look(left(0, 0, 0))
        };
        assert_eq!(after(IN_VAIN - 1), Some(bound(10, 10)));
        assert_eq!(after(1), Some(bound(20, 20)));
        assert_eq!(after(1000), Some(bound(100, 100)));
    }

    #[test]
    fn what_is_on_its_way_for_long_makes_the_next_hold_longer_at_once() {
        let mut calm = Calm::new(ms(100), ms(0));
        calm.was_in_vain(Late::UnderWay);
        assert_eq!(calm.look(left(0, 0, 0)), Some(bound(20, 20)));
    }

    #[test]
    fn servers_that_are_far_away_are_given_the_time_that_the_way_takes() {
        let mut calm = Calm::new(ms(100), ms(60));
        assert_eq!(calm.look(left(0, 0, 60)), Some(bound(180, 180)));
        (0..9).for_each(|_| calm.was_in_vain(Late::UnderWay));
        assert_eq!(calm.look(left(0, 0, 0)), Some(bound(300, 300)), "and no more");
    }

    #[test]
    fn a_key_that_gets_dirty_ends_a_hold_sooner_than_an_effect_on_a_long_way() {
        let bound = bound(10, 80);
        assert!(bound.allows(ms(9), true) && bound.allows(ms(79), false));
        assert!(!bound.allows(ms(10), true) && !bound.allows(ms(80), false));
    }
}
