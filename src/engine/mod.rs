//! The heart: what happens to a write, from its request to its place in the effect log.
//!
//! *What it is:* a state machine over the order of writes in flight, the ledger, the effect log and
//! the dirty keys. Events go in (a step wants to go, was answered, was lost; a copy has been read;
//! the secondary has answered), decisions come out. A file for each event (`unit`, `settle`, `copies`,
//! `copy_batch`, `catch_up`, `secondary`, `scripts`, `waits`, `observed`), and for each thing that they
//! move (`order`, `passing`, `log`, `dirty`, `resting`, `dependents`, `intent`, `left_out`); `stats` and
//! `lookup` only look; the `keyer` works outside the lock. Which rule of the design is held where: see
//! the table in [the crate's documentation](crate#the-rules-and-where-they-are-held).
//!
//! *Guarantees:* for every interleaving of events, once the log is applied and no key is dirty, the
//! secondary holds what the primary holds, but for the keys that are left out, which it cannot hold.
//!
//! *Must not know:* sockets, tasks, clocks (the time is told), which server is which.

mod catch_up;
mod copies;
mod copy_batch;
mod dependents;
mod dirty;
pub mod effect;
#[cfg(test)]
pub(crate) mod example;
mod intent;
mod keyer;
pub mod ledger;
mod left_out;
mod log;
mod lookup;
mod observed;
mod order;
mod passing;
mod resting;
mod scripts;
mod secondary;
mod settle;
#[cfg(test)]
mod simulation;
mod stats;
mod unit;
mod waits;

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::ledger::{Fingerprint, Groups, Ledger, Passthrough, Seed, State};
use crate::protocol::capability::Capabilities;
use crate::protocol::databases::Databases;
use crate::protocol::resp::Request;

pub(crate) use copies::{Accepted, Copied, Ticket};
pub(crate) use copy_batch::Copies;
pub(crate) use dirty::{Cause, DirtyKey};
pub(crate) use keyer::Keyer;
pub(crate) use left_out::{Group, Lack, pattern};
pub(crate) use log::{Entry, KeyRef, Kind, Position};
pub(crate) use observed::{Ends, Observation, Witness};
pub(crate) use order::{ConnId, Woken};
pub(crate) use passing::{Passable, Passing};
pub(crate) use scripts::{Question, Reading};
pub(crate) use secondary::Gate;
pub(crate) use settle::Answer;
pub(crate) use stats::Calls;
#[cfg(test)]
pub(crate) use stats::tests::calls_of;
pub(crate) use unit::{Unit, Write};

use dependents::Dependents;
use dirty::DirtyKeys;
use intent::Intent;
use keyer::Spaces;
use left_out::LeftOut;
use log::Log;
use observed::Invalidations;
use order::Order;
use resting::Rests;
use scripts::Scripts;
use waits::Waits;

/// Milliseconds since some fixed moment, monotonic.
pub(crate) type Millis = u64;

/// What an engine is told once.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Which databases are migrated, and to where.
    pub databases: Databases,
    /// What the primary can do.
    pub primary: Capabilities,
    /// What the secondary can do.
    pub secondary: Capabilities,
    /// What to add to the primary's clock to get the secondary's, in milliseconds.
    pub clock_offset: i64,
    /// The secret of the fingerprints.
    pub seed: Seed,
    /// Room for effects and dirty keys, in bytes.
    pub buffer: usize,
    /// Whether there is a secondary at all.
    pub mirroring: bool,
    /// Whether the primary tells which keys scripts write.
    pub follow_scripts: bool,
    /// What puts the cut-over marker back on the secondary after it was flushed there.
    pub marker: Option<Request>,
}

/// What has been counted since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Effects that the secondary has applied as expected.
    pub applied: u64,
    /// Effects whose answer was not the expected one.
    pub mismatched: u64,
    /// Effects and copies that the secondary refused.
    pub failed: u64,
    /// Writes that were not mirrored because a copy comes after them.
    pub skipped: u64,
    /// Keys copied for the first time.
    pub copied: u64,
    /// Keys copied again, by cause.
    pub recopies: [u64; Cause::ALL.len()],
}

/// The state of one direction of mirroring, from a primary to a secondary.
#[derive(Debug)]
pub(crate) struct Engine {
    settings: Settings,
    keyer: Arc<Keyer>,
    order: Order,
    ledger: Ledger,
    spaces: Spaces,
    log: Log,
    dirty: DirtyKeys,
    /// Dirty keys whose copies cost too much to be made at once.
    rests: Rests,
    /// Keys that the secondary cannot hold.
    left_out: LeftOut,
    /// Keys of the secondary's own, found in this pass: they stay until the primary has one of that
    /// name, which is copied then.
    apart: Vec<(u32, Fingerprint)>,
    /// Keys being copied: since when they are dirty, if they were.
    copying: HashMap<Fingerprint, Copying, Passthrough>,
    /// Where the newest copy of a key stands in the log: what goes wrong before it does not matter.
    copied_at: HashMap<Fingerprint, Position, Passthrough>,
    /// Effects on their way whose outcome depends on other keys.
    dependents: Dependents,
    /// For those who look at keys on both servers.
    invalidations: Invalidations,
    scripts: Scripts,
    /// Steps that were lost and whose keys can't be copied yet: how many, since when.
    in_doubt: (usize, Millis),
    /// Commands that wait on connections of their own.
    waits: Waits,
    /// Grows with everything that voids all copies under way (`FLUSHALL`, `SWAPDB`).
    epoch: u64,
    /// Set when nothing is known any more and all keys must be copied again.
    resync: Option<Cause>,
    /// Since when nothing is carried over; see [`Self::halt`].
    halted: Option<Millis>,
    /// Whether a pass is under way: not every key is migrated that is not marked otherwise.
    passing: bool,
    /// What a crash would leave in doubt, where that is kept.
    intent: Option<Intent>,
    /// Set while the function libraries must be copied again.
    code_is_stale: bool,
    /// How often clients have changed code.
    code_changes: u64,
    counters: Counters,
    calls: Calls,
    /// When the secondary last refused something: copies pause, or they would spin.
    refused_at: Option<Millis>,
    now: Millis,
    next_conn: u32,
    next_ticket: u64,
}

#[derive(Clone, Debug)]
struct Copying {
    id: u64,
    space: u32,
    /// Since when a write waits for this copy.
    since: Option<Millis>,
    cause: Option<Cause>,
    attempts: u8,
    /// When a copy by parts began.
    began: Option<Millis>,
    /// Where the copy goes on while its key is written.
    notes: Option<catch_up::Notes>,
}

impl Engine {
    /// An engine whose keys stand as `migrated` says.
    pub(crate) fn new(settings: Settings, migrated: Groups) -> Self {
        Self {
            keyer: Arc::new(Keyer::new(&settings)),
            order: Order::default(),
            passing: !migrated.is_full(),
            intent: None,
            ledger: Ledger::new(migrated),
            spaces: Spaces::default(),
            // A quarter of the room is kept for the names of dirty keys.
            log: Log::new(settings.buffer / 4 * 3),
            dirty: DirtyKeys::new(settings.buffer / 4),
            rests: Rests::default(),
            left_out: LeftOut::default(),
            apart: Vec::new(),
            copying: HashMap::default(),
            copied_at: HashMap::default(),
            dependents: Dependents::default(),
            invalidations: Invalidations::default(),
            scripts: Scripts::new(settings.follow_scripts),
            in_doubt: (0, 0),
            waits: Waits::default(),
            epoch: 0,
            resync: None,
            halted: None,
            code_is_stale: false,
            code_changes: 0,
            counters: Counters::default(),
            calls: Calls::new(),
            refused_at: None,
            now: 0,
            next_conn: 0,
            next_ticket: 0,
            settings,
        }
    }

    pub(crate) fn tick(&mut self, now: Millis) {
        self.now = self.now.max(now);
    }

    /// A number for a new upstream connection.
    pub(crate) fn connect(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    /// Marks a key that must be copied again, whatever is under way with it.
    pub(crate) fn mark_dirty(&mut self, named: &KeyRef, cause: Cause) {
        self.mark_dirty_in_order(named, cause);
        self.mark_dependents_dirty(named.fingerprint, cause);
    }

    /// The same because of a write that has just been answered: what stands in the log was done
    /// before it.
    fn mark_dirty_in_order(&mut self, named: &KeyRef, cause: Cause) {
        let (space, fingerprint) = (named.space, named.fingerprint);
        let number = self.spaces.number(space);
        if !self.is_mirroring() || self.settings.databases.to(number).is_none() {
            return;
        }
        self.touch(fingerprint.group());
        self.invalidate_observed(fingerprint);
        match self.ledger.state(space, fingerprint) {
            State::Unmigrated | State::Migrated => {
                self.ledger.set(space, fingerprint, State::Dirty);
                self.dirty.insert(named, cause, self.now, 0);
            }
            State::Copying => {
                self.ledger.set(space, fingerprint, State::Touched);
                if let Some(copying) = self.copying.get_mut(&fingerprint) {
                    copying.since.get_or_insert(self.now);
                    copying.cause.get_or_insert(cause);
                }
            }
            State::Dirty => self.rests.was_written(fingerprint, self.now),
            State::Touched => {}
        }
    }

    /// The same, because of something that was not learnt in the order of the lanes: it may have
    /// happened after the writes to the key that are in flight now, so that none of those makes up
    /// for it.
    pub(super) fn mark_dirty_out_of_order(&mut self, named: &KeyRef, cause: Cause) {
        self.order.overtake(named.fingerprint);
        self.mark_dirty(named, cause);
    }

    /// What makes units of clients' writes.
    pub(crate) fn keyer(&self) -> &Arc<Keyer> {
        &self.keyer
    }

    /// A key by name in one of the primary's databases.
    pub(crate) fn key_ref(&self, db: u32, key: bytes::Bytes) -> KeyRef {
        let space = self.spaces.of(db);
        KeyRef { fingerprint: self.settings.seed.fingerprint(space, &key), space, key }
    }

    /// The secondary is let go: nothing is mirrored any more.
    pub(crate) fn let_go(&mut self) {
        self.settings.mirroring = false;
        self.keyer.let_go();
        self.log = Log::new(0);
        self.dirty = DirtyKeys::new(0);
        self.left_out.flush(None);
        self.copying.clear();
        (self.resync, self.halted) = (None, None);
        self.intent = None;
    }

    /// One of the clocks was set: what stands on the secondary ends at wrong times, and what has
    /// been read is no better.
    pub(crate) fn set_clock_offset(&mut self, offset: i64) {
        self.settings.clock_offset = offset;
        self.void_and_resync(Cause::Clock);
    }

    /// Whether the function libraries must be copied again.
    pub(crate) fn is_code_stale(&self) -> bool {
        self.code_is_stale
    }

    /// Nobody knows which function libraries the secondary has.
    pub(crate) fn mark_code_stale(&mut self) {
        self.code_is_stale = self.settings.mirroring;
    }

    /// How often clients have changed code, for [`Self::code_is_copied`].
    pub(crate) fn code_changes(&self) -> u64 {
        self.code_changes
    }

    /// The secondary has been given the libraries that were there after so many changes. What has
    /// changed meanwhile may have been undone by that.
    pub(crate) fn code_is_copied(&mut self, changes: u64) {
        self.code_is_stale = self.code_changes != changes;
    }
}
