//! What the secondary has been given, and what it makes of it.

use super::{Cause, Engine, Entry, KeyRef, Kind, Millis, Position, Unit, Write};

/// What an answer waits for: that the secondary has a write.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    position: Position,
    keys: smallvec::SmallVec<[KeyRef; 1]>,
    undeclared: Undeclared,
}

/// How far the keys have come that scripts wrote without declaring them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undeclared {
    /// They are told when so many scripts have been accounted for.
    Untold(u64),
    /// They are among the keys that are in doubt since then, or longer.
    InDoubt(Millis),
    /// They stand in the log, as whole copies.
    Logged,
}

#[cfg(test)]
impl Gate {
    pub(super) fn keys(&self) -> &[KeyRef] {
        &self.keys
    }
}

impl Engine {
    /// What the answer to a step that has just been finished waits for.
    pub(crate) fn gate(&self, unit: &Unit) -> Gate {
        if unit.numbering != self.spaces.numbering() {
            // Only a copy of it has been begun, and made anew.
            let mut unit = unit.clone();
            self.renumber(&mut unit);
            return self.gate(&unit);
        }
        let keys = unit.writes.iter().flat_map(Write::written_keys).cloned().collect();
        let undeclared = if unit.scripts {
            Undeclared::Untold(self.scripts.finished())
        } else {
            Undeclared::Logged
        };
        Gate { position: self.log.last(), keys, undeclared }
    }

    /// Whether the secondary has what the gate stands for, as effects or as copies.
    pub(crate) fn has_arrived(&self, gate: &mut Gate) -> bool {
        self.follow_undeclared(gate);
        let there = |named| self.is_settled(named);
        gate.undeclared == Undeclared::Logged
            && gate.position <= self.log.acknowledged()
            && gate.keys.iter().all(there)
    }

    /// What is told of scripts is dirty at once, and the copy that ends that stands in the log.
    fn follow_undeclared(&self, gate: &mut Gate) {
        if let Undeclared::Untold(count) = gate.undeclared
            && self.scripts.has_told(count)
        {
            gate.undeclared = Undeclared::InDoubt(self.now);
        }
        if let Undeclared::InDoubt(since) = gate.undeclared
            && self.oldest_in_doubt().is_none_or(|oldest| oldest > since)
        {
            gate.undeclared = Undeclared::Logged;
            gate.position = self.log.last();
        }
    }

    /// Takes the oldest effects for sending, up to `bytes`.
    pub(crate) fn take_effects(&mut self, bytes: usize) -> Vec<Entry> {
        self.log.take(bytes)
    }

    /// The secondary has answered everything up to and including `entry` as expected.
    pub(crate) fn applied(&mut self, entry: &Entry) {
        self.counters.applied += 1;
        self.acknowledge(entry);
    }

    /// The secondary's answer to `entry` is not the primary's, or there was none.
    pub(crate) fn diverged(&mut self, entry: &Entry, cause: Cause) {
        match cause {
            Cause::Refused => {
                self.counters.failed += 1;
                self.refused_at = Some(self.now);
            }
            Cause::Mismatch => self.counters.mismatched += 1,
            _ => {}
        }
        for named in &entry.keys {
            match entry.kind {
                // The copy that stands behind it is the one that it is missing from.
                Kind::Part => self.mark_dirty(named, cause),
                _ => self.mark_dirty_since(named, entry.position, cause),
            }
        }
        match entry.kind {
            Kind::Keys | Kind::Part | Kind::Copy | Kind::Copies => {}
            Kind::Databases => self.request_resync(cause),
            Kind::Code => {
                self.code_is_stale = true;
                self.scripts.forget_known();
            }
        }
        self.acknowledge(entry);
    }

    /// The primary's keys are not what they were, nobody knows how: copies that have been read are
    /// void, writes in flight may have been done before, and everything must be copied again.
    pub(crate) fn void_and_resync(&mut self, cause: Cause) {
        self.epoch += 1;
        self.order.overtake_all();
        self.request_resync(cause);
    }

    /// The primary may hold other data than it did, or (nearly) none. Until somebody has found out
    /// what that means nothing more is carried over: what was written before goes on its way, what is
    /// written from now on is in the copies that come after [`Self::go_on`].
    pub(crate) fn halt(&mut self, cause: Cause) {
        self.void_and_resync(cause);
        if self.settings.mirroring {
            self.halted.get_or_insert(self.now);
        }
    }

    /// The primary's data are those to be had: everything is copied again.
    pub(crate) fn go_on(&mut self) {
        if self.halted.take().is_some() {
            // Copies that were begun meanwhile were not told of writes.
            self.void_and_resync(self.resync.unwrap_or(Cause::Replaced));
        }
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted.is_some()
    }

    pub(super) fn is_mirroring(&self) -> bool {
        self.settings.mirroring && self.halted.is_none()
    }

    /// The secondary is not what it was: everything must be copied again.
    pub(crate) fn request_resync(&mut self, cause: Cause) {
        if self.settings.mirroring {
            self.touch_all();
            self.invalidate_all_observed();
            self.resync = Some(cause);
        }
    }

    /// What went wrong at `position` matters to a key unless a newer copy stands behind it.
    pub(super) fn mark_dirty_since(&mut self, named: &KeyRef, position: Position, cause: Cause) {
        let newest = self.copied_at.get(&named.fingerprint).copied().unwrap_or(0);
        if newest <= position {
            self.mark_dirty(named, cause);
        }
    }

    pub(super) fn acknowledge(&mut self, entry: &Entry) {
        if matches!(entry.kind, Kind::Copy | Kind::Copies) {
            for named in &entry.keys {
                if self.copied_at.get(&named.fingerprint) == Some(&entry.position) {
                    self.copied_at.remove(&named.fingerprint);
                }
            }
        }
        self.log.acknowledge(entry.position);
        self.dependents.acknowledge(entry.position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::copy_batch::tests::{claim, engine};
    use crate::engine::effect::{Expect, Step};
    use crate::engine::{Accepted, Copied};
    use crate::protocol::resp::Request;

    fn copied() -> Copied {
        let steps = [Step { request: Request::new(["RESTORE"]), expect: Expect::Success }];
        Copied { steps: steps.into_iter().collect(), in_position: false }
    }

    #[test]
    fn nothing_is_carried_over_while_it_is_halted_but_what_was_on_its_way() {
        let mut engine = engine(1 << 20);
        let ticket = claim(&mut engine, &["before"]).remove(0);
        assert!(matches!(engine.accept(&ticket, &copied()), Accepted::At(_)));
        let void = claim(&mut engine, &["void"]).remove(0);
        engine.halt(Cause::Replaced);
        assert_eq!(engine.accept(&void, &copied()), Accepted::Again);
        assert!(claim(&mut engine, &["later"]).is_empty());
        engine.mark_dirty(ticket.key_ref(), Cause::Effect);
        assert!(!engine.wants_copies());
        assert_eq!(engine.take_effects(usize::MAX).len(), 1);
        assert!(engine.dirty_keys() > 0, "it is not taken for equal");

        engine.go_on();
        assert_eq!(engine.begin_pass().1, Some(Cause::Replaced));
        assert_eq!(claim(&mut engine, &["before", "later"]).len(), 2);
    }
}
