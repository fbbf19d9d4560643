//! Keys that must be copied again, by name.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{KeyRef, Millis};
use crate::engine::ledger::{Fingerprint, Groups, Passthrough};

/// What a dirty key weighs beyond its name, roughly.
const KEY_WEIGHT: usize = 160;

/// Why a key is copied again. Also the label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It was written before its first copy.
    Unmigrated,
    /// Its effect can't be told by commands.
    Effect,
    /// The secondary's answer to its effect was not the primary's.
    Mismatch,
    /// The outcome of a write or of an effect is unknown: a connection was lost.
    Unknown,
    /// The effect log was full.
    Overflow,
    /// The secondary refused the effect or the copy.
    Refused,
    /// A comparison found it different.
    Verify,
    /// The secondary answered a read of a client otherwise.
    Shadow,
    /// A script may have written it without declaring it.
    Undeclared,
    /// Another process answers at the address of one of the servers: it may hold anything.
    Replaced,
    /// The clock of one of the servers was set.
    Clock,
    /// The operator asked for it.
    Resync,
}

impl Cause {
    pub(crate) const ALL: [Self; 12] = [
        Self::Unmigrated,
        Self::Effect,
        Self::Mismatch,
        Self::Unknown,
        Self::Overflow,
        Self::Refused,
        Self::Verify,
        Self::Shadow,
        Self::Undeclared,
        Self::Replaced,
        Self::Clock,
        Self::Resync,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Unmigrated => "unmigrated",
            Self::Effect => "effect",
            Self::Mismatch => "mismatch",
            Self::Unknown => "unknown",
            Self::Overflow => "overflow",
            Self::Refused => "refused",
            Self::Verify => "verify",
            Self::Shadow => "shadow",
            Self::Undeclared => "undeclared",
            Self::Replaced => "replaced",
            Self::Clock => "clock",
            Self::Resync => "resync",
        }
    }
}

/// A key to be copied again.
#[derive(Clone, Debug)]
pub(crate) struct DirtyKey {
    /// Its space.
    pub space: u32,
    /// Its name.
    pub key: Bytes,
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub since: Millis,
    /// How often its copy has been tried in vain.
    pub attempts: u8,
}

/// The dirty keys in the order of their coming, bounded in bytes; past the bound only their groups
/// are remembered.
#[derive(Debug)]
pub(super) struct DirtyKeys {
    keys: HashMap<Fingerprint, DirtyKey, Passthrough>,
    queue: VecDeque<Fingerprint>,
    bytes: usize,
    limit: usize,
    lost: Groups,
}

impl DirtyKeys {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            keys: HashMap::default(),
            queue: VecDeque::new(),
            bytes: 0,
            limit,
            lost: Groups::default(),
        }
    }

    /// Remembers a key; false when only its group could be remembered.
    pub(super) fn insert(
        &mut self,
        named: &KeyRef,
        cause: Cause,
        since: Millis,
        attempts: u8,
    ) -> bool {
        if let Some(known) = self.keys.get_mut(&named.fingerprint) {
            known.attempts = known.attempts.max(attempts);
            return true;
        }
        let weight = named.key.len() + KEY_WEIGHT;
        if self.bytes + weight > self.limit {
            self.lost.insert(named.fingerprint.group());
            return false;
        }
        self.bytes += weight;
        let key = Bytes::copy_from_slice(&named.key);
        let dirty = DirtyKey { space: named.space, key, cause, since, attempts };
        self.keys.insert(named.fingerprint, dirty);
        self.queue.push_back(named.fingerprint);
        true
    }

    /// Takes a key out, because its copy begins or its state has become known otherwise.
    pub(super) fn remove(&mut self, fingerprint: Fingerprint) -> Option<DirtyKey> {
        let dirty = self.keys.remove(&fingerprint)?;
        self.bytes -= dirty.key.len() + KEY_WEIGHT;
        Some(dirty)
    }

    /// The next key in line that may go, taken out; those that may not keep their places.
    pub(super) fn next(
        &mut self,
        may_go: impl Fn(Fingerprint) -> bool,
    ) -> Option<(Fingerprint, DirtyKey)> {
        let mut stay = SmallVec::<[Fingerprint; 4]>::new();
        let mut found = None;
        while found.is_none() {
            let Some(key) = self.queue.pop_front() else { break };
            if may_go(key) {
                found = self.remove(key).map(|dirty| (key, dirty));
            } else if self.keys.contains_key(&key) && !stay.contains(&key) {
                stay.push(key);
            }
        }
        stay.into_iter().rev().for_each(|key| self.queue.push_front(key));
        found
    }

    pub(super) fn get(&self, fingerprint: Fingerprint) -> Option<&DirtyKey> {
        self.keys.get(&fingerprint)
    }

    /// Groups of keys that found no room, to be scanned again; forgotten by this call.
    pub(super) fn take_lost(&mut self) -> Groups {
        std::mem::take(&mut self.lost)
    }

    /// Groups of keys that found no room.
    pub(super) fn lost(&self) -> &Groups {
        &self.lost
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    pub(super) fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.keys.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Since when the key at the head of the line is dirty.
    pub(super) fn oldest(&self) -> Option<Millis> {
        self.queue.iter().find_map(|fingerprint| self.keys.get(fingerprint)).map(|key| key.since)
    }
}
