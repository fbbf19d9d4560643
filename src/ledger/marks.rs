//! A mark for each of tens of millions of keys, in eight bytes.
//!
//! Open addressing in pieces: a slot is a fingerprint, with the mark in place of the byte that says
//! which piece the slot is in, so nothing of the fingerprint is lost. A slot is sought from one place
//! on in ascending order: one line of the processor's cache mostly, and finding, marking and growing
//! cost the same however many there are. A map that threads share would pay for locks that nobody
//! needs: the engine alone marks, behind its own.

use std::hint::black_box;

use super::{Fingerprint, State};

/// Pieces that grow one by one: none holds the engine up for long while it moves its marks.
const PIECES: usize = 256;
/// The byte of a slot that holds the mark; of a fingerprint, the number of its piece.
const MARK: u64 = 0xff;
/// Slots of the smallest piece that has any.
const SMALLEST: usize = 16;
/// Not in use: no mark is 0.
const FREE: u64 = 0;

/// Marks by fingerprint.
#[derive(Debug)]
pub(super) struct Marks {
    pieces: Box<[Piece]>,
    len: usize,
    slots: usize,
}

#[derive(Clone, Debug, Default)]
struct Piece {
    slots: Vec<u64>,
    used: usize,
}

impl Marks {
    pub(super) fn new() -> Self {
        Self { pieces: vec![Piece::default(); PIECES].into_boxed_slice(), len: 0, slots: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.slots * size_of::<u64>()
    }

    /// Reads where the marks of all these are sought first. The processor waits for memory once for
    /// many of them, not for each in turn as when they are looked at one by one.
    pub(super) fn fetch(&self, fingerprints: impl Iterator<Item = Fingerprint>) {
        let first = |fingerprint| {
            let slots = &self.pieces.get(piece_of(fingerprint))?.slots;
            slots.get(home(fingerprint.number(), slots.len())).copied()
        };
        black_box(fingerprints.filter_map(first).fold(0, std::ops::BitXor::bitxor));
    }

    pub(super) fn get(&self, fingerprint: Fingerprint) -> Option<State> {
        let piece = self.pieces.get(piece_of(fingerprint))?;
        State::from_byte((piece.find(fingerprint)? & MARK) as u8)
    }

    pub(super) fn insert(&mut self, fingerprint: Fingerprint, state: State) {
        let Some(piece) = self.pieces.get_mut(piece_of(fingerprint)) else { return };
        let before = (piece.used, piece.slots.len());
        piece.insert(fingerprint.number() & !MARK | state as u64);
        self.len += piece.used - before.0;
        self.slots += piece.slots.len() - before.1;
    }

    pub(super) fn remove(&mut self, fingerprint: Fingerprint) {
        let Some(piece) = self.pieces.get_mut(piece_of(fingerprint)) else { return };
        if piece.remove(fingerprint) {
            self.len -= 1;
        }
    }
}

impl Piece {
    fn find(&self, fingerprint: Fingerprint) -> Option<u64> {
        let place = self.place(fingerprint.number())?;
        self.slots.get(place).copied().filter(|slot| *slot != FREE)
    }

    fn insert(&mut self, slot: u64) {
        if self.used * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let Some(place) = self.place(slot) else { return };
        if let Some(there) = self.slots.get_mut(place) {
            self.used += usize::from(*there == FREE);
            *there = slot;
        }
    }

    /// Takes a slot out, and moves up those behind it that it stood in the way of.
    fn remove(&mut self, fingerprint: Fingerprint) -> bool {
        let Some(mut gap) = self.place(fingerprint.number()) else { return false };
        if self.slot(gap) == FREE {
            return false;
        }
        let mut next = self.after(gap);
        while self.slot(next) != FREE {
            let home = home(self.slot(next), self.slots.len());
            // How far each is from there, going up.
            let from = |place: usize| (place + self.slots.len() - home) % self.slots.len();
            if from(gap) < from(next) {
                self.slots.swap(gap, next);
                gap = next;
            }
            next = self.after(next);
        }
        if let Some(slot) = self.slots.get_mut(gap) {
            *slot = FREE;
        }
        self.used -= 1;
        true
    }

    /// Where a slot of this fingerprint is, or else the free one where it would be put. `None` when
    /// there are no slots at all; some are always free.
    fn place(&self, wanted: u64) -> Option<usize> {
        let home = home(wanted, self.slots.len());
        let (before, from) = self.slots.split_at_checked(home)?;
        let fits = |slot: &u64| *slot == FREE || (*slot ^ wanted) & !MARK == 0;
        let place = from.iter().position(fits).map(|place| home + place);
        place.or_else(|| before.iter().position(fits))
    }

    fn grow(&mut self) {
        let more = (self.slots.len() / 2 * 3).max(SMALLEST);
        let old = std::mem::replace(&mut self.slots, vec![FREE; more]);
        self.used = 0;
        old.into_iter().filter(|slot| *slot != FREE).for_each(|slot| self.insert(slot));
    }

    fn slot(&self, place: usize) -> u64 {
        self.slots.get(place).copied().unwrap_or(FREE)
    }

    fn after(&self, place: usize) -> usize {
        if place + 1 == self.slots.len() { 0 } else { place + 1 }
    }
}

fn piece_of(fingerprint: Fingerprint) -> usize {
    (fingerprint.number() & MARK) as usize
}

/// Where a slot is sought first: in the same order in pieces of all sizes, so that growing reads and
/// writes from one end to the other.
fn home(slot: u64, slots: usize) -> usize {
    (((slot >> 32) * slots as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Few enough fingerprints that they meet, in two pieces.
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
        fn marks_are_what_was_marked(changes in proptest::collection::vec(change(), 0..400)) {
            let (mut marks, mut model) = (Marks::new(), HashMap::new());
            for (fingerprint, state) in changes {
                if let Some(state) = state {
                    marks.insert(fingerprint, state);
                    model.insert(fingerprint, state);
                } else {
                    marks.remove(fingerprint);
                    model.remove(&fingerprint);
                }
                prop_assert_eq!(marks.len(), model.len());
            }
            for fingerprint in few() {
                prop_assert_eq!(marks.get(fingerprint), model.get(&fingerprint).copied());
            }
        }
    }

    #[test]
    fn no_bit_of_a_fingerprint_is_lost() {
        let mut marks = Marks::new();
        marks.insert(Fingerprint::of(0), State::Migrated);
        for bit in 0..u64::BITS {
            assert_eq!(marks.get(Fingerprint::of(1 << bit)), None, "bit {bit}");
        }
        assert_eq!(marks.get(Fingerprint::of(0)), Some(State::Migrated));
    }
}
