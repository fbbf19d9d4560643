//! Keys that somebody looks at on both servers: whether what the two say can be held against each
//! other.
//!
//! *Rule:* it can if the keys were at rest from before the first look until after the second (no write
//! in flight, no copy due or on its way, nothing that may have written them untold), if the secondary
//! had all of the log before it was looked at, and if none of them ends about that time.
//!
//! What is done to a key is counted for its group: nobody has to say that an observation is over, and a key
//! whose group had another one written is looked at again, or not at all.

use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Engine, KeyRef, Position};
use crate::engine::ledger::{Fingerprint, GROUPS};

/// How often keys were written or put in doubt, by their group, and how often all of them.
pub(super) struct Invalidations {
    groups: Box<[u32]>,
    all: u32,
}

impl fmt::Debug for Invalidations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invalidations")
    }
}

/// The two counts at some moment.
pub(super) type Moment = (u32, u32);

impl Default for Invalidations {
    fn default() -> Self {
        Self { groups: vec![0; GROUPS].into_boxed_slice(), all: 0 }
    }
}

impl Invalidations {
    pub(super) fn now(&self, key: Fingerprint) -> Option<Moment> {
        Some((*self.groups.get(usize::from(key.group().0))?, self.all))
    }
}

/// A key from the moment on when somebody began to look at it.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(super) named: KeyRef,
    /// `None` when a write to it was in flight.
    pub(super) began: Option<Moment>,
}

/// Keys that were at rest when somebody began to look at them.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(super) observations: SmallVec<[Observation; 1]>,
    /// The end of the log then.
    pub(super) position: Position,
}

impl Witness {
    /// The keys, by name.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.observations.iter().map(|observation| &observation.named.key)
    }
}

/// Why a key may differ on the two servers for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unrest {
    /// Nothing is carried over at all, or not of its database.
    NotMirrored,
    /// Everything must be copied again.
    Pass,
    /// A script may have written it, which has not been told.
    Script,
    /// A command that waits may have been served from it, which has not been told.
    Wait,
    /// A write to it is in flight.
    InFlight,
    /// It has not been copied, must be copied again, or its copy is on its way.
    Unsettled,
    /// The secondary cannot hold it.
    LeftOut,
}

/// When a key ends, as its server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// There is none.
    Gone,
    /// Not by itself.
    Never,
    /// In so many milliseconds.
    In(i64),
}

impl Ends {
    /// What `PTTL` answers.
    pub(crate) fn told(pttl: i64) -> Self {
        match pttl {
            -2 => Self::Gone,
            -1 => Self::Never,
            left => Self::In(left),
        }
    }

    /// Whether it may be gone already where it is looked at a little later, or where it ends a little
    /// earlier: so many milliseconds together.
    pub(crate) fn is_near(self, margin: i64) -> bool {
        matches!(self, Self::In(left) if left <= margin)
    }
}

impl Engine {
    /// Notes from now on whether a key is written; a write in flight may be one.
    pub(crate) fn observe(&self, named: &KeyRef) -> Observation {
        let still = !self.order.is_in_flight(named.fingerprint);
        let began = self.invalidations.now(named.fingerprint).filter(|_| still);
        Observation { named: named.clone(), began }
    }

    /// A key is written, or copied again.
    pub(super) fn invalidate_observed(&mut self, fingerprint: Fingerprint) {
        if let Some(times) = self.invalidations.groups.get_mut(usize::from(fingerprint.group().0)) {
            *times = times.wrapping_add(1);
        }
    }

    pub(super) fn invalidate_all_observed(&mut self) {
        self.invalidations.all = self.invalidations.all.wrapping_add(1);
    }

    fn is_valid(&self, observation: &Observation) -> bool {
        observation.began.is_some()
            && observation.began == self.invalidations.now(observation.named.fingerprint)
    }

    /// Whether a watched key has been left alone, holds nothing in flight, and has been settled.
    pub(crate) fn was_untouched(&self, observation: &Observation) -> bool {
        self.is_valid(observation)
            && !self.order.is_in_flight(observation.named.fingerprint)
            && self.is_settled(&observation.named)
    }

    /// Whether the secondary has the last copy of a key and gets its effects.
    pub(crate) fn is_settled(&self, named: &KeyRef) -> bool {
        self.is_migrated(named) && !self.copied_at.contains_key(&named.fingerprint)
    }

    pub(super) fn unrest(&self, named: &KeyRef) -> impl Iterator<Item = Unrest> {
        let (key, number) = (named.fingerprint, self.spaces.number(named.space));
        let mirrored = self.is_mirroring() && self.settings.databases.to(number).is_some();
        let unrest = [
            (Unrest::NotMirrored, !mirrored),
            (Unrest::Pass, self.needs_pass()),
            (Unrest::Script, self.scripts.is_open()),
            (Unrest::Wait, self.waits.is_waited_for(key)),
            (Unrest::InFlight, self.order.is_in_flight(key)),
            (Unrest::Unsettled, !self.is_settled(named)),
            (Unrest::LeftOut, self.left_out.contains(key)),
        ];
        unrest.into_iter().filter_map(|(unrest, there)| there.then_some(unrest))
    }

    fn is_at_rest_now(&self, named: &KeyRef) -> bool {
        self.unrest(named).next().is_none()
    }

    /// Begins to look at keys of one of the primary's databases, if all of them are at rest.
    pub(crate) fn witness(
        &self,
        db: u32,
        keys: impl IntoIterator<Item = Bytes>,
    ) -> Option<Witness> {
        let observation = |key| {
            let named = self.key_ref(db, key);
            self.is_at_rest_now(&named).then(|| self.observe(&named))
        };
        let observations = keys.into_iter().map(observation).collect::<Option<_>>()?;
        Some(Witness { observations, position: self.log.last() })
    }

    /// Whether the secondary has by now what was in the log when the witness was taken.
    pub(crate) fn has_caught_up_with(&self, witness: &Witness) -> bool {
        self.log.acknowledged() >= witness.position
    }

    /// Whether the keys have been at rest all the while: what both servers said of them meanwhile was
    /// said of the same.
    pub(crate) fn bears_out(&self, witness: &Witness) -> bool {
        let rested = |observation: &Observation| {
            self.is_valid(observation) && self.is_at_rest_now(&observation.named)
        };
        witness.observations.iter().all(rested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::copy_batch::tests::engine;
    use crate::engine::ledger::Groups;
    use crate::engine::{Cause, ConnId};

    fn engine_at_rest() -> Engine {
        let settings = engine(1 << 20).settings().clone();
        Engine::new(settings, Groups::full())
    }

    fn key(name: &'static str) -> Bytes {
        Bytes::from_static(name.as_bytes())
    }

    #[test]
    fn a_key_that_was_put_in_doubt_meanwhile_has_no_witness() {
        let mut engine = engine_at_rest();
        let witness = engine.witness(0, [key("a"), key("b")]).unwrap();
        engine.mark_dirty(&engine.key_ref(0, key("c")), Cause::Effect);
        assert!(engine.bears_out(&witness), "another key's doubt is not theirs");
        engine.mark_dirty(&engine.key_ref(0, key("b")), Cause::Effect);
        assert!(!engine.bears_out(&witness));
        assert!(engine.witness(0, [key("b")]).is_none());
        assert!(engine.witness(0, [key("a")]).is_some());
    }

    #[test]
    fn a_write_in_flight_leaves_no_witness_even_when_it_is_over() {
        let mut engine = engine_at_rest();
        let (conn, named) = (ConnId(7), engine.key_ref(0, key("a")));
        assert!(engine.hold(conn, &named));
        let observed = engine.observe(&named);
        assert!(engine.witness(0, [key("a")]).is_none());
        engine.release(conn, &named);
        assert!(!engine.was_untouched(&observed));
        assert!(engine.witness(0, [key("a")]).is_some());
    }

    #[test]
    fn what_makes_everything_doubtful_leaves_no_witness() {
        let mut engine = engine_at_rest();
        let witness = engine.witness(0, [key("a")]).unwrap();
        engine.void_and_resync(Cause::Resync);
        assert!(engine.witness(0, [key("a")]).is_none());
        engine.begin_pass();
        engine.end_pass();
        assert!(!engine.bears_out(&witness), "it was copied in between");
        assert!(engine.witness(0, [key("a")]).is_some());
    }

    #[test]
    fn a_key_is_near_its_end_within_the_margin_alone() {
        assert!(Ends::told(50).is_near(50) && Ends::told(0).is_near(50));
        assert!(!Ends::told(51).is_near(50));
        assert!(!Ends::told(-1).is_near(50) && !Ends::told(-2).is_near(50));
    }
}
