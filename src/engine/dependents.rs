//! Effects that carry what one key holds into another (`RENAME`, `LMOVE`, `SUNIONSTORE`).
//!
//! The secondary does them with what it holds itself, and its answer does not always tell. So one
//! whose keys turn out to be in doubt while it is on its way puts the keys that it writes in doubt
//! as well; and it is not sent at all while words may be on their way that put them in doubt.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::{Cause, Engine, KeyRef, Position, Write};
use crate::engine::ledger::Fingerprint;

/// One of them, in the log or on its way.
#[derive(Debug)]
pub(super) struct Dependent {
    position: Position,
    touched: SmallVec<[Fingerprint; 2]>,
    written: SmallVec<[KeyRef; 2]>,
}

/// Those that the secondary has not acknowledged, in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Dependents(VecDeque<Dependent>);

impl Dependent {
    pub(super) fn of(write: &Write) -> Option<Self> {
        let touched = write.touches.iter().map(|touch| touch.named.fingerprint).collect();
        let written = write.written_keys().cloned().collect();
        is_dependent(write).then_some(Self { position: 0, touched, written })
    }
}

impl Dependents {
    /// They have got this place in the log.
    pub(super) fn enter(&mut self, position: Position, dependents: Vec<Dependent>) {
        let placed = dependents.into_iter().map(|dependent| Dependent { position, ..dependent });
        self.0.extend(placed);
    }

    pub(super) fn acknowledge(&mut self, position: Position) {
        while self.0.front().is_some_and(|first| first.position <= position) {
            self.0.pop_front();
        }
    }
}

/// Whether what a write does to one key depends on another.
fn is_dependent(write: &Write) -> bool {
    write.touches.len() > 1
}

impl Engine {
    /// Whether something that is not ordered may have happened to the keys of a write before it, and
    /// has not been told.
    pub(super) fn may_depend_on_untold(&self, write: &Write) -> bool {
        let waited_for = |fingerprint| self.waits.is_waited_for(fingerprint);
        is_dependent(write)
            && (self.scripts.is_open()
                || write.touches.iter().any(|touch| waited_for(touch.named.fingerprint)))
    }

    /// What the secondary holds of a key is in doubt: so is what it has been told to make of it.
    pub(super) fn mark_dependents_dirty(&mut self, fingerprint: Fingerprint, cause: Cause) {
        if self.dependents.0.is_empty() {
            return;
        }
        let mut doubtful = vec![fingerprint];
        let mut written: Vec<KeyRef> = Vec::new();
        for dependent in &self.dependents.0 {
            if dependent.touched.iter().any(|touched| doubtful.contains(touched)) {
                doubtful.extend(dependent.written.iter().map(|named| named.fingerprint));
                written.extend(dependent.written.iter().cloned());
            }
        }
        for named in written {
            self.mark_dirty_in_order(&named, cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::engine::Cause;
    use crate::engine::example::{in_step, write};

    #[test]
    fn what_is_made_of_a_key_in_doubt_is_in_doubt() {
        let mut engine = in_step();
        write(&mut engine, "APPEND a x", ":1\r\n", &[":-1\r\n"]);
        write(&mut engine, "RENAME a b", "+OK\r\n", &[":-1\r\n"]);
        write(&mut engine, "RENAME b c", "+OK\r\n", &[":-1\r\n"]);
        write(&mut engine, "APPEND other x", ":1\r\n", &[":-1\r\n"]);
        let entries = engine.take_effects(usize::MAX);
        assert_eq!(entries.len(), 4);
        engine.diverged(&entries[0], Cause::Mismatch);
        for entry in &entries[1..] {
            engine.applied(entry);
        }
        let mut dirty: Vec<Bytes> =
            engine.claim_dirty(9).iter().map(|ticket| ticket.key().clone()).collect();
        dirty.sort();
        assert_eq!(dirty, ["a", "b", "c"]);
    }
}
