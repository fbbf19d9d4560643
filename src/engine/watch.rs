//! Keys that somebody compares on both servers: whether they were left alone meanwhile.

use super::{Engine, Named};

impl Engine {
    /// Notes from now on whether a key is written.
    pub fn watch(&mut self, named: &Named) {
        self.watched.insert(named.fingerprint, false);
    }

    /// Whether a watched key has been left alone, holds nothing in flight, and gets its effects.
    pub fn was_still(&self, named: &Named) -> bool {
        self.watched.get(&named.fingerprint) == Some(&false)
            && !self.order.is_in_flight(named.fingerprint)
            && self.is_migrated(named)
    }

    /// Ends the watch over these keys.
    pub fn watch_no_more(&mut self, keys: &[Named]) {
        for named in keys {
            self.watched.remove(&named.fingerprint);
        }
    }
}
