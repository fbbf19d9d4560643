//! A mark for each of tens of millions of keys: a map from fingerprints that tasks look into while
//! the engine changes it.
//!
//! Only the engine marks, behind its own lock, so that a mark and its place in the log are one step.
//! A look-up without that lock sees what was true at some moment of the look-up.
//!
//! A slot is a fingerprint, a mark and the table's own byte, ten bytes, of which at least 7 of 16 are
//! in use in a table that has grown. There are many tables, which grow one by one: none holds up for
//! long while it moves its marks.

use std::hash::{Hash, Hasher};
use std::hint::black_box;

use dashmap::{DashMap, Entry};

use super::{Fingerprint, Passthrough, State};

/// Tables that grow one by one: so many that none is big, and so few that keys looked for together
/// meet in them.
const TABLES: usize = 64;

/// Marks by fingerprint.
#[derive(Debug)]
pub struct Marks {
    map: DashMap<Slot, State, Passthrough>,
}

/// A fingerprint that is aligned to nothing, so that its mark costs no more than a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot([u8; 8]);

impl From<Fingerprint> for Slot {
    fn from(fingerprint: Fingerprint) -> Self {
        Self(fingerprint.number().to_le_bytes())
    }
}

impl Hash for Slot {
    /// Places are told by the lowest bits and tables by high ones. Those that tell the group come
    /// between: a pass over few groups marks keys that have them in common.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(self.0).rotate_left(32));
    }
}

impl Marks {
    pub(super) fn new() -> Self {
        Self { map: DashMap::with_hasher_and_shard_amount(Passthrough, TABLES) }
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let tables = self.map.shards().iter();
        tables.map(|table| table.read().allocation_info().1.size()).sum()
    }

    pub(super) fn get(&self, fingerprint: Fingerprint) -> Option<State> {
        self.map.get(&Slot::from(fingerprint)).map(|mark| *mark)
    }

    /// The marks of many keys, in their order, table by table: the processor waits for memory once
    /// for the keys of a table, and takes its lock once.
    pub fn all(&self, fingerprints: impl Iterator<Item = Fingerprint>) -> Vec<Option<State>> {
        let sought: Vec<(Slot, usize)> =
            fingerprints.map(Slot::from).map(|slot| (slot, self.map.hash_usize(&slot))).collect();
        // Table and place in one number: such are sorted in a fraction of the time.
        let order = |(place, (_, hash)): (usize, &(Slot, usize))| {
            (self.map.determine_shard(*hash) as u64) << 32 | place as u64
        };
        let mut order: Vec<u64> = sought.iter().enumerate().map(order).collect();
        order.sort_unstable();
        let mut marks = vec![None; sought.len()];
        for together in order.chunk_by(|one, next| one >> 32 == next >> 32) {
            let table =
                together.first().and_then(|first| self.map.shards().get((first >> 32) as usize));
            let Some(table) = table.map(|table| table.read()) else { continue };
            for place in together.iter().map(|order| *order as u32 as usize) {
                let Some((slot, hash)) = sought.get(place) else { continue };
                let found = table.get(*hash as u64, |(there, _)| there == slot);
                if let (Some((_, mark)), Some(entry)) = (found, marks.get_mut(place)) {
                    *entry = Some(*mark.get());
                }
            }
        }
        marks
    }

    /// Has the marks of keys at hand that the engine is about to be asked for.
    pub fn fetch(&self, fingerprints: impl Iterator<Item = Fingerprint>) {
        black_box(self.all(fingerprints));
    }

    pub(super) fn insert(&self, fingerprint: Fingerprint, state: State) {
        self.map.insert(fingerprint.into(), state);
    }

    pub(super) fn remove(&self, fingerprint: Fingerprint) {
        self.map.remove(&Slot::from(fingerprint));
    }

    /// Replaces a mark by what `change` makes of it; gives the one before.
    pub(super) fn change(
        &self,
        fingerprint: Fingerprint,
        change: impl FnOnce(Option<State>) -> Option<State>,
    ) -> Option<State> {
        match self.map.entry(fingerprint.into()) {
            Entry::Occupied(mut mark) => {
                let before = *mark.get();
                match change(Some(before)) {
                    Some(after) => drop(mark.insert(after)),
                    None => drop(mark.remove()),
                }
                Some(before)
            }
            Entry::Vacant(place) => {
                if let Some(after) = change(None) {
                    place.insert(after);
                }
                None
            }
        }
    }

    /// Takes all marks out, table by table. Gives what is to be freed.
    pub(super) fn clear(&self) -> impl Send + use<> {
        let tables = self.map.shards().iter();
        tables.map(|table| std::mem::take(&mut *table.write())).collect::<Vec<_>>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Few enough fingerprints that they meet, some of them in one table.
    fn few() -> Vec<Fingerprint> {
        let of = |high: u64, low: u64| Fingerprint::of((high << 59) | (low << 8) | (low / 2));
        (0..32).flat_map(|high| (0..3).map(move |low| of(high, low))).collect()
    }

    fn change() -> impl Strategy<Value = (Fingerprint, Option<State>)> {
        let states = vec![State::Migrated, State::Dirty, State::Copying];
        let state = proptest::option::weighted(0.6, proptest::sample::select(states));
        (proptest::sample::select(few()), state)
    }

    proptest! {
        #[test]
        fn marks_are_what_was_marked(
            changes in proptest::collection::vec((change(), any::<bool>()), 0..400),
        ) {
            let (marks, mut model) = (Marks::new(), HashMap::new());
            for ((fingerprint, state), directly) in changes {
                let before = match state {
                    Some(state) => model.insert(fingerprint, state),
                    None => model.remove(&fingerprint),
                };
                match state {
                    Some(state) if directly => marks.insert(fingerprint, state),
                    None if directly => marks.remove(fingerprint),
                    _ => prop_assert_eq!(marks.change(fingerprint, |_| state), before),
                }
                prop_assert_eq!(marks.len(), model.len());
            }
            let expected: Vec<_> = few().iter().map(|key| model.get(key).copied()).collect();
            prop_assert_eq!(marks.all(few().into_iter()), &expected[..]);
            for (fingerprint, expected) in few().into_iter().zip(expected) {
                prop_assert_eq!(marks.get(fingerprint), expected);
            }
        }
    }

    #[test]
    fn no_bit_of_a_fingerprint_is_lost() {
        let marks = Marks::new();
        marks.insert(Fingerprint::of(0), State::Migrated);
        for bit in 0..u64::BITS {
            assert_eq!(marks.get(Fingerprint::of(1 << bit)), None, "bit {bit}");
        }
        assert_eq!(marks.get(Fingerprint::of(0)), Some(State::Migrated));
    }

    #[test]
    fn who_looks_in_meanwhile_sees_each_mark_as_it_was_or_is() {
        let marks = Marks::new();
        let keys =
            || (0..10_000_u64).map(|key| Fingerprint::of(key.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for key in keys() {
                    marks.insert(key, State::Copying);
                    marks.change(key, |_| Some(State::Migrated));
                }
            });
            let mut before = 0;
            while before < keys().count() {
                let seen = marks.all(keys());
                assert!(
                    seen.iter().flatten().all(|s| matches!(s, State::Copying | State::Migrated))
                );
                let migrated = seen.iter().filter(|s| **s == Some(State::Migrated)).count();
                assert!(migrated >= before, "what was settled stays so");
                before = migrated;
            }
        });
        drop(marks.clear());
        assert_eq!((marks.len(), marks.all(keys()).iter().flatten().count()), (0, 0));
    }
}
