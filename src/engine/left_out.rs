//! Keys whose values the secondary cannot hold: of a type, or with a feature, that it lacks.
//!
//! The secondary has nothing under their names, never a part. They are no longer dirty, since trying
//! again would not help, but remembered by name until they get a value that can be carried: a flip
//! would lose them. What finds no room here stays dirty.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Accepted, Cause, Copied, Engine, KeyRef, Ticket};
use crate::engine::effect::{Expect, Step};
use crate::engine::ledger::{Fingerprint, Passthrough};
use crate::protocol::resp::Request;

/// Room for names, in bytes, and what each weighs beyond its length, roughly.
const ROOM: usize = 16 * 1024 * 1024;
const WEIGHT: usize = 200;

/// What the secondary lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lack {
    /// A module's type, or one that came later.
    Type(Bytes),
    /// An end for single fields of a hash.
    FieldExpiry,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(name) => write!(f, "values of type {}", name.escape_ascii()),
            Self::FieldExpiry => f.write_str("hash fields that expire"),
        }
    }
}

/// Keys that are alike: what they lack, and what their names have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    /// What the secondary lacks.
    pub lack: Lack,
    /// Their name with `*` for what tells them apart.
    pub pattern: String,
}

#[derive(Debug, Default)]
pub(super) struct LeftOut {
    keys: HashMap<Fingerprint, (KeyRef, Group), Passthrough>,
    groups: BTreeMap<Group, usize>,
    bytes: usize,
}

impl LeftOut {
    pub(super) fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.keys.contains_key(&fingerprint)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.keys.keys().copied()
    }

    fn has_room_for(&self, named: &KeyRef) -> bool {
        self.contains(named.fingerprint) || self.bytes + weight(named) <= ROOM
    }

    fn insert(&mut self, named: &KeyRef, lack: Lack) {
        self.remove(named.fingerprint);
        let group = Group { lack, pattern: pattern(&named.key) };
        *self.groups.entry(group.clone()).or_default() += 1;
        self.bytes += weight(named);
        let key = Bytes::copy_from_slice(&named.key);
        self.keys.insert(named.fingerprint, (KeyRef { key, ..named.clone() }, group));
    }

    pub(super) fn remove(&mut self, fingerprint: Fingerprint) {
        let Some((named, group)) = self.keys.remove(&fingerprint) else { return };
        self.bytes -= weight(&named);
        if let Some(count) = self.groups.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&group);
            }
        }
    }

    /// A space was emptied, or all of them.
    pub(super) fn flush(&mut self, space: Option<u32>) {
        let gone = |named: &KeyRef| space.is_none_or(|space| named.space == space);
        let gone = self.keys.values().filter(|(named, _)| gone(named));
        let gone: Vec<Fingerprint> = gone.map(|(named, _)| named.fingerprint).collect();
        for fingerprint in gone {
            self.remove(fingerprint);
        }
    }
}

fn weight(named: &KeyRef) -> usize {
    named.key.len() + WEIGHT
}

/// A key's name without what mostly tells it from its like: what stands behind the last colon, and
/// every number.
pub(crate) fn pattern(key: &[u8]) -> String {
    let kept =
        key.iter().rposition(|byte| *byte == b':').map_or(key, |colon| key.split_at(colon + 1).0);
    let mut pattern = String::new();
    for byte in kept.iter().take(60) {
        match byte {
            b'0'..=b'9' if pattern.ends_with('*') => {}
            b'0'..=b'9' => pattern.push('*'),
            byte => pattern.extend(byte.escape_ascii().map(char::from)),
        }
    }
    if kept.len() < key.len() || kept.len() > 60 {
        pattern.push('*');
    }
    pattern
}

impl Engine {
    /// Offers, instead of a copy, that the secondary cannot hold the value: it gets none.
    pub(crate) fn leave_out(&mut self, ticket: &Ticket, in_position: bool, lack: Lack) -> Accepted {
        if !self.left_out.has_room_for(ticket.key_ref()) {
            self.refuse(ticket);
            return Accepted::Again;
        }
        let delete = Request::new([b"DEL".as_ref(), ticket.key()]);
        let steps = SmallVec::from_iter([Step { request: delete, expect: Expect::Success }]);
        let accepted = self.place(ticket, &Copied { steps, in_position });
        if matches!(accepted, Accepted::At(_)) {
            self.copying.remove(&ticket.key_ref().fingerprint);
            self.left_out.insert(ticket.key_ref(), lack);
        }
        accepted
    }

    /// How many keys are left out.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// What is left out, and how many keys of each kind.
    pub(crate) fn left_out_groups(&self) -> impl Iterator<Item = (&Group, usize)> {
        self.left_out.groups.iter().map(|(group, count)| (group, *count))
    }

    /// Some may have ended, or have got a value that can be carried: each is looked at again.
    pub(crate) fn retry_left_out(&mut self) {
        let keys: Vec<KeyRef> =
            self.left_out.keys.values().map(|(named, _)| named.clone()).collect();
        for named in keys {
            self.mark_dirty(&named, Cause::Refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Seed;

    fn named(space: u32, key: &'static str) -> KeyRef {
        let fingerprint = Seed::from_bytes([7; 8]).fingerprint(space, key.as_bytes());
        KeyRef { fingerprint, space, key: Bytes::from_static(key.as_bytes()) }
    }

    #[test]
    fn a_pattern_is_what_alike_keys_have_in_common() {
        for (key, expected) in [
            ("user:17:vectors", "user:*:*"),
            ("vectors", "vectors"),
            ("v12-34", "v*-*"),
            ("a:b\u{ff}", "a:*"),
            ("", ""),
        ] {
            assert_eq!(pattern(key.as_bytes()), expected);
        }
    }

    #[test]
    fn a_key_that_is_left_out_stays_in_the_record() {
        let mut engine = crate::engine::copy_batch::tests::engine(1 << 20);
        engine.end_pass();
        engine.keep_record(crate::engine::ledger::Groups::default());
        let key = engine.key_ref(0, Bytes::from_static(b"vectors"));
        engine.mark_dirty(&key, Cause::Effect);
        let ticket = engine.claim_dirty(1).remove(0);
        assert!(matches!(engine.leave_out(&ticket, false, Lack::FieldExpiry), Accepted::At(_)));
        for entry in engine.take_effects(usize::MAX) {
            engine.applied(&entry);
        }
        for _ in 0..3 {
            engine.let_settled_groups_go();
        }
        assert_eq!(engine.recorded(), Some(1), "the next process must find it again");
        engine.mark_dirty(&key, Cause::Effect);
        let ticket = engine.claim_dirty(1).remove(0);
        let steps = SmallVec::from_iter([Step {
            request: Request::new(["RESTORE"]),
            expect: Expect::Success,
        }]);
        assert!(matches!(
            engine.accept(&ticket, &Copied { steps, in_position: false }),
            Accepted::At(_)
        ));
        for entry in engine.take_effects(usize::MAX) {
            engine.applied(&entry);
        }
        for _ in 0..3 {
            engine.let_settled_groups_go();
        }
        assert_eq!(engine.recorded(), Some(0));
    }

    #[test]
    fn keys_are_counted_by_their_like_until_they_are_gone() {
        let mut left_out = LeftOut::default();
        let vectors = || Lack::Type(Bytes::from_static(b"vectorset"));
        left_out.insert(&named(0, "v:1"), vectors());
        left_out.insert(&named(0, "v:2"), vectors());
        left_out.insert(&named(0, "v:2"), Lack::FieldExpiry);
        left_out.insert(&named(1, "v:2"), Lack::FieldExpiry);
        let counts: Vec<usize> = left_out.groups.values().copied().collect();
        assert_eq!((left_out.len(), counts), (3, vec![1, 2]));
        left_out.flush(Some(0));
        assert_eq!((left_out.len(), left_out.groups.len()), (1, 1));
        left_out.flush(None);
        assert_eq!((left_out.len(), left_out.bytes, left_out.groups.len()), (0, 0, 0));
    }
}
