//! Per-key migration marks: which keys the secondary holds, and which it must be given again.
//!
//! *What it is:* a default and its exceptions. While the keys are scanned the default is
//! [`State::Unmigrated`] and exceptions are marked; once the scan has ended the default is
//! [`State::Migrated`] and only dirty and copying keys are held, so memory returns to almost
//! nothing. Defaults are kept for groups of keys, so that a few groups can be resynchronised while
//! the rest stays migrated.
//!
//! *Guarantees:* at most 24 bytes a key however many there are, and nearly the same time for each.
//! Marks can be looked up from any task ([`Ledger::marks`]) while the owner of the ledger
//! changes them.
//!
//! *Must not know:* the keys' names, what a write is, time.
//!
//! A mark is found by a 64-bit fingerprint of database and key under a secret seed. Two keys of a
//! million share one with a probability of 3 in 10^8 (of a billion: 3 in 100); they would share a
//! mark, so that one of them could be taken for copied when it is not. `verify` finds and mends it.

mod fingerprint;
mod groups;
mod marks;

use std::fmt;
use std::sync::Arc;

pub use fingerprint::{Fingerprint, Seed};
pub(crate) use groups::{GROUPS, WORDS};
pub use groups::{Group, Groups};
pub use marks::Marks;

pub(crate) use fingerprint::Passthrough;

/// Where a key stands between the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not copied yet; its writes are not mirrored, and make it dirty.
    Unmigrated,
    /// The secondary holds it; its effects flow.
    Migrated,
    /// Must be copied (again); its effects do not flow.
    Dirty,
    /// Its value is being read; its effects do not flow.
    Copying,
    /// As copying, but written since the read began: what was read is void.
    Touched,
}

/// The marks of all keys.
#[derive(Debug)]
pub struct Ledger {
    /// States that differ from their keys' default.
    marks: Arc<Marks>,
    defaults: Defaults,
    discarded: Discarded,
}

/// Marks that are of no use any more. To free tens of millions of them takes a while, for which no
/// client should wait.
#[derive(Default)]
pub(crate) struct Discarded(Vec<Box<dyn Send>>);

impl fmt::Debug for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Discarded").field(&self.0.len()).finish()
    }
}

#[derive(Debug, Default)]
struct Defaults {
    /// Groups whose keys are migrated unless marked.
    migrated: Groups,
    /// Spaces that were flushed since the pass began: nothing old is left in them to copy.
    flushed: Vec<u32>,
    /// Whether all spaces were.
    all_flushed: bool,
}

impl Defaults {
    fn of(&self, space: u32, fingerprint: Fingerprint) -> State {
        let flushed = self.all_flushed || self.flushed.contains(&space);
        if flushed || self.migrated.contains(fingerprint.group()) {
            State::Migrated
        } else {
            State::Unmigrated
        }
    }
}

impl Ledger {
    /// A ledger whose default is [`State::Migrated`] for `migrated` and unmigrated for the rest.
    pub fn new(migrated: Groups) -> Self {
        let defaults = Defaults { migrated, ..Defaults::default() };
        Self { marks: Arc::new(Marks::new()), defaults, discarded: Discarded::default() }
    }

    /// Where a key stands.
    pub fn state(&self, space: u32, fingerprint: Fingerprint) -> State {
        let mark = self.marks.get(fingerprint);
        mark.unwrap_or_else(|| self.defaults.of(space, fingerprint))
    }

    /// The marks, to be looked up without the ledger.
    pub fn marks(&self) -> Arc<Marks> {
        self.marks.clone()
    }

    /// Takes a key that must be copied for copying; its state before.
    pub fn claim(&mut self, space: u32, fingerprint: Fingerprint) -> State {
        let default = self.defaults.of(space, fingerprint);
        let before = self.marks.change(fingerprint, |mark| match mark.unwrap_or(default) {
            State::Unmigrated | State::Dirty => Some(State::Copying),
            _ => mark,
        });
        before.unwrap_or(default)
    }

    /// Moves a key that is being copied to migrated. False when it is not being copied, or touched.
    pub fn settle(&mut self, space: u32, fingerprint: Fingerprint) -> bool {
        let migrated = State::Migrated;
        let exception = (self.defaults.of(space, fingerprint) != migrated).then_some(migrated);
        let before = self.marks.change(fingerprint, |mark| match mark {
            Some(State::Copying) => exception,
            _ => mark,
        });
        before == Some(State::Copying)
    }

    /// Moves a key to `state`.
    pub fn set(&mut self, space: u32, fingerprint: Fingerprint, state: State) {
        if self.defaults.of(space, fingerprint) == state {
            self.marks.remove(fingerprint);
        } else {
            self.marks.insert(fingerprint, state);
        }
    }

    /// Everything in `space` (`None`: in all) is gone on both servers: what is written from now on
    /// is mirrored.
    pub fn flush(&mut self, space: Option<u32>) {
        let flushed = &mut self.defaults.flushed;
        match space {
            None => self.defaults.all_flushed = true,
            Some(space) if !flushed.contains(&space) => flushed.push(space),
            Some(_) => {}
        }
    }

    /// Begins a pass: `groups` count as unmigrated until [`Self::end_pass`].
    pub fn begin_pass(&mut self, groups: &Groups, keep: &[(Fingerprint, State)]) {
        self.defaults.flushed.clear();
        self.defaults.all_flushed = false;
        for group in groups.iter() {
            self.defaults.migrated.remove(group);
        }
        self.replace(keep);
    }

    /// Ends a pass: all groups are migrated but those in `lost`; `keep` are exceptions by key.
    pub fn end_pass(&mut self, keep: &[(Fingerprint, State)], lost: &Groups) {
        self.defaults = Defaults { migrated: lost.others(), ..Defaults::default() };
        self.replace(keep);
    }

    fn replace(&mut self, keep: &[(Fingerprint, State)]) {
        self.discarded.0.push(Box::new(self.marks.clear()));
        for (fingerprint, state) in keep {
            self.marks.insert(*fingerprint, *state);
        }
    }

    /// To be freed where no client waits for it.
    pub(crate) fn take_discarded(&mut self) -> Discarded {
        std::mem::take(&mut self.discarded)
    }

    /// Marks held.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether no mark is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that the marks take, in bytes.
    pub fn bytes(&self) -> usize {
        self.marks.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(key: &str) -> Fingerprint {
        Seed::from_bytes([7; 8]).fingerprint(0, key.as_bytes())
    }

    #[test]
    fn a_mark_that_equals_the_default_costs_nothing() {
        let mut ledger = Ledger::new(Groups::default());
        let key = fingerprint("a");
        assert_eq!(ledger.state(0, key), State::Unmigrated);
        ledger.set(0, key, State::Migrated);
        assert_eq!((ledger.state(0, key), ledger.len()), (State::Migrated, 1));
        ledger.end_pass(&[], &Groups::default());
        assert_eq!((ledger.state(0, key), ledger.len()), (State::Migrated, 0));
        ledger.set(0, key, State::Dirty);
        ledger.set(0, key, State::Migrated);
        assert!(ledger.is_empty());
    }

    #[test]
    fn a_flushed_space_needs_no_copy_until_the_next_pass() {
        let mut ledger = Ledger::new(Groups::default());
        let key = fingerprint("a");
        ledger.flush(Some(0));
        assert_eq!(ledger.state(0, key), State::Migrated);
        assert_eq!(ledger.state(1, key), State::Unmigrated);
        ledger.begin_pass(&Groups::full(), &[]);
        assert_eq!(ledger.state(0, key), State::Unmigrated);
    }

    #[test]
    fn a_pass_over_some_groups_leaves_the_others_migrated() {
        let mut ledger = Ledger::new(Groups::full());
        let (a, b) = (fingerprint("a"), fingerprint("b"));
        assert_ne!(a.group(), b.group());
        let mut groups = Groups::default();
        groups.insert(a.group());
        ledger.begin_pass(&groups, &[]);
        assert_eq!(ledger.state(0, a), State::Unmigrated);
        assert_eq!(ledger.state(0, b), State::Migrated);
    }

    #[test]
    fn a_claimed_key_settles_unless_it_was_touched() {
        let mut ledger = Ledger::new(Groups::default());
        let (a, b) = (fingerprint("a"), fingerprint("b"));
        assert_eq!((ledger.claim(0, a), ledger.claim(0, a)), (State::Unmigrated, State::Copying));
        assert!(ledger.settle(0, a) && !ledger.settle(0, a));
        assert_eq!((ledger.state(0, a), ledger.claim(0, a)), (State::Migrated, State::Migrated));
        ledger.claim(0, b);
        ledger.set(0, b, State::Touched);
        assert!(!ledger.settle(0, b));
    }

    #[test]
    fn a_mark_takes_at_most_24_bytes() {
        let mut ledger = Ledger::new(Groups::default());
        for count in 1..300_000 {
            ledger.set(0, fingerprint(&count.to_string()), State::Migrated);
            // Where tables have just grown, they are emptiest.
            if count >= 10_000 && count % 1_000 == 0 {
                assert!(ledger.bytes() <= count * 24, "{} bytes of {count}", ledger.bytes());
            }
        }
    }
}
