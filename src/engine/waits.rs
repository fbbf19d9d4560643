//! Commands that wait for data on connections of their own (`BLPOP`, `XREADGROUP BLOCK`).
//!
//! A wait holds no keys: others' writes are what it waits for. It is served inside one of those, so
//! what it did to its keys has happened when that write is answered; the word of it comes over its
//! own connection, earlier or later than any answer on a lane.
//!
//! *Rule:* the keys of a wait are in doubt from the moment when a write to one of them has been
//! answered, and again when the wait itself is. Both times they are made dirty *out of order*: a whole
//! state that was written before, and is answered after, does not make up for it.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::{Answer, Cause, Engine, KeyRef, Unit, Write};
use crate::engine::ledger::{Fingerprint, Group, Passthrough};
use crate::protocol::resp::Reply;

#[derive(Debug, Default)]
pub(super) struct Waits {
    units: HashMap<u64, Unit>,
    /// The waits for a key, under today's numbering of databases.
    on: HashMap<Fingerprint, SmallVec<[u64; 2]>, Passthrough>,
    /// Waits that the step which is being settled may have served.
    stirred: Vec<u64>,
    /// What has been served while databases may be changing places: by the primary's numbers.
    served_meanwhile: Vec<(u32, bytes::Bytes)>,
    next: u64,
}

impl Waits {
    pub(super) fn is_waited_for(&self, key: Fingerprint) -> bool {
        self.on.contains_key(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    fn enter(&mut self, number: u64, unit: Unit) {
        for named in touched(&unit) {
            self.on.entry(named.fingerprint).or_default().push(number);
        }
        self.units.insert(number, unit);
    }

    fn leave(&mut self, number: u64) -> Option<Unit> {
        let unit = self.units.remove(&number)?;
        for named in touched(&unit) {
            if let Some(waiting) = self.on.get_mut(&named.fingerprint) {
                waiting.retain(|other| *other != number);
                if waiting.is_empty() {
                    self.on.remove(&named.fingerprint);
                }
            }
        }
        Some(unit)
    }

    /// Groups of the keys that may be written at any time.
    pub(super) fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        self.units.values().flat_map(written).map(|named| named.fingerprint.group())
    }
}

fn touched(unit: &Unit) -> impl Iterator<Item = &KeyRef> {
    unit.writes.iter().flat_map(|write| &write.touches).map(|touch| &touch.named)
}

fn written(unit: &Unit) -> impl Iterator<Item = &KeyRef> {
    unit.writes.iter().flat_map(Write::written_keys)
}

impl Engine {
    pub(super) fn begin_wait(&mut self, unit: &mut Unit) {
        if unit.numbering != self.spaces.numbering() {
            self.renumber(unit);
        }
        self.touch_unit(unit);
        self.waits.next += 1;
        unit.waits = Some(self.waits.next);
        self.waits.enter(self.waits.next, unit.clone());
    }

    /// The wait is over: served, in vain, or nobody will ever know.
    pub(super) fn end_wait(&mut self, number: u64, answer: Option<Answer<'_>>) {
        let Some(unit) = self.waits.leave(number) else { return };
        let reply = answer.map(|answer| Reply::parse(answer.reply));
        let cause = match reply {
            Some(Ok(Reply::Null | Reply::Error(_))) => return,
            Some(Ok(_)) => Cause::Effect,
            Some(Err(_)) | None => Cause::Unknown,
        };
        self.mark_wait_dirty(&unit, cause);
        if self.order.wants_everything() {
            let keys = unit
                .writes
                .iter()
                .flat_map(|write| write.written_keys().map(|named| (write.db, named.key.clone())));
            self.waits.served_meanwhile.extend(keys);
        }
    }

    /// A key has been written: a wait for it may have been served.
    pub(super) fn stir(&mut self, fingerprint: Fingerprint) {
        if let Some(waiting) = self.waits.on.get(&fingerprint) {
            self.waits.stirred.extend(waiting);
        }
    }

    /// The step that may have served some has been settled.
    pub(super) fn doubt_stirred(&mut self) {
        for number in std::mem::take(&mut self.waits.stirred) {
            if let Some(unit) = self.waits.units.get(&number).cloned() {
                self.mark_wait_dirty(&unit, Cause::Effect);
            }
        }
    }

    fn mark_wait_dirty(&mut self, unit: &Unit, cause: Cause) {
        for named in written(unit) {
            self.mark_dirty_out_of_order(named, cause);
        }
    }

    /// Databases change places by `swap`: waits stay where they are, by number, and may
    /// have been served before and after.
    pub(super) fn swap_waits(&mut self, swap: impl FnOnce(&mut Self)) {
        let waiting: Vec<(u64, Unit)> = self.waits.units.drain().collect();
        self.waits.on.clear();
        for (_, unit) in &waiting {
            self.mark_wait_dirty(unit, Cause::Effect);
        }
        swap(self);
        for (number, mut unit) in waiting {
            self.renumber(&mut unit);
            self.mark_wait_dirty(&unit, Cause::Effect);
            self.waits.enter(number, unit);
        }
        for (db, key) in std::mem::take(&mut self.waits.served_meanwhile) {
            let named = self.key_ref(db, key);
            self.mark_dirty_out_of_order(&named, Cause::Effect);
        }
    }

    /// Nothing that might change the numbering is under way any more.
    pub(super) fn forget_served_meanwhile(&mut self) {
        if !self.order.wants_everything() {
            self.waits.served_meanwhile.clear();
        }
    }
}
