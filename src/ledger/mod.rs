//! Per-key migration marks: which keys the secondary holds, and which it must be given again.
//!
//! *What it is:* a default and its exceptions. While the keys are scanned the default is
//! [`State::Unmigrated`] and exceptions are marked; once the scan has ended the default is
//! [`State::Migrated`] and only dirty and copying keys are held, so memory returns to almost
//! nothing. Defaults are kept for groups of keys, so that a few groups can be resynchronised while
//! the rest stays migrated.
//!
//! *Guarantees:* at most 23 bytes a key however many there are (10 bytes a slot, at least 44 % of
//! the slots in use).
//!
//! *Must not know:* the keys' names, what a write is, time.
//!
//! A mark is found by a 64-bit fingerprint of database and key under a secret seed. Two keys of a
//! million share one with a probability of 3 in 10^8 (of a billion: 3 in 100); they would share a
//! mark, so that one of them could be taken for copied when it is not. `verify` finds and mends it.

mod fingerprint;
mod groups;

use dashmap::{DashMap, Entry};
use parking_lot::RwLock;

pub use fingerprint::{Fingerprint, Seed};
pub use groups::{GROUPS, Group, Groups, WORDS};

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

/// Pieces that grow one by one: none holds the engine up for long while it moves its marks.
const SHARDS: usize = 256;

/// One byte in the map: a state that differs from the key's default.
type Marks = DashMap<Fingerprint, State, Passthrough>;

/// The marks of all keys.
#[derive(Debug)]
pub struct Ledger {
    marks: RwLock<Marks>,
    defaults: RwLock<Defaults>,
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
        Self { marks: RwLock::new(marks()), defaults: RwLock::new(defaults) }
    }

    /// Where a key stands.
    pub fn state(&self, space: u32, fingerprint: Fingerprint) -> State {
        let mark = self.marks.read().get(&fingerprint).map(|mark| *mark);
        mark.unwrap_or_else(|| self.defaults.read().of(space, fingerprint))
    }

    /// Takes a key that must be copied for copying; its state before.
    pub fn claim(&self, space: u32, fingerprint: Fingerprint) -> State {
        let default = self.defaults.read().of(space, fingerprint);
        let marks = self.marks.read();
        let mark = marks.entry(fingerprint);
        let state = if let Entry::Occupied(mark) = &mark { *mark.get() } else { default };
        if matches!(state, State::Unmigrated | State::Dirty) {
            mark.insert(State::Copying);
        }
        state
    }

    /// Moves a key that is being copied to migrated. False when it is not being copied, or touched.
    pub fn settle(&self, space: u32, fingerprint: Fingerprint) -> bool {
        let default = self.defaults.read().of(space, fingerprint);
        let marks = self.marks.read();
        let Entry::Occupied(mut mark) = marks.entry(fingerprint) else { return false };
        let counts = *mark.get() == State::Copying;
        if counts && default == State::Migrated {
            mark.remove();
        } else if counts {
            mark.insert(State::Migrated);
        }
        counts
    }

    /// Moves a key to `state`.
    pub fn set(&self, space: u32, fingerprint: Fingerprint, state: State) {
        let is_default = self.defaults.read().of(space, fingerprint) == state;
        let marks = self.marks.read();
        if is_default {
            marks.remove(&fingerprint);
        } else {
            marks.insert(fingerprint, state);
        }
    }

    /// Everything in `space` (`None`: in all) is gone on both servers: what is written from now on
    /// is mirrored.
    pub fn flush(&self, space: Option<u32>) {
        let mut defaults = self.defaults.write();
        match space {
            None => defaults.all_flushed = true,
            Some(space) if !defaults.flushed.contains(&space) => defaults.flushed.push(space),
            Some(_) => {}
        }
    }

    /// Begins a pass: `groups` count as unmigrated until [`Self::end_pass`].
    pub fn begin_pass(&self, groups: &Groups, keep: &[(Fingerprint, State)]) {
        let mut defaults = self.defaults.write();
        defaults.flushed.clear();
        defaults.all_flushed = false;
        for group in groups.iter() {
            defaults.migrated.remove(group);
        }
        drop(defaults);
        self.replace(keep);
    }

    /// Ends a pass: all groups are migrated, `keep` are the exceptions.
    pub fn end_pass(&self, keep: &[(Fingerprint, State)]) {
        *self.defaults.write() = Defaults { migrated: Groups::full(), ..Defaults::default() };
        self.replace(keep);
    }

    fn replace(&self, keep: &[(Fingerprint, State)]) {
        let fresh = marks();
        for (fingerprint, state) in keep {
            fresh.insert(*fingerprint, *state);
        }
        let old = std::mem::replace(&mut *self.marks.write(), fresh);
        // Freeing tens of millions of marks takes a while that no client should wait for.
        if old.len() > 100_000 {
            std::thread::spawn(move || drop(old));
        }
    }

    /// Marks held.
    pub fn len(&self) -> usize {
        self.marks.read().len()
    }

    /// Whether no mark is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that the marks take, in bytes.
    pub fn bytes(&self) -> usize {
        // A slot is a mark and a control byte; of the slots that capacity counts, 7 in 8 are used.
        let slots = self.marks.read().capacity() * 8 / 7;
        slots * (size_of::<(Fingerprint, State)>() + 1)
    }
}

fn marks() -> Marks {
    DashMap::with_hasher_and_shard_amount(Passthrough, SHARDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(key: &str) -> Fingerprint {
        Seed::from_bytes([7; 8]).fingerprint(0, key.as_bytes())
    }

    #[test]
    fn a_mark_that_equals_the_default_costs_nothing() {
        let ledger = Ledger::new(Groups::default());
        let key = fingerprint("a");
        assert_eq!(ledger.state(0, key), State::Unmigrated);
        ledger.set(0, key, State::Migrated);
        assert_eq!((ledger.state(0, key), ledger.len()), (State::Migrated, 1));
        ledger.end_pass(&[]);
        assert_eq!((ledger.state(0, key), ledger.len()), (State::Migrated, 0));
        ledger.set(0, key, State::Dirty);
        ledger.set(0, key, State::Migrated);
        assert!(ledger.is_empty());
    }

    #[test]
    fn a_flushed_space_needs_no_copy_until_the_next_pass() {
        let ledger = Ledger::new(Groups::default());
        let key = fingerprint("a");
        ledger.flush(Some(0));
        assert_eq!(ledger.state(0, key), State::Migrated);
        assert_eq!(ledger.state(1, key), State::Unmigrated);
        ledger.begin_pass(&Groups::full(), &[]);
        assert_eq!(ledger.state(0, key), State::Unmigrated);
    }

    #[test]
    fn a_pass_over_some_groups_leaves_the_others_migrated() {
        let ledger = Ledger::new(Groups::full());
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
        let ledger = Ledger::new(Groups::default());
        let (a, b) = (fingerprint("a"), fingerprint("b"));
        assert_eq!((ledger.claim(0, a), ledger.claim(0, a)), (State::Unmigrated, State::Copying));
        assert!(ledger.settle(0, a) && !ledger.settle(0, a));
        assert_eq!((ledger.state(0, a), ledger.claim(0, a)), (State::Migrated, State::Migrated));
        ledger.claim(0, b);
        ledger.set(0, b, State::Touched);
        assert!(!ledger.settle(0, b));
    }

    #[test]
    fn twenty_million_marks_stay_under_24_bytes_each() {
        assert_eq!(size_of::<(Fingerprint, State)>(), 9);
        let ledger = Ledger::new(Groups::default());
        let count = 300_000u64;
        for key in 0..count {
            ledger.set(0, fingerprint(&key.to_string()), State::Migrated);
        }
        assert!(ledger.bytes() as u64 / count < 24, "{} bytes", ledger.bytes());
    }
}
