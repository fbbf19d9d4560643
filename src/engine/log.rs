//! The effect log: what the secondary has yet to do, in the order in which the primary did it.
//!
//! *Guarantees:* first in, first out; bounded in bytes; what does not fit is refused, so that its
//! keys become dirty: nothing is ever dropped and counted.
//!
//! *Must not know:* whether the secondary is there.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::Millis;
use crate::engine::effect::{Expect, Step};
use crate::engine::ledger::Fingerprint;
use crate::protocol::resp;

/// What many copies in one entry weigh.
fn copies_weight(bytes: usize, copies: usize) -> usize {
    bytes + ENTRY_WEIGHT + copies * COPY_WEIGHT
}

/// Memory that is taken at once for the bytes of effects, of which each has a piece.
const ARENA: usize = 16 * 1024;

/// A place in the log. Later entries have larger ones.
pub(crate) type Position = u64;

/// What an entry weighs beyond its bytes, roughly.
const ENTRY_WEIGHT: usize = size_of::<Entry>() + 64;

/// Copies are welcome while less than this waits, in bytes: enough to keep the secondary busy. More
/// would only take memory, and make effects wait behind them.
const COPIES: usize = 16 * 1024 * 1024;
/// What each of many copies in one entry weighs beyond its bytes: a key by name, shared with the
/// page of the scan that it was found in, and its place.
const COPY_WEIGHT: usize = size_of::<KeyRef>() + 64;

/// A key by name, for making it dirty when its effect fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRef {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its space: the database it is in, under the number that it had at the start.
    pub space: u32,
    /// Its name.
    pub key: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keys: an effect.
    Keys,
    /// A key: a part of a copy, that another entry puts in place.
    Part,
    /// A key: a copy of its whole state.
    Copy,
    /// Keys: a copy of the whole state of each, by one command, in the order of the keys. Each must
    /// succeed.
    Copies,
    /// Whole databases. No key stands for it, so it is kept even when the log is full.
    Databases,
    /// Scripts and function libraries.
    Code,
}

/// One effect, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its place.
    pub position: Position,
    /// When the primary had done it.
    pub since: Millis,
    /// The secondary's database.
    pub db: u32,
    /// The commands as bytes, `MULTI` and `EXEC` included where atomic.
    pub commands: Bytes,
    /// What the secondary should answer to each command; nothing is said for [`Kind::Copies`].
    pub expect: SmallVec<[Expect; 2]>,
    /// Whether the commands are one transaction.
    pub atomic: bool,
    /// The keys that it writes.
    pub keys: SmallVec<[KeyRef; 1]>,
    /// What it is about.
    pub kind: Kind,
    weight: usize,
}

impl Entry {
    /// How many effects it stands for.
    fn effects(&self) -> usize {
        if self.kind == Kind::Copies { self.keys.len() } else { 1 }
    }
}

/// An entry handed out and not yet acknowledged.
#[derive(Debug)]
struct OnTheWay {
    position: Position,
    since: Millis,
    weight: usize,
    effects: usize,
}

#[derive(Debug)]
pub(super) struct Draft {
    /// When the primary had done it.
    pub since: Millis,
    /// The secondary's database.
    pub db: u32,
    /// Whether they must be one transaction.
    pub atomic: bool,
    /// The keys that they write.
    pub keys: SmallVec<[KeyRef; 1]>,
    /// What it is about.
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// Weight of what waits and of what is on its way.
    bytes: usize,
    /// Weight of what waits.
    waiting: usize,
    /// Effects that wait and are on their way; each of many copies in one entry counts.
    effects: usize,
    limit: usize,
    next: Position,
    acknowledged: Position,
    /// Entries handed out and not yet acknowledged, oldest first.
    on_the_way: VecDeque<OnTheWay>,
    arena: BytesMut,
}

impl Log {
    /// An empty log for at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            waiting: 0,
            effects: 0,
            limit,
            next: 1,
            acknowledged: 0,
            on_the_way: VecDeque::new(),
            arena: BytesMut::with_capacity(ARENA),
        }
    }

    /// Appends an effect; gives its place, or the keys back when there is no room.
    pub(super) fn append<'a>(
        &mut self,
        draft: Draft,
        steps: impl IntoIterator<Item = &'a Step>,
    ) -> Result<Position, SmallVec<[KeyRef; 1]>> {
        let (commands, expect) = self.encode(&draft, steps);
        let weight = commands.len() + ENTRY_WEIGHT;
        if self.bytes + weight > self.limit && draft.kind != Kind::Databases {
            return Err(draft.keys);
        }
        let keys = if draft.kind == Kind::Copy {
            draft.keys
        } else {
            draft.keys.iter().map(|named| self.keep(named)).collect()
        };
        Ok(self.push(Draft { keys, ..draft }, commands, expect, weight))
    }

    /// Whether there is room for so many copies of so many bytes together.
    pub(super) fn takes_copies(&self, bytes: usize, copies: usize) -> bool {
        self.bytes + copies_weight(bytes, copies) <= self.limit
    }

    /// Appends many copies, for which there must be room.
    pub(super) fn append_copies(&mut self, draft: Draft, commands: Bytes) -> Position {
        let weight = copies_weight(commands.len(), draft.keys.len());
        self.push(draft, commands, SmallVec::new(), weight)
    }

    fn push(
        &mut self,
        draft: Draft,
        commands: Bytes,
        expect: SmallVec<[Expect; 2]>,
        weight: usize,
    ) -> Position {
        let position = self.next;
        self.next += 1;
        self.bytes += weight;
        self.waiting += weight;
        let Draft { since, db, atomic, kind, keys } = draft;
        let entry = Entry { position, since, db, commands, expect, atomic, keys, kind, weight };
        self.effects += entry.effects();
        self.entries.push_back(entry);
        position
    }

    /// The bytes to be sent and what is expected in answer. A copy's command was made for the log
    /// and is shared; an effect's may be a piece of a client's read buffer and is copied out of it.
    fn encode<'a>(
        &mut self,
        draft: &Draft,
        steps: impl IntoIterator<Item = &'a Step>,
    ) -> (Bytes, SmallVec<[Expect; 2]>) {
        let mut steps = steps.into_iter();
        if draft.kind == Kind::Copy && !draft.atomic {
            let only = steps.next();
            let commands = only.map(|step| step.request.raw().clone()).unwrap_or_default();
            return (commands, only.iter().map(|step| step.expect).collect());
        }
        let mut expect = SmallVec::new();
        self.arena.reserve(512);
        if draft.atomic {
            resp::command(&mut self.arena, &[b"MULTI"]);
        }
        for step in steps {
            self.arena.extend_from_slice(step.request.raw());
            expect.push(step.expect);
        }
        if draft.atomic {
            resp::command(&mut self.arena, &[b"EXEC"]);
        }
        (self.arena.split().freeze(), expect)
    }

    /// Copies a key's name out of the client's read buffer, which is much larger than the name.
    fn keep(&mut self, named: &KeyRef) -> KeyRef {
        self.arena.extend_from_slice(&named.key);
        KeyRef { key: self.arena.split().freeze(), ..*named }
    }

    /// Takes the oldest entries, up to `bytes` of commands, at least one when there is one.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<Entry> {
        let mut taken = Vec::new();
        let mut sum = 0;
        while sum < bytes {
            let Some(entry) = self.entries.pop_front() else { break };
            sum += entry.commands.len();
            let Entry { position, since, weight, .. } = entry;
            let effects = entry.effects();
            self.waiting -= weight;
            self.on_the_way.push_back(OnTheWay { position, since, weight, effects });
            taken.push(entry);
        }
        taken
    }

    /// The secondary has answered everything up to `position`, well or badly.
    pub(super) fn acknowledge(&mut self, position: Position) {
        while self.on_the_way.front().is_some_and(|first| first.position <= position) {
            let Some(first) = self.on_the_way.pop_front() else { return };
            self.bytes -= first.weight;
            self.effects -= first.effects;
            self.acknowledged = first.position;
        }
    }

    /// When the oldest effect that is not acknowledged was done.
    pub(super) fn oldest(&self) -> Option<Millis> {
        let on_the_way = self.on_the_way.front().map(|first| first.since);
        on_the_way.or_else(|| self.entries.front().map(|entry| entry.since))
    }

    pub(super) fn len(&self) -> usize {
        self.effects
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of what waits to be taken, in bytes; 0 when nothing does.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Memory of what is not acknowledged, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether at least half of the room is left: copies wait for that, effects come first.
    pub(super) fn has_room_for_copies(&self) -> bool {
        self.bytes < (self.limit / 2).min(COPIES)
    }

    pub(super) fn last(&self) -> Position {
        self.next - 1
    }

    /// Everything up to here is acknowledged.
    pub(super) fn acknowledged(&self) -> Position {
        self.acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::resp::Request;

    fn step() -> Step {
        Step { request: Request::new(["SET", "k", "v"]), expect: Expect::Success }
    }

    fn append(log: &mut Log, vital: bool) -> bool {
        let kind = if vital { Kind::Databases } else { Kind::Keys };
        let steps = [step()];
        let draft = Draft { since: 5, db: 0, atomic: false, keys: SmallVec::new(), kind };
        log.append(draft, &steps).is_ok()
    }

    #[test]
    fn room_is_given_back_only_by_an_acknowledgement() {
        let mut log = Log::new(ENTRY_WEIGHT + 100);
        assert!(append(&mut log, false));
        assert!(!append(&mut log, false));
        assert!(append(&mut log, true), "what no key stands for is always kept");
        let taken = log.take(1);
        assert_eq!((taken.len(), log.len(), log.oldest()), (1, 2, Some(5)));
        assert!(!append(&mut log, false));
        log.acknowledge(taken[0].position);
        log.take(1);
        log.acknowledge(log.last());
        assert!(log.is_empty() && log.bytes() == 0);
        assert!(append(&mut log, false));
    }
}
