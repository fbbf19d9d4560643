//! Looking for keys to copy without the engine.

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use crate::engine::ledger::{Marks, Seed, State};

/// The keys of one database as a scan looks them up. It goes by the numbering that the engine had
/// when it gave this: a scan that `SWAPDB` came between is done again.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    marks: Arc<Marks>,
    seed: Seed,
    space: u32,
}

impl Engine {
    /// For a scan of `db` that begins now.
    pub(crate) fn lookup(&self, db: u32) -> Lookup {
        let (marks, seed) = (self.ledger.marks(), self.settings.seed);
        Lookup { marks, seed, space: self.spaces.of(db) }
    }
}

impl Lookup {
    /// Leaves out the keys for which [`Engine::claim`] would give no ticket. The marks of the others
    /// are at hand when they are claimed.
    pub(crate) fn unclaimed(&self, mut keys: Vec<Bytes>) -> Vec<Bytes> {
        let fingerprints = keys.iter().map(|key| self.seed.fingerprint(self.space, key));
        let mut marks = self.marks.all(fingerprints).into_iter();
        keys.retain(|_| {
            matches!(marks.next().flatten(), None | Some(State::Unmigrated | State::Dirty))
        });
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::super::copy_batch::tests::{claim, engine};
    use super::*;
    use crate::engine::Cause;

    #[test]
    fn only_keys_that_would_get_a_ticket_are_left() {
        let mut engine = engine(1 << 20);
        let lookup = engine.lookup(0);
        let keys = || ["a", "b", "c"].map(|key| Bytes::from_static(key.as_bytes()));
        assert_eq!(lookup.unclaimed(keys().to_vec()), keys());
        claim(&mut engine, &["b"]);
        engine.mark_dirty(&engine.key_ref(0, keys()[2].clone()), Cause::Refused);
        assert_eq!(lookup.unclaimed(keys().to_vec()), ["a", "c"], "dirty keys have to be copied");
    }
}
