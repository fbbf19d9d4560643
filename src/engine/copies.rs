//! Copies that meet the traffic at a known position.
//!
//! A copy is read on a side connection and counts only when no write to its key was answered
//! between claim and acceptance ([`State::Touched`]) and none is in flight at acceptance: then every
//! write is either before the read or will be answered after it, and its effect will follow the copy
//! in the log. A key that keeps being written is read *in position*: while the copier itself holds
//! the key in the order.

use smallvec::SmallVec;

use super::log::Draft;
use super::{Cause, Copying, DirtyKey, Engine, KeyRef, Kind, Position};
use crate::engine::effect::Step;
use crate::engine::ledger::{Discarded, Fingerprint, Groups, State};

/// The right to copy one key.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    id: u64,
    epoch: u64,
    named: KeyRef,
    /// The primary's database in which to read it.
    pub db: u32,
    /// How often its copy has been tried in vain.
    pub attempts: u8,
}

impl Ticket {
    /// The key.
    pub(crate) fn key_ref(&self) -> &KeyRef {
        &self.named
    }

    /// The key's name.
    pub(crate) fn key(&self) -> &bytes::Bytes {
        &self.named.key
    }
}

/// What was read of a key.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    /// What gives the secondary the key's state: a `RESTORE`, or a `DEL` when there is no key.
    pub steps: SmallVec<[Step; 1]>,
    /// Whether it was read while the copier held the key in the order.
    pub in_position: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It stands in the log here; effects follow it.
    At(Position),
    /// The key was written meanwhile: it is dirty, and its turn will come again.
    Again,
    /// Something else gave the key its state meanwhile.
    Superseded,
    /// The log has no room now: offer it again later. Not said of a key that is held meanwhile.
    NoRoom,
}

impl Engine {
    /// Asks for the right to copy keys found by a scan of `db`: for those that need it.
    pub(crate) fn claim(
        &mut self,
        db: u32,
        keys: impl Iterator<Item = bytes::Bytes>,
    ) -> Vec<Ticket> {
        if !self.is_mirroring() || self.settings.databases.to(db).is_none() {
            return Vec::new();
        }
        keys.filter_map(|key| self.claim_one(self.key_ref(db, key))).collect()
    }

    fn claim_one(&mut self, named: KeyRef) -> Option<Ticket> {
        match self.ledger.claim(named.space, named.fingerprint) {
            State::Unmigrated => Some(self.ticket(named, None)),
            State::Dirty => {
                let dirty = self.dirty.remove(named.fingerprint);
                Some(self.ticket(named, dirty.as_ref()))
            }
            State::Migrated | State::Copying | State::Touched => None,
        }
    }

    /// The right to copy the next dirty keys, at most `most` of them.
    pub(crate) fn claim_dirty(&mut self, most: usize) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        while tickets.len() < most {
            let (rests, now) = (&self.rests, self.now);
            let next = self.dirty.next(|key| !rests.lasts(key, now));
            let Some((fingerprint, dirty)) = next else { break };
            let named = KeyRef { fingerprint, space: dirty.space, key: dirty.key.clone() };
            if self.settings.databases.to(self.spaces.number(dirty.space)).is_some() {
                self.ledger.set(named.space, named.fingerprint, State::Copying);
                tickets.push(self.ticket(named, Some(&dirty)));
            } else {
                self.ledger.set(dirty.space, fingerprint, State::Migrated);
            }
        }
        tickets
    }

    fn ticket(&mut self, named: KeyRef, dirty: Option<&DirtyKey>) -> Ticket {
        self.next_ticket += 1;
        let attempts = dirty.map_or(0, |dirty| dirty.attempts);
        let copying = Copying {
            id: self.next_ticket,
            space: named.space,
            since: dirty.map(|dirty| dirty.since),
            cause: dirty.map(|dirty| dirty.cause),
            attempts,
            began: None,
            notes: None,
        };
        self.copying.insert(named.fingerprint, copying);
        let db = self.spaces.number(named.space);
        Ticket { id: self.next_ticket, epoch: self.epoch, named, db, attempts }
    }

    /// Offers what was read.
    pub(crate) fn accept(&mut self, ticket: &Ticket, copied: &Copied) -> Accepted {
        let accepted = self.place(ticket, copied);
        if matches!(accepted, Accepted::At(_)) {
            self.taken(ticket.named.fingerprint);
        }
        accepted
    }

    /// Puts what was read into the log, if it counts.
    pub(super) fn place(&mut self, ticket: &Ticket, copied: &Copied) -> Accepted {
        let KeyRef { fingerprint, space, .. } = ticket.named;
        if !self.is_current(ticket) {
            return Accepted::Superseded;
        }
        let touched = self.ledger.state(space, fingerprint) != State::Copying
            || self.noted(ticket) > 0
            || (!copied.in_position && self.order.is_in_flight(fingerprint));
        if !self.is_of_now(ticket) || touched {
            self.abandon(ticket);
            return Accepted::Again;
        }
        let number = self.spaces.number(space);
        let Some(db) = self.settings.databases.to(number) else { return Accepted::Superseded };
        self.touch(fingerprint.group());
        let draft = Draft {
            since: self.now,
            db,
            atomic: copied.steps.len() > 1,
            keys: SmallVec::from_iter([ticket.named.clone()]),
            kind: Kind::Copy,
        };
        match self.log.append(draft, &copied.steps) {
            // Nobody waits for a secondary that is away.
            Err(_) if copied.in_position => {
                self.abandon(ticket);
                Accepted::Again
            }
            Err(_) => Accepted::NoRoom,
            Ok(position) => {
                self.copied_at.insert(fingerprint, position);
                self.ledger.set(space, fingerprint, State::Migrated);
                Accepted::At(position)
            }
        }
    }

    /// Nothing of the key has been read, and the copier does so now: every write to it that was
    /// answered will be in what it reads. Where the copier holds the key, only what holds no keys can
    /// come between from now on (a blocked pop that has been served, a script that was overheard),
    /// and makes the copy void.
    pub(crate) fn begin_reading(&mut self, ticket: &Ticket) {
        let KeyRef { fingerprint, space, .. } = ticket.named;
        if self.is_current(ticket) && self.ledger.state(space, fingerprint) == State::Touched {
            self.ledger.set(space, fingerprint, State::Copying);
        }
    }

    /// Gives the claim up; the key is dirty again, and its next copy is one attempt further.
    pub(crate) fn abandon(&mut self, ticket: &Ticket) {
        let KeyRef { fingerprint, space, .. } = ticket.named;
        let Some(copying) = self.copying.get(&fingerprint) else { return };
        if copying.id != ticket.id {
            return;
        }
        let (since, cause) = (copying.since, copying.cause.unwrap_or(Cause::Unmigrated));
        let (began, attempts) = (copying.began, copying.attempts.saturating_add(1));
        self.copying.remove(&fingerprint);
        self.ledger.set(space, fingerprint, State::Dirty);
        self.dirty.insert(&ticket.named, cause, since.unwrap_or(self.now), attempts);
        self.rest_in_vain(fingerprint, began, attempts);
    }

    /// Gives the claim up because a server refuses; copies pause for a moment, or they would spin.
    pub(crate) fn refuse(&mut self, ticket: &Ticket) {
        self.refused_at = Some(self.now);
        self.abandon(ticket);
    }

    /// Whether nobody has written to the key since its claim.
    pub(crate) fn is_untouched(&self, ticket: &Ticket) -> bool {
        let KeyRef { fingerprint, space, .. } = ticket.named;
        self.is_of_now(ticket) && self.ledger.state(space, fingerprint) == State::Copying
    }

    /// Appends a part of a copy that is built under another name; false when there is no room. If
    /// it fails on the secondary, the copy fails.
    pub(crate) fn append_part(&mut self, ticket: &Ticket, steps: &[Step]) -> bool {
        let number = self.spaces.number(ticket.named.space);
        let Some(db) = self.settings.databases.to(number) else { return true };
        self.touch(ticket.named.fingerprint.group());
        let keys = SmallVec::from_iter([ticket.named.clone()]);
        let draft = Draft { since: self.now, db, atomic: false, keys, kind: Kind::Part };
        self.log.append(draft, steps).is_ok()
    }

    /// Whether the key is still copied under this ticket.
    pub(super) fn is_current(&self, ticket: &Ticket) -> bool {
        self.copying.get(&ticket.named.fingerprint).is_some_and(|copying| copying.id == ticket.id)
    }

    /// Whether nothing has voided all copies since the claim.
    pub(super) fn is_of_now(&self, ticket: &Ticket) -> bool {
        ticket.epoch == self.epoch
    }

    /// A copy of the key counts: the secondary gets what the primary holds.
    pub(super) fn taken(&mut self, fingerprint: Fingerprint) {
        self.left_out.remove(fingerprint);
        let Some(copying) = self.copying.remove(&fingerprint) else { return };
        self.rest_after(fingerprint, copying.began);
        match copying.cause {
            Some(cause) => {
                if let Some(count) = self.counters.recopies.get_mut(cause as usize) {
                    *count += 1;
                }
            }
            None => self.counters.copied += 1,
        }
    }

    /// Begins a pass over what is not migrated: everything after a resynchronisation was asked for,
    /// else the groups whose dirty keys found no room. Gives the groups to be scanned on both
    /// servers, and why.
    pub(crate) fn begin_pass(&mut self) -> (Groups, Option<Cause>) {
        let lost = self.dirty.take_lost();
        let cause = self.resync.take();
        let groups = if cause.is_some() { Groups::full() } else { lost };
        let keep = self.exceptions();
        self.apart.clear();
        self.invalidate_all_observed();
        self.ledger.begin_pass(&groups, &keep);
        self.passing = true;
        (groups, cause)
    }

    /// The secondary holds a key that may not be there, found when all others had been copied. One
    /// that the pass has not come by was not on the primary then; whether it is by now or not, what
    /// the secondary holds of it is old. It is copied, which removes it if the primary lacks it;
    /// or left alone until the primary has one of that name, if it may stay.
    pub(crate) fn found_on_secondary(&mut self, db: u32, key: bytes::Bytes, may_stay: bool) {
        let named = self.key_ref(db, key);
        if self.ledger.state(named.space, named.fingerprint) != State::Unmigrated {
            return;
        }
        if may_stay {
            self.apart.push((named.space, named.fingerprint));
        } else {
            self.mark_dirty(&named, Cause::Verify);
        }
    }

    /// The pass is over: every key is migrated but those that are known not to be, by name or by
    /// their group.
    pub(crate) fn end_pass(&mut self) {
        let mut keep = self.exceptions();
        for (space, fingerprint) in std::mem::take(&mut self.apart) {
            if self.ledger.state(space, fingerprint) == State::Unmigrated {
                keep.push((fingerprint, State::Unmigrated));
            }
        }
        self.ledger.end_pass(&keep, self.dirty.lost());
        self.passing = false;
    }

    /// Marks that passes have left, to be freed where no client waits for it.
    pub(crate) fn take_discarded(&mut self) -> Discarded {
        self.ledger.take_discarded()
    }

    fn exceptions(&self) -> Vec<(Fingerprint, State)> {
        let dirty = self.dirty.fingerprints().map(|fingerprint| (fingerprint, State::Dirty));
        let copying = self.copying.iter().map(|(fingerprint, copying)| {
            (*fingerprint, self.ledger.state(copying.space, *fingerprint))
        });
        dirty.chain(copying).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::copy_batch::tests::{claim, engine};
    use crate::engine::effect::Expect;
    use crate::protocol::resp::Request;

    fn step(line: &str) -> Step {
        Step { request: Request::new(line.split(' ')), expect: Expect::Success }
    }

    fn placed(in_position: bool) -> Copied {
        Copied { steps: SmallVec::from_iter([step("RENAME scratch big")]), in_position }
    }

    #[test]
    fn a_part_that_is_refused_when_the_copy_is_in_place_already_voids_it() {
        let mut engine = engine(1 << 20);
        let ticket = claim(&mut engine, &["big"]).remove(0);
        assert!(engine.append_part(&ticket, &[step("SADD scratch a")]));
        assert!(matches!(engine.accept(&ticket, &placed(false)), Accepted::At(_)));
        let entries = engine.take_effects(usize::MAX);
        engine.diverged(&entries[0], Cause::Refused);
        engine.applied(&entries[1]);
        assert_eq!(engine.claim_dirty(9)[0].key(), "big");
    }

    #[test]
    fn a_copy_of_a_held_key_that_finds_no_room_is_given_up() {
        let mut engine = engine(200);
        let ticket = claim(&mut engine, &["big"]).remove(0);
        assert_eq!(engine.accept(&ticket, &placed(false)), Accepted::NoRoom);
        assert_eq!(engine.accept(&ticket, &placed(true)), Accepted::Again);
        assert_eq!(engine.dirty_keys(), 1);
    }
}
