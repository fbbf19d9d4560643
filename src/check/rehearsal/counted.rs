//! Counting what is alike, within bounds.

use std::collections::BTreeMap;

/// Milliseconds since some fixed moment.
pub(crate) type Millis = u64;

/// How often something was heard, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) count: u64,
    pub(super) last: Millis,
}

/// Things and how often each was heard, at most so many.
#[derive(Debug)]
pub(super) struct Counted<T> {
    seen: BTreeMap<T, Times>,
    most: usize,
}

impl<T: Ord> Counted<T> {
    pub(super) fn up_to(most: usize) -> Self {
        Self { seen: BTreeMap::new(), most }
    }

    /// Counts one more of `thing`, or of what stands for all for which there is no room.
    pub(super) fn add_or(&mut self, thing: T, others: impl FnOnce() -> T, at: Millis) {
        if !self.add(thing, at) {
            self.add_within(2 * self.most, others(), 1, at);
        }
    }

    /// Counts one more of `thing`. False: there is no room for it.
    pub(super) fn add(&mut self, thing: T, at: Millis) -> bool {
        self.add_many(thing, 1, at)
    }

    /// The same of so many.
    pub(super) fn add_many(&mut self, thing: T, count: u64, at: Millis) -> bool {
        self.add_within(self.most, thing, count, at)
    }

    fn add_within(&mut self, most: usize, thing: T, count: u64, at: Millis) -> bool {
        if self.seen.len() >= most && !self.seen.contains_key(&thing) {
            return false;
        }
        let times = self.seen.entry(thing).or_default();
        times.count += count;
        times.last = times.last.max(at);
        true
    }

    /// It goes on, though nobody has done anything new.
    pub(super) fn renew(&mut self, thing: T, at: Millis) {
        match self.seen.get_mut(&thing) {
            Some(times) => times.last = times.last.max(at),
            None => _ = self.add(thing, at),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&T, Times)> {
        self.seen.iter().map(|(thing, times)| (thing, *times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_bounded_and_what_was_there_goes_on_being_counted() {
        let mut counted = Counted::up_to(2);
        for (thing, at) in [("a", 1), ("b", 2), ("c", 3), ("a", 9), ("a", 4)] {
            assert_eq!(counted.add(thing, at), thing != "c");
        }
        let seen: Vec<_> = counted.iter().collect();
        assert_eq!(seen[0], (&"a", Times { count: 3, last: 9 }));
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_as_others() {
        let mut counted = Counted::up_to(1);
        for thing in ["a", "b", "c"] {
            counted.add_or(thing, || "others", 1);
        }
        let counts: Vec<_> = counted.iter().map(|(thing, times)| (*thing, times.count)).collect();
        assert_eq!(counts, [("a", 1), ("others", 2)]);
    }
}
