//! Keys that rest: a copy of theirs took long, and another one at once would only cost the primary.
//!
//! *Rule:* a copy that was in vain is tried again when nobody has written to the key for twice as long
//! as it took, or after a rest that gets twice as long each time. After one that counted the key rests
//! a few times as long as it took. So what is written all the time, in ways that no copy can follow,
//! stays dirty, and takes no more than a part of the primary's time. A flip, which waits until no key is
//! dirty, ends all rests.

use std::collections::{BTreeMap, HashMap};

use super::left_out::pattern;
use super::{Engine, Millis};
use crate::engine::ledger::{Fingerprint, Passthrough};

/// Copies that take less are of no account.
const LONG: Millis = 20;
const LONGEST: Millis = 30_000;
/// How many times as long as a copy that counted its key rests.
const AFTER: Millis = 4;
/// After so many copies in vain a key is told of.
const RESTLESS: u8 = 4;
/// With so many keys remembered, those that may be copied are forgotten.
const MANY: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Millis,
    /// It is over earlier when nobody has written for so long.
    quiet: Option<Millis>,
    written: Millis,
}

impl Rest {
    fn lasts(&self, now: Millis) -> bool {
        let quiet = self.quiet.is_some_and(|quiet| now.saturating_sub(self.written) >= quiet);
        now < self.until && !quiet
    }
}

#[derive(Debug, Default)]
pub(super) struct Rests {
    keys: HashMap<Fingerprint, Rest, Passthrough>,
    /// Somebody waits: nobody rests.
    suspended: bool,
}

impl Rests {
    pub(super) fn lasts(&self, key: Fingerprint, now: Millis) -> bool {
        !self.suspended && self.keys.get(&key).is_some_and(|rest| rest.lasts(now))
    }

    pub(super) fn was_written(&mut self, key: Fingerprint, now: Millis) {
        if !self.keys.is_empty() {
            self.keys.entry(key).and_modify(|rest| rest.written = now);
        }
    }

    fn remove(&mut self, key: Fingerprint) {
        if !self.keys.is_empty() {
            self.keys.remove(&key);
        }
    }

    fn insert(&mut self, key: Fingerprint, rest: Rest) {
        if self.keys.len() >= MANY {
            self.keys.retain(|_, other| other.lasts(rest.written));
        }
        self.keys.insert(key, rest);
    }
}

impl Engine {
    /// A copy that began then was in vain, as so many before it.
    pub(super) fn rest_in_vain(&mut self, key: Fingerprint, began: Option<Millis>, attempts: u8) {
        let Some(took) = self.took_long(began) else { return };
        let rest = took.saturating_mul(1 << attempts.min(6)).min(LONGEST);
        let (until, quiet) = (self.now + rest, Some(2 * took));
        self.rests.insert(key, Rest { until, quiet, written: self.now });
    }

    /// A copy that began then counts.
    pub(super) fn rest_after(&mut self, key: Fingerprint, began: Option<Millis>) {
        let Some(took) = self.took_long(began) else {
            self.rests.remove(key);
            return;
        };
        let until = self.now + (AFTER * took).min(LONGEST);
        self.rests.insert(key, Rest { until, quiet: None, written: self.now });
    }

    fn took_long(&self, began: Option<Millis>) -> Option<Millis> {
        began.map(|began| self.now.saturating_sub(began)).filter(|took| *took >= LONG)
    }

    /// Somebody waits until no key is dirty, or does not any more.
    pub(crate) fn hurry_copies(&mut self, hurry: bool) {
        self.rests.suspended = hurry;
    }

    /// Dirty keys whose last copy took long.
    pub(super) fn costly_keys(&self) -> usize {
        self.rests.keys.keys().filter(|key| self.dirty.get(**key).is_some()).count()
    }

    /// Dirty keys that rest.
    pub(super) fn resting(&self) -> usize {
        let rests = self.rests.keys.keys().filter(|key| self.dirty.get(**key).is_some());
        rests.filter(|key| self.rests.lasts(**key, self.now)).count()
    }

    /// Keys that are written faster than they can be copied, by what their names have in common.
    pub(crate) fn restless(&self) -> BTreeMap<String, usize> {
        let mut restless = BTreeMap::new();
        for key in self.rests.keys.keys() {
            let dirty = self.dirty.get(*key).filter(|dirty| dirty.attempts >= RESTLESS);
            if let Some(dirty) = dirty {
                *restless.entry(pattern(&dirty.key)).or_default() += 1;
            }
        }
        restless
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Cause;
    use crate::engine::copy_batch::tests::{claim, engine};

    /// A copy that takes so long and is voided by a write in the middle of it.
    fn copy_in_vain(engine: &mut crate::engine::Engine, took: u64) {
        let ticket = engine.claim_dirty(1).pop().expect("a dirty key");
        engine.follow(&ticket);
        engine.mark_dirty(ticket.key_ref(), Cause::Effect);
        engine.tick(engine.now + took);
        engine.abandon(&ticket);
    }

    #[test]
    fn a_key_whose_copies_are_in_vain_rests_longer_each_time_or_until_it_is_left_alone() {
        let mut engine = engine(1 << 20);
        let ticket = claim(&mut engine, &["jobs:7"]).remove(0);
        engine.mark_dirty(ticket.key_ref(), Cause::Effect);
        engine.abandon(&ticket);
        copy_in_vain(&mut engine, 100);
        assert!(!engine.wants_copies() && engine.claim_dirty(9).is_empty());
        // Written every 150 ms, so that it is never left alone for 200.
        let mut waited = 0;
        while engine.claim_dirty(9).is_empty() {
            engine.mark_dirty(ticket.key_ref(), Cause::Effect);
            engine.tick(engine.now + 150);
            waited += 150;
        }
        assert!((300..600).contains(&waited), "{waited}");
    }

    #[test]
    fn a_key_that_is_left_alone_is_copied_soon_and_whoever_waits_for_it_need_not() {
        let mut engine = engine(1 << 20);
        let ticket = claim(&mut engine, &["jobs:7"]).remove(0);
        engine.mark_dirty(ticket.key_ref(), Cause::Effect);
        engine.abandon(&ticket);
        for _ in 0..4 {
            copy_in_vain(&mut engine, 100);
            engine.tick(engine.now + 200);
        }
        assert_eq!(engine.restless().into_iter().collect::<Vec<_>>(), [("jobs:*".to_owned(), 1)]);
        copy_in_vain(&mut engine, 100);
        assert!(!engine.wants_copies());
        engine.hurry_copies(true);
        assert!(engine.wants_copies() && engine.claim_dirty(9).len() == 1);
    }
}
