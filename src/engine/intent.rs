//! The write-intent record: which groups of keys a crash would leave in doubt.
//!
//! *Rule: recorded before it is sent.* A group is in the record before a write to one of its keys
//! goes to the primary, and as long as anything is left that may differ: a write in flight, an
//! effect or a copy that the secondary has not acknowledged, a dirty key. What is not in the record
//! when a process dies is equal on both servers, so its successor copies only the rest.
//!
//! Letting go is lazy. Every event that concerns a group makes it young; a group that was not young
//! for a whole round, and whose effects of the rounds before have all been acknowledged, is let go
//! unless it is found among what is under way. So an event costs two bits, and counts nothing.
//!
//! *Must not know:* where the record is kept. The owner of the engine writes [`Engine::intent`]
//! down before anything that was decided takes effect.

use super::log::Position;
use super::{Engine, Unit, Write};
use crate::engine::ledger::{Group, Groups};
use crate::protocol::command::Reach;

/// With more keys to look through than this nothing is let go: it would take too long.
const MANY: usize = 10_000;

/// What is recorded, and what may be let go.
#[derive(Debug)]
pub(super) struct Intent {
    recorded: Groups,
    /// Whether `recorded` has changed since it was taken.
    changed: bool,
    /// Groups that something happened to in this round.
    young: Groups,
    /// Whether all of them are young, told without looking.
    all_young: bool,
    /// The last place in the log when this round began.
    before: Position,
}

impl Intent {
    pub(super) fn new(recorded: Groups) -> Self {
        Self { young: recorded.clone(), all_young: false, recorded, changed: false, before: 0 }
    }

    fn touch(&mut self, group: Group) {
        self.young.insert(group);
        if !self.recorded.contains(group) {
            self.recorded.insert(group);
            self.changed = true;
        }
    }

    fn touch_all(&mut self) {
        if !self.all_young {
            self.all_young = true;
            self.young = Groups::full();
            self.changed |= !self.recorded.is_full();
            self.recorded = Groups::full();
        }
    }

    /// Ends a round: what is neither young nor `busy` is let go.
    fn end_round(&mut self, busy: &Groups, last: Position) {
        let mut keep = std::mem::take(&mut self.young);
        self.all_young = false;
        self.before = last;
        keep.extend(busy);
        let before = self.recorded.len();
        self.recorded.retain(&keep);
        self.changed |= self.recorded.len() != before;
    }
}

impl Engine {
    /// From now on a record is kept; it says `recorded` already.
    pub(crate) fn keep_record(&mut self, recorded: Groups) {
        self.intent = Some(Intent::new(recorded));
    }

    /// What the record must say, if that has changed since the last call.
    pub(crate) fn intent(&mut self) -> Option<&Groups> {
        let intent = self.intent.as_mut()?;
        std::mem::take(&mut intent.changed).then_some(&intent.recorded)
    }

    /// How many groups are in the record; `None` when none is kept.
    pub(crate) fn recorded(&self) -> Option<usize> {
        self.intent.as_ref().map(|intent| intent.recorded.len())
    }

    /// Something may be about to happen to keys of the group.
    pub(super) fn touch(&mut self, group: Group) {
        if let Some(intent) = &mut self.intent {
            intent.touch(group);
        }
    }

    /// Something may be about to happen to any key.
    pub(super) fn touch_all(&mut self) {
        if let Some(intent) = &mut self.intent {
            intent.touch_all();
        }
    }

    /// A step is about to be sent.
    pub(super) fn touch_unit(&mut self, unit: &Unit) {
        let Some(intent) = &mut self.intent else { return };
        if unit.scripts || unit.writes.iter().any(reaches_all) {
            return intent.touch_all();
        }
        for named in unit.writes.iter().flat_map(Write::written_keys) {
            intent.touch(named.fingerprint.group());
        }
    }

    /// Lets groups go in which nothing is left that may differ. To be called now and then; a group
    /// goes at the second call after the last that happened to it, at the earliest.
    pub(crate) fn let_settled_groups_go(&mut self) {
        if self.is_unsure() || self.recorded().is_none_or(|count| count == 0) {
            return;
        }
        let (busy, last) = (self.busy_groups(), self.log.last());
        if let Some(intent) = &mut self.intent
            && self.log.acknowledged() >= intent.before
        {
            intent.end_round(&busy, last);
        }
    }

    /// Whether something is under way that may concern any group.
    fn is_unsure(&self) -> bool {
        self.passing
            || self.needs_pass()
            || self.scripts.is_open()
            || self.order.wants_everything()
            || self.dirty.len() + self.copying.len() + self.left_out.len() > MANY
    }

    /// Groups of keys that are known to be under way, or to be missing: what is left out must be found
    /// again by the next process.
    fn busy_groups(&self) -> Groups {
        let mut busy = Groups::default();
        let dirty = self.dirty.fingerprints().chain(self.copying.keys().copied());
        let dirty = dirty.chain(self.left_out.fingerprints());
        for fingerprint in dirty.chain(self.order.keys_in_flight()) {
            busy.insert(fingerprint.group());
        }
        self.waits.groups().for_each(|group| busy.insert(group));
        busy
    }
}

fn reaches_all(write: &Write) -> bool {
    match write.reach {
        Reach::Keys | Reach::Code => false,
        Reach::Database | Reach::AllDatabases | Reach::Swap(..) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(ids: &[u16]) -> Groups {
        let mut groups = Groups::default();
        for id in ids {
            groups.insert(Group(*id));
        }
        groups
    }

    #[test]
    fn a_group_goes_when_nothing_has_happened_to_it_for_a_round() {
        let mut intent = Intent::new(Groups::default());
        intent.touch(Group(1));
        assert!(std::mem::take(&mut intent.changed));
        intent.touch(Group(1));
        assert!(!intent.changed, "a bit that is set costs nothing");
        intent.end_round(&groups(&[]), 7);
        assert_eq!((intent.recorded.len(), intent.before), (1, 7));
        intent.touch(Group(2));
        intent.end_round(&groups(&[]), 9);
        assert_eq!(intent.recorded, groups(&[2]));
    }

    #[test]
    fn a_busy_group_stays() {
        let mut intent = Intent::new(groups(&[1, 2]));
        intent.end_round(&groups(&[]), 0);
        intent.end_round(&groups(&[2]), 0);
        assert_eq!(intent.recorded, groups(&[2]));
    }

    #[test]
    fn everything_is_recorded_once_and_goes_like_anything_else() {
        let mut intent = Intent::new(Groups::default());
        intent.touch_all();
        assert!(std::mem::take(&mut intent.changed) && intent.recorded.is_full());
        intent.touch_all();
        assert!(!intent.changed);
        intent.end_round(&groups(&[]), 0);
        assert!(intent.recorded.is_full());
        intent.end_round(&groups(&[]), 0);
        assert!(intent.recorded.is_empty() && intent.changed);
    }
}
