//! Keys that somebody compares on both servers: whether they were left alone meanwhile.

use super::{Engine, Named};
use crate::engine::ledger::Fingerprint;

impl Engine {
    /// Notes from now on whether a key is written; a write in flight may be one.
    pub fn watch(&mut self, named: &Named) {
        let written = self.order.is_in_flight(named.fingerprint);
        self.watched.insert(named.fingerprint, written);
    }

    /// A key is written, or copied again.
    pub(super) fn disturb(&mut self, fingerprint: Fingerprint) {
        if !self.watched.is_empty() {
            self.watched.entry(fingerprint).and_modify(|written| *written = true);
        }
    }

    /// Any key may be written.
    pub(super) fn disturb_all(&mut self) {
        self.watched.values_mut().for_each(|written| *written = true);
    }

    /// Whether a watched key has been left alone, holds nothing in flight, and has been settled.
    pub fn was_still(&self, named: &Named) -> bool {
        self.watched.get(&named.fingerprint) == Some(&false)
            && !self.order.is_in_flight(named.fingerprint)
            && self.is_settled(named)
    }

    /// Whether the secondary has the last copy of a key and gets its effects.
    pub fn is_settled(&self, named: &Named) -> bool {
        self.is_migrated(named) && !self.copied_at.contains_key(&named.fingerprint)
    }

    /// Ends the watch over these keys.
    pub fn watch_no_more(&mut self, keys: &[Named]) {
        for named in keys {
            self.watched.remove(&named.fingerprint);
        }
    }
}
