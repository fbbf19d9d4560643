//! Settling a step: from the primary's answer to the log, the ledger and the dirty keys.
//!
//! *Rule: position decides.* A key receives effects only after its copy stands before them in the
//! log. A write to a key that is not migrated is not mirrored; it makes sure that the key is copied
//! after it. A command over several keys is mirrored only when all of them are migrated. An effect
//! that is a whole state by itself (`SET`, `DEL`) is as good as a copy, and takes its place.

use bytes::Bytes;
use smallvec::SmallVec;

use super::dependents::Dependent;
use super::log::Draft;
use super::unit::claim;
use super::{Cause, ConnId, Engine, KeyRef, Kind, Unit, Woken, Write};
use crate::engine::effect::{self, Effect, Executed, Expect, Outcome, Step};
use crate::engine::ledger::State;
use crate::protocol::command::{Reach, Serve};
use crate::protocol::resp::{Reply, Request};

/// What the primary answered to a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    /// To the write, or to the transaction's `EXEC`.
    pub reply: &'a Bytes,
    /// To the probes behind it, in order.
    pub probes: &'a [Bytes],
}

/// Effects that go into one entry of the log.
#[derive(Default)]
struct Batch {
    db: u32,
    steps: SmallVec<[Step; 2]>,
    checks: SmallVec<[Step; 2]>,
    keys: SmallVec<[KeyRef; 1]>,
    dependents: Vec<Dependent>,
}

impl Engine {
    /// A step has been answered: takes its effect into the log, and lets others go on.
    pub(crate) fn finish(&mut self, conn: ConnId, unit: &Unit, answer: Answer<'_>) -> Woken {
        self.calls.end(unit);
        if let Some(number) = unit.waits {
            self.end_wait(number, Some(answer));
            return Woken::new();
        }
        self.settle(unit, answer);
        self.doubt_stirred();
        self.end_script(unit);
        let mut woken = self.order.finish(conn, claim(unit));
        self.forget_served_meanwhile();
        if self.spaces.numbering() != unit.numbering {
            woken.extend(self.order.disperse());
        }
        woken
    }

    /// The keys of a step are in doubt, whatever was answered.
    fn mark_unit_dirty(&mut self, unit: &Unit, cause: Cause) {
        for named in unit.writes.iter().flat_map(Write::written_keys) {
            self.mark_dirty(named, cause);
        }
    }

    fn settle(&mut self, unit: &Unit, answer: Answer<'_>) {
        if !self.is_mirroring() {
            return;
        }
        let Ok(reply) = Reply::parse(answer.reply) else {
            return self.mark_unit_dirty(unit, Cause::Unknown);
        };
        let probes: SmallVec<[Reply; 2]> =
            answer.probes.iter().map(|raw| Reply::parse(raw).unwrap_or(Reply::Null)).collect();
        let replies = match &reply {
            Reply::Array(items) if unit.atomic => items.as_slice(),
            _ if unit.atomic => return,
            single => std::slice::from_ref(single),
        };
        let mut batch = Batch::default();
        let mut probes = probes.as_slice();
        for (write, reply) in unit.writes.iter().zip(replies) {
            let (mine, rest) = probes.split_at(write.probes.len().min(probes.len()));
            probes = rest;
            self.settle_write(write, reply, mine, &mut batch, unit.atomic);
        }
        self.append(batch, unit.atomic);
        // Its other writes were named, or probed, under the wrong numbers.
        if unit.writes.len() > 1 && self.spaces.numbering() != unit.numbering {
            self.void_and_resync(Cause::Effect);
        }
    }

    fn settle_write(
        &mut self,
        write: &Write,
        reply: &Reply,
        probes: &[Reply],
        batch: &mut Batch,
        atomic: bool,
    ) {
        let Some(db) = self.settings.databases.to(write.db) else { return };
        if write.passive {
            return;
        }
        if batch.db != db || write.reach != Reach::Keys {
            self.append(std::mem::take(batch), atomic);
            batch.db = db;
        }
        self.code_changes += u64::from(write.reach == Reach::Code);
        let outcome = self.outcome(write, reply, probes);
        if !reply.is_error() || outcome == Outcome::Recopy {
            self.make_script_known(write, db);
        }
        if outcome != Outcome::Nothing {
            write.written_keys().for_each(|named| self.stir(named.fingerprint));
        }
        match (write.reach, outcome) {
            (_, Outcome::Nothing) => {}
            (Reach::Keys, _) if self.is_overtaken(write) => {
                self.mark_write_dirty(write, Cause::Effect);
            }
            (reach, _) if reach != Reach::Code && self.order.is_barrier_overtaken() => {
                self.void_and_resync(Cause::Effect);
            }
            (Reach::Keys, Outcome::Recopy) => {
                if !self.note_request(write) {
                    self.mark_write_dirty(write, Cause::Effect);
                }
            }
            (Reach::Keys, Outcome::Apply(effect)) => self.settle_effect(write, effect, batch),
            (Reach::Code, Outcome::Recopy) => self.code_is_stale = true,
            (reach, Outcome::Apply(effect)) => self.settle_reach(write, reach, &effect, db),
            (_, Outcome::Recopy) => self.void_and_resync(Cause::Effect),
        }
    }

    /// A script that was run is known on both servers, so that its digest alone will do after a flip.
    /// One that finds no room is told when it runs again.
    fn make_script_known(&mut self, write: &Write, db: u32) {
        let Some(body) = body(&write.request) else { return };
        if !self.scripts.is_first(body) {
            return;
        }
        let load = Request::new([b"SCRIPT".as_ref(), b"LOAD", body]);
        if !self.append_code(db, &[Step { request: load, expect: Expect::Success }]) {
            self.scripts.forget(body);
        }
    }

    /// Whether a request brings a script that the secondary has not been told.
    pub(crate) fn brings_script(&self, request: &Request) -> bool {
        self.settings.mirroring && body(request).is_some_and(|body| !self.scripts.knows(body))
    }

    fn outcome(&self, write: &Write, reply: &Reply, probes: &[Reply]) -> Outcome {
        let unknown = |reply: &Reply| match reply {
            Reply::Error(_) => Outcome::Nothing,
            _ => Outcome::Recopy,
        };
        let Some(command) = write.command else { return unknown(reply) };
        if command.serve == Serve::Script {
            // A script that failed may have written before; one that was not found has not run.
            let ran = !matches!(reply, Reply::Error(text) if text.starts_with(b"NOSCRIPT"));
            return if ran { Outcome::Recopy } else { Outcome::Nothing };
        }
        let crosses =
            write.touches.iter().any(|touch| touch.named.space != self.spaces.of(write.db));
        let outcome = effect::of(&Executed {
            command,
            request: &write.request,
            reply,
            probes,
            primary: &self.settings.primary,
            secondary: &self.settings.secondary,
            clock_offset: self.settings.clock_offset,
        });
        match outcome {
            // The request names a database by the primary's number.
            Outcome::Apply(_) if crosses => Outcome::Recopy,
            outcome => outcome,
        }
    }

    fn settle_effect(&mut self, write: &Write, effect: Effect, batch: &mut Batch) {
        if effect.total {
            for named in write.written_keys() {
                self.supersede(named);
            }
        } else if !self.all_migrated(write) || self.may_depend_on_untold(write) {
            self.counters.skipped += 1;
            if !self.note(write, effect.steps.iter().map(|step| &step.request)) {
                self.mark_write_dirty(write, Cause::Unmigrated);
            }
            return;
        }
        if !effect.total {
            batch.dependents.extend(Dependent::of(write));
        }
        batch.steps.extend(effect.steps);
        batch.checks.extend(effect.checks);
        batch.keys.extend(write.written_keys().cloned());
    }

    fn all_migrated(&self, write: &Write) -> bool {
        write.touches.iter().all(|touch| {
            let named = &touch.named;
            self.ledger.state(named.space, named.fingerprint) == State::Migrated
                && !self.left_out.contains(named.fingerprint)
        })
    }

    /// Whether something was learnt of its keys, since it was sent, that may have happened later: then
    /// what it did says nothing of what they are.
    fn is_overtaken(&self, write: &Write) -> bool {
        write.touches.iter().any(|touch| self.order.is_overtaken(touch.named.fingerprint))
    }

    /// The key's whole state is known without a copy; one that is under way is void.
    fn supersede(&mut self, named: &KeyRef) {
        self.left_out.remove(named.fingerprint);
        if self.ledger.state(named.space, named.fingerprint) != State::Migrated {
            self.ledger.set(named.space, named.fingerprint, State::Migrated);
            self.dirty.remove(named.fingerprint);
            self.copying.remove(&named.fingerprint);
        }
    }

    fn settle_reach(&mut self, write: &Write, reach: Reach, effect: &Effect, db: u32) {
        match reach {
            Reach::Keys | Reach::Code => {
                if !self.append_code(db, &effect.steps) {
                    self.code_is_stale = true;
                }
            }
            Reach::Database => self.settle_flush(Some(write.db), &effect.steps),
            Reach::AllDatabases => self.settle_flush(None, &effect.steps),
            Reach::Swap(a, b) => self.settle_swap(a, b),
        }
    }

    fn settle_flush(&mut self, db: Option<u32>, steps: &[Step]) {
        self.epoch += 1;
        let space = db.map(|db| self.spaces.of(db));
        self.ledger.flush(space);
        self.left_out.flush(space);
        let pairs = match (&self.settings.databases, db) {
            (_, Some(db)) => SmallVec::<[u32; 4]>::from_iter(self.settings.databases.to(db)),
            (crate::protocol::databases::Databases::All, None) => SmallVec::from_iter([0]),
            (crate::protocol::databases::Databases::Only(pairs), None) => {
                let flush = [success(["FLUSHDB"])];
                for (_, to) in pairs.clone() {
                    self.append_vital(to, &flush);
                }
                SmallVec::new()
            }
        };
        for to in pairs {
            self.append_vital(to, steps);
        }
        if let Some(marker) = self.settings.marker.clone() {
            self.append_vital(0, &[Step { request: marker, expect: Expect::Success }]);
        }
    }

    fn settle_swap(&mut self, a: u32, b: u32) {
        self.epoch += 1;
        self.swap_waits(|engine| engine.spaces.swap(a, b));
        let Some((to_a, to_b)) = self.settings.databases.to(a).zip(self.settings.databases.to(b))
        else {
            return self.void_and_resync(Cause::Effect);
        };
        self.append_vital(0, &[success(["SWAPDB", &to_a.to_string(), &to_b.to_string()])]);
        if to_a.min(to_b) == 0 {
            self.put_marker_back(to_a.max(to_b));
        }
    }

    /// The marker has gone with what database 0 held to `other`.
    fn put_marker_back(&mut self, other: u32) {
        let Some(marker) = self.settings.marker.clone() else { return };
        if let Some(key) = marker.arg(1) {
            let delete = Request::new([b"DEL".as_ref(), key]);
            self.append_vital(other, &[Step { request: delete, expect: Expect::Success }]);
        }
        self.append_vital(0, &[Step { request: marker, expect: Expect::Success }]);
    }

    fn mark_write_dirty(&mut self, write: &Write, cause: Cause) {
        for named in write.written_keys() {
            self.mark_dirty_in_order(named, cause);
        }
    }

    fn append(&mut self, batch: Batch, atomic: bool) {
        if batch.steps.is_empty() {
            return;
        }
        let Batch { db, steps, checks, keys, dependents } = batch;
        let atomic = atomic && steps.len() > 1;
        for named in &keys {
            self.touch(named.fingerprint.group());
        }
        let draft = Draft { since: self.now, db, atomic, keys, kind: Kind::Keys };
        match self.log.append(draft, steps.iter().chain(&checks)) {
            Ok(position) => self.dependents.enter(position, dependents),
            Err(keys) => {
                keys.iter().for_each(|named| self.mark_dirty_in_order(named, Cause::Overflow));
            }
        }
    }

    /// Scripts and libraries; false when there is no room for them.
    fn append_code(&mut self, db: u32, steps: &[Step]) -> bool {
        let (since, keys) = (self.now, SmallVec::new());
        let draft = Draft { since, db, atomic: false, keys, kind: Kind::Code };
        self.log.append(draft, steps).is_ok()
    }

    /// What concerns whole databases is always taken.
    fn append_vital(&mut self, db: u32, steps: &[Step]) {
        self.touch_all();
        let (since, keys) = (self.now, SmallVec::new());
        let draft = Draft { since, db, atomic: false, keys, kind: Kind::Databases };
        let _ = self.log.append(draft, steps);
    }
}

/// The script that a request brings along.
fn body(request: &Request) -> Option<&[u8]> {
    request.arg(1).filter(|_| request.is(0, "EVAL") || request.is(0, "EVAL_RO"))
}

fn success<const N: usize>(args: [&str; N]) -> Step {
    Step { request: Request::new(args), expect: Expect::Success }
}
