//! Keys that verify compares on both servers: whether they were written meanwhile.

use super::{Engine, KeyRef};
use crate::engine::ledger::Fingerprint;

impl Engine {
    /// Notes from now on whether a key is written; a write in flight may be one.
    pub(crate) fn observe(&mut self, named: &KeyRef) {
        let written = self.order.is_in_flight(named.fingerprint);
        self.observed.insert(named.fingerprint, written);
    }

    /// A key is written, or copied again.
    pub(super) fn invalidate_observed(&mut self, fingerprint: Fingerprint) {
        if !self.observed.is_empty() {
            self.observed.entry(fingerprint).and_modify(|written| *written = true);
        }
    }

    /// Any key may be written.
    pub(super) fn invalidate_all_observed(&mut self) {
        self.observed.values_mut().for_each(|written| *written = true);
    }

    /// Whether an observed key was not written, is not in flight, and is settled.
    pub(crate) fn was_untouched(&self, named: &KeyRef) -> bool {
        self.observed.get(&named.fingerprint) == Some(&false)
            && !self.order.is_in_flight(named.fingerprint)
            && self.is_settled(named)
    }

    /// Whether the secondary has the last copy of a key and gets its effects.
    pub(crate) fn is_settled(&self, named: &KeyRef) -> bool {
        self.is_migrated(named) && !self.copied_at.contains_key(&named.fingerprint)
    }

    /// The comparison is over.
    pub(crate) fn stop_observing(&mut self, keys: &[KeyRef]) {
        for named in keys {
            self.observed.remove(&named.fingerprint);
        }
    }
}
