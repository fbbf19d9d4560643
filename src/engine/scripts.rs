//! Scripts write what they do not declare.
//!
//! A server tells a tracking connection which keys are written, by whomever, right after the reply
//! to the command that wrote them. From the moment that a script is sent until a question asked
//! behind its reply has been answered there, every key that is told may be the script's, and is
//! copied again. That is more than the script wrote, never less.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use bytes::Bytes;

use super::{Cause, Engine, Unit};

/// Scripts remembered as told.
const TOLD: usize = 10_000;

/// The scripts under way and not yet accounted for.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// Nobody tells which keys they write.
    deaf: bool,
    running: u32,
    /// Scripts answered since the start.
    finished: u64,
    /// Scripts whose keys have all been told.
    fenced: u64,
    /// The primary's databases in which they ran.
    dbs: Vec<u32>,
    /// Digests of the scripts that the secondary has been told.
    told: HashSet<u64>,
}

impl Scripts {
    pub(super) fn begin(&mut self, dbs: impl Iterator<Item = u32>) {
        self.running += 1;
        for db in dbs {
            if !self.dbs.contains(&db) {
                self.dbs.push(db);
            }
        }
    }

    /// Whether the secondary has not been told this script yet; from now on it has.
    pub(super) fn is_first(&mut self, body: &[u8]) -> bool {
        // Whoever makes scripts without end will have some told again.
        if self.told.len() >= TOLD {
            self.told.clear();
        }
        self.told.insert(xxh3_64(body))
    }

    /// What the secondary knows is in doubt.
    pub(super) fn forget_told(&mut self) {
        self.told.clear();
    }

    pub(super) fn finish(&mut self) {
        self.running -= 1;
        self.finished += 1;
    }

    /// Every key of the first `count` scripts has been told.
    pub(super) fn fence(&mut self, count: u64) {
        self.fenced = self.fenced.max(count);
        if !self.is_open() {
            self.dbs.clear();
        }
    }

    /// How many scripts have been answered, when that is more than have been accounted for.
    pub(super) fn unfenced(&self) -> Option<u64> {
        (!self.deaf && self.finished > self.fenced).then_some(self.finished)
    }

    /// Scripts answered since the start.
    pub(super) fn finished(&self) -> u64 {
        self.finished
    }

    /// Whether all is told of the first `count` scripts that ever will be.
    pub(super) fn has_told(&self, count: u64) -> bool {
        self.deaf || self.fenced >= count
    }

    /// Whether a key that is told now may be a script's.
    pub(super) fn is_open(&self) -> bool {
        !self.deaf && (self.running > 0 || self.finished > self.fenced)
    }

    pub(super) fn dbs(&self) -> &[u32] {
        &self.dbs
    }
}

impl Engine {
    pub(super) fn end_script(&mut self, unit: &Unit) {
        if unit.scripts {
            self.scripts.finish();
        }
    }

    /// The primary does not tell which keys are written: what scripts declare has to do.
    pub fn stop_following_scripts(&mut self) {
        self.scripts.deaf = true;
    }

    /// Whether a key that the primary tells now may have been written by a script.
    pub fn scripts_are_open(&self) -> bool {
        self.scripts.is_open()
    }

    /// How many scripts have been answered, when some wait for [`Self::scripts_fenced`].
    pub fn unfenced_scripts(&self) -> Option<u64> {
        self.scripts.unfenced()
    }

    /// All keys that the first `count` scripts wrote have been told.
    pub fn scripts_fenced(&mut self, count: u64) {
        self.scripts.fence(count);
    }

    /// The primary tells that these keys were written, by scripts perhaps.
    pub fn written_by_scripts(&mut self, keys: &[Bytes]) {
        if !self.scripts.is_open() {
            return;
        }
        for db in self.scripts.dbs().to_vec() {
            for key in keys {
                let named = self.named(db, key.clone());
                self.soil(&named, Cause::Undeclared);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_for_a_scripts_until_a_fence_behind_its_reply() {
        let mut scripts = Scripts::default();
        assert!(!scripts.is_open());
        scripts.begin([3].into_iter());
        scripts.finish();
        assert!(scripts.is_open());
        assert_eq!((scripts.unfenced(), scripts.dbs()), (Some(1), [3].as_slice()));
        scripts.begin([3].into_iter());
        scripts.fence(1);
        assert!(scripts.is_open(), "another one is running");
        scripts.finish();
        scripts.fence(2);
        assert!(!scripts.is_open() && scripts.dbs().is_empty());
        scripts.begin([3].into_iter());
        scripts.deaf = true;
        assert!(!scripts.is_open(), "nobody tells, so nothing is waited for");
    }
}
