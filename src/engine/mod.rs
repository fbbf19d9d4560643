//! The heart: what happens to a write, from its request to its place in the effect log.
//!
//! *What it is:* a state machine over the order of writes in flight, the ledger, the effect log and
//! the dirty keys. Events go in (a step wants to go, was answered, was lost; a copy has been read;
//! the secondary has answered), decisions come out. The rules of the design live here: *one order*
//! in [`order`](self), *effects, not requests* in [`crate::effect`], *position decides* in
//! `settle`, *in doubt, copy the state* in `dirty`, *the application first* in the log's bound.
//!
//! *Guarantees:* for every interleaving of events, once the log is applied and no key is dirty, the
//! secondary holds what the primary holds.
//!
//! *Must not know:* sockets, tasks, clocks (the time is told), which server is which.

mod copies;
mod dirty;
mod log;
mod order;
mod scripts;
mod settle;
#[cfg(test)]
mod simulation;
mod spaces;
mod unit;

use std::collections::HashMap;
use std::sync::Arc;

use crate::capability::Capabilities;
use crate::command::{Access, Command, Reach, Serve};
use crate::databases::Databases;
use crate::effect;
use crate::ledger::{Fingerprint, Groups, Ledger, Passthrough, Seed, State};
use crate::resp::Request;

pub use copies::{Accepted, Copied, Ticket};
pub use dirty::{Cause, DirtyKey};
pub use log::{Entry, Named, Position};
pub use order::{ConnId, Woken};
pub use settle::Answer;
pub use unit::{Unit, Write};

use dirty::DirtyKeys;
use log::{Draft, Log};
use order::{Claim, Order};
use scripts::Scripts;
use spaces::Spaces;
use unit::Touch;

/// How long copies pause after the secondary refused one (out of memory, read-only).
const REFUSAL_PAUSE: Millis = 300;

/// Milliseconds since some fixed moment, monotonic.
pub type Millis = u64;

/// What an engine is told once.
#[derive(Clone, Debug)]
pub struct Settings {
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
pub struct Counters {
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

/// What an answer waits for: that the secondary has a write.
#[derive(Clone, Debug)]
pub struct Gate {
    position: Position,
    keys: smallvec::SmallVec<[Named; 1]>,
}

/// The state of one direction of mirroring, from a primary to a secondary.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    order: Order,
    ledger: Arc<Ledger>,
    spaces: Spaces,
    log: Log,
    dirty: DirtyKeys,
    /// Keys being copied: since when they are dirty, if they were.
    copying: HashMap<Fingerprint, Copying, Passthrough>,
    /// Where the newest copy of a key stands in the log: what goes wrong before it does not matter.
    copied_at: HashMap<Fingerprint, Position, Passthrough>,
    /// Keys that somebody compares, and whether they were written meanwhile.
    watched: HashMap<Fingerprint, bool, Passthrough>,
    scripts: Scripts,
    /// Steps that were lost and whose keys can't be copied yet: how many, since when.
    in_doubt: (usize, Millis),
    /// Grows with everything that voids all copies under way (`FLUSHALL`, `SWAPDB`).
    epoch: u64,
    /// Set when nothing is known any more and all keys must be copied again.
    resync: Option<Cause>,
    /// Set when the function libraries must be copied again.
    code_is_stale: bool,
    counters: Counters,
    /// When the secondary last refused something: copies pause, or they would spin.
    refused_at: Option<Millis>,
    now: Millis,
    next_conn: u32,
    next_ticket: u64,
}

#[derive(Clone, Debug)]
struct Copying {
    id: u64,
    named: Named,
    /// Since when a write waits for this copy.
    since: Option<Millis>,
    cause: Option<Cause>,
    attempts: u8,
}

impl Engine {
    /// An engine whose keys stand as `migrated` says.
    pub fn new(settings: Settings, migrated: Groups) -> Self {
        Self {
            order: Order::default(),
            ledger: Arc::new(Ledger::new(migrated)),
            spaces: Spaces::default(),
            // A quarter of the room is kept for the names of dirty keys.
            log: Log::new(settings.buffer / 4 * 3),
            dirty: DirtyKeys::new(settings.buffer / 4),
            copying: HashMap::default(),
            copied_at: HashMap::default(),
            watched: HashMap::default(),
            scripts: Scripts::default(),
            in_doubt: (0, 0),
            epoch: 0,
            resync: None,
            code_is_stale: false,
            counters: Counters::default(),
            refused_at: None,
            now: 0,
            next_conn: 0,
            next_ticket: 0,
            settings,
        }
    }

    /// Tells the time.
    pub fn tick(&mut self, now: Millis) {
        self.now = self.now.max(now);
    }

    /// A number for a new upstream connection.
    pub fn connect(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    /// Looks at a write before it is sent.
    ///
    /// `command` is `None` for one that only the server knows; then `unknown` are its keys. A
    /// command whose keys can't be told from its arguments will be refused by the server, so it is
    /// taken as one that touches nothing.
    pub fn write(
        &self,
        command: Option<&'static Command>,
        request: Request,
        db: u32,
        unknown: &[bytes::Bytes],
    ) -> Write {
        let mut touches = smallvec::SmallVec::new();
        if let Some(command) = command {
            for key in command.keys(&request).unwrap_or_default() {
                let Some(name) = request.arg_bytes(key.index) else { continue };
                let named = self.named(key.db.unwrap_or(db), name);
                touches.push(Touch { named, written: key.access == Access::Write });
            }
        }
        for key in unknown {
            touches.push(Touch { named: self.named(db, key.clone()), written: true });
        }
        let reach = command.map_or(Reach::Keys, |command| command.reach(&request));
        let probes = match command {
            Some(command) if self.settings.mirroring => {
                effect::probes(command, &request, &self.settings.primary)
            }
            _ => effect::Probes::new(),
        };
        Write { command, request, db, touches, reach, probes, passive: false }
    }

    /// A command of a transaction that only reads: it has its reply among the others'.
    pub fn passive(request: Request, db: u32) -> Write {
        let (touches, probes) = Default::default();
        Write { command: None, request, db, touches, reach: Reach::Keys, probes, passive: true }
    }

    /// Makes one step of one write, or of a transaction's commands.
    pub fn unit(&self, writes: impl IntoIterator<Item = Write>, atomic: bool) -> Unit {
        let writes: smallvec::SmallVec<[Write; 1]> = writes.into_iter().collect();
        let touches = writes.iter().flat_map(|write| &write.touches);
        let fingerprints = touches.map(|touch| touch.named.fingerprint).collect();
        let everything = writes.iter().any(|write| write.reach != Reach::Keys);
        let is_script = |write: &Write| write.command.is_some_and(|c| c.serve == Serve::Script);
        let scripts = self.settings.follow_scripts && writes.iter().any(is_script);
        Unit {
            writes,
            atomic,
            scripts,
            fingerprints,
            everything,
            numbering: self.spaces.numbering(),
        }
    }

    /// Asks to send a step down `conn`; see [`Order::begin`].
    pub fn begin(&mut self, conn: ConnId, unit: &mut Unit) -> bool {
        if unit.numbering != self.spaces.numbering() {
            self.renumber(unit);
        }
        let admitted = self.order.begin(conn, claim(unit));
        if admitted && unit.scripts {
            self.scripts.begin(unit.writes.iter().map(|write| write.db));
        }
        if admitted && !self.watched.is_empty() {
            for fingerprint in &unit.fingerprints {
                self.watched.entry(*fingerprint).and_modify(|written| *written = true);
            }
        }
        admitted
    }

    /// The connection is gone; nothing of it waits any more.
    pub fn disconnect(&mut self, conn: ConnId) -> Woken {
        self.order.forget(conn)
    }

    /// Connections broke with `steps` in flight, and the server may still be executing them.
    pub fn doubt(&mut self, steps: usize) {
        if self.in_doubt.0 == 0 {
            self.in_doubt.1 = self.now;
        }
        self.in_doubt.0 += steps;
    }

    /// A doubted step's outcome will never be known, but it is past.
    pub fn lost(&mut self, conn: ConnId, unit: &Unit) -> Woken {
        self.in_doubt.0 -= 1;
        self.end_script(unit);
        if unit.everything && self.settings.mirroring {
            self.start_over(Cause::Unknown);
        }
        for write in &unit.writes {
            for named in write.written_keys() {
                self.soil(named, Cause::Unknown);
            }
        }
        self.order.finish(conn, claim(unit))
    }

    /// The primary's keys are not what they were, nobody knows how: copies that have been read are
    /// void, and everything must be copied again.
    fn start_over(&mut self, cause: Cause) {
        self.epoch += 1;
        self.resync = Some(cause);
    }

    fn end_script(&mut self, unit: &Unit) {
        if unit.scripts {
            self.scripts.finish();
        }
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
    pub fn written_by_scripts(&mut self, keys: &[bytes::Bytes]) {
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

    /// Somebody wants a key for itself for a moment: no write to it is in flight then; see
    /// [`Order::begin`].
    pub fn hold(&mut self, conn: ConnId, named: &Named) -> bool {
        self.order.begin(conn, Claim { keys: &[named.fingerprint], everything: false })
    }

    /// The moment is over, or never came; `conn` is not used again.
    pub fn release(&mut self, conn: ConnId, named: &Named) -> Woken {
        let mut woken = Woken::new();
        if self.order.in_flight_on(conn) > 0 {
            let keys = &[named.fingerprint];
            woken = self.order.finish(conn, Claim { keys, everything: false });
        }
        woken.extend(self.order.forget(conn));
        woken
    }

    /// Notes from now on whether a key is written.
    pub fn watch(&mut self, named: &Named) {
        self.watched.insert(named.fingerprint, false);
    }

    /// What the answer to a step that has just been finished waits for.
    pub fn gate(&self, unit: &Unit) -> Gate {
        let keys = unit.writes.iter().flat_map(Write::written_keys).cloned().collect();
        Gate { position: self.log.last(), keys }
    }

    /// Whether the secondary has what the gate stands for, as effects or as copies.
    pub fn has_arrived(&self, gate: &Gate) -> bool {
        let acknowledged = self.log.acknowledged();
        let there = |named: &Named| {
            let copied_at = self.copied_at.get(&named.fingerprint);
            self.is_migrated(named) && copied_at.is_none_or(|copy| *copy <= acknowledged)
        };
        gate.position <= acknowledged && gate.keys.iter().all(there)
    }

    /// Changes with every `SWAPDB`.
    pub fn numbering(&self) -> u32 {
        self.spaces.numbering()
    }

    /// The same; `None` while a command is under way that might change it.
    pub fn settled_numbering(&self) -> Option<u32> {
        (!self.order.wants_everything()).then(|| self.spaces.numbering())
    }

    /// Whether a watched key has been left alone, holds nothing in flight, and gets its effects.
    pub fn was_still(&self, named: &Named) -> bool {
        self.watched.get(&named.fingerprint) == Some(&false)
            && !self.order.is_in_flight(named.fingerprint)
            && self.is_migrated(named)
    }

    /// Ends the watch over these keys.
    pub fn watch_no_more(&mut self, keys: &[Named]) {
        for named in keys {
            self.watched.remove(&named.fingerprint);
        }
    }

    /// Whether a key's effects flow.
    pub fn is_migrated(&self, named: &Named) -> bool {
        self.ledger.state(named.space, named.fingerprint) == State::Migrated
    }

    /// The secondary is let go: nothing is mirrored any more.
    pub fn let_go(&mut self) {
        self.settings.mirroring = false;
        self.log = Log::new(0);
        self.dirty = DirtyKeys::new(0);
        self.copying.clear();
        self.resync = None;
    }

    /// Takes the oldest effects for sending, up to `bytes`.
    pub fn take_effects(&mut self, bytes: usize) -> Vec<Entry> {
        self.log.take(bytes)
    }

    /// The secondary has answered everything up to and including `entry` as expected.
    pub fn applied(&mut self, entry: &Entry) {
        self.counters.applied += 1;
        self.acknowledge(entry);
    }

    /// The secondary's answer to `entry` is not the primary's, or there was none.
    pub fn diverged(&mut self, entry: &Entry, cause: Cause) {
        match cause {
            Cause::Refused => {
                self.counters.failed += 1;
                self.refused_at = Some(self.now);
            }
            Cause::Mismatch => self.counters.mismatched += 1,
            _ => {}
        }
        for named in &entry.keys {
            let newest = self.copied_at.get(&named.fingerprint).copied().unwrap_or(0);
            if newest <= entry.position {
                self.soil(named, cause);
            }
        }
        if entry.keys.is_empty() {
            self.resync = Some(cause);
        }
        self.acknowledge(entry);
    }

    /// The secondary is not what it was: everything must be copied again.
    pub fn distrust(&mut self, cause: Cause) {
        self.resync = Some(cause);
    }

    fn acknowledge(&mut self, entry: &Entry) {
        if entry.copy {
            for named in &entry.keys {
                if self.copied_at.get(&named.fingerprint) == Some(&entry.position) {
                    self.copied_at.remove(&named.fingerprint);
                }
            }
        }
        self.log.acknowledge(entry.position);
    }

    /// Marks a key that must be copied again, whatever is under way with it.
    pub fn soil(&mut self, named: &Named, cause: Cause) {
        let (space, fingerprint) = (named.space, named.fingerprint);
        let number = self.spaces.number(space);
        if !self.settings.mirroring || self.settings.databases.to(number).is_none() {
            return;
        }
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
            State::Dirty | State::Touched => {}
        }
    }

    /// A key by name in one of the primary's databases.
    pub fn named(&self, db: u32, key: bytes::Bytes) -> Named {
        let space = self.spaces.of(db);
        Named { fingerprint: self.settings.seed.fingerprint(space, &key), space, key }
    }

    fn renumber(&self, unit: &mut Unit) {
        for write in &mut unit.writes {
            let (db, command) = (write.db, write.command);
            let keys = command.and_then(|command| command.keys(&write.request).ok());
            for (index, touch) in write.touches.iter_mut().enumerate() {
                let other = keys.as_ref().and_then(|keys| keys.get(index)?.db);
                touch.named = self.named(other.unwrap_or(db), touch.named.key.clone());
            }
        }
        let touches = unit.writes.iter().flat_map(|write| &write.touches);
        unit.fingerprints = touches.map(|touch| touch.named.fingerprint).collect();
        unit.numbering = self.spaces.numbering();
    }

    /// The marks, for who only looks.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What was told at the start.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Corrects the clock difference, which drifts.
    pub fn set_clock_offset(&mut self, offset: i64) {
        self.settings.clock_offset = offset;
    }

    /// Counts since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Effects that the secondary has not acknowledged, and their bytes.
    pub fn queued(&self) -> (usize, usize) {
        (self.log.len(), self.log.bytes())
    }

    /// Whether effects wait to be taken.
    pub fn has_effects(&self) -> bool {
        !self.log.is_drained()
    }

    /// Whether a copier has something to do: a dirty key, and room for its copy.
    pub fn wants_copies(&self) -> bool {
        self.dirty.len() > 0 && self.may_copy()
    }

    /// Whether copies are welcome: the log has room, and the secondary takes what it is given.
    pub fn may_copy(&self) -> bool {
        let refusing =
            self.refused_at.is_some_and(|at| self.now.saturating_sub(at) < REFUSAL_PAUSE);
        self.log.has_room_for_copies() && !refusing
    }

    /// Keys that writes wait for: dirty ones, and those whose copy is under way since.
    pub fn dirty_keys(&self) -> usize {
        let copying = self.copying.values().filter(|copying| copying.since.is_some()).count();
        let scripts = usize::from(self.scripts.is_open());
        self.dirty.len() + copying + self.in_doubt.0 + scripts
    }

    /// Writes in flight to the primary.
    pub fn in_flight(&self) -> u32 {
        self.order.in_flight()
    }

    /// Whether the function libraries must be copied again; forgotten by this call.
    pub fn take_stale_code(&mut self) -> bool {
        std::mem::take(&mut self.code_is_stale)
    }

    /// Whether a key must be copied in a pass over groups, or over everything.
    pub fn needs_pass(&self) -> bool {
        self.resync.is_some() || self.dirty.has_lost()
    }

    /// The age in milliseconds of the oldest write that the secondary has not got, as an effect or
    /// as a copy; 0 when there is none.
    pub fn lag(&self, now: Millis) -> Millis {
        let copying = self.copying.values().filter_map(|copying| copying.since);
        let doubt = (self.in_doubt.0 > 0).then_some(self.in_doubt.1);
        let oldest = copying.chain(self.log.oldest()).chain(self.dirty.oldest()).chain(doubt).min();
        // A write in flight may be done already: then it is as young as can be, but it is there.
        let in_flight = u64::from(self.order.in_flight() > 0);
        oldest.map_or(in_flight, |since| now.saturating_sub(since).max(1))
    }

    /// Whether the secondary has got every write.
    pub fn is_drained(&self) -> bool {
        self.log.is_empty() && self.dirty_keys() == 0 && self.order.in_flight() == 0
    }

    /// The last place in the log, and up to where the secondary has acknowledged.
    pub fn positions(&self) -> (Position, Position) {
        (self.log.last(), self.log.acknowledged())
    }
}

fn claim(unit: &Unit) -> Claim<'_> {
    Claim { keys: &unit.fingerprints, everything: unit.everything }
}
