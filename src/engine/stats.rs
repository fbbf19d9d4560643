//! What can be seen of an engine from outside: where it stands, what it has counted, and how many
//! calls of each command have been sent to the primary. Held against what the primary counts itself,
//! the last tells whether somebody else calls too.

use std::sync::Arc;

use super::{Copying, Counters, Engine, KeyRef, Millis, Position, Settings, Unit};
use crate::engine::ledger::{Marks, State};
use crate::protocol::command::{Command, table};

/// How long copies pause after the secondary refused one (out of memory, read-only).
const REFUSAL_PAUSE: Millis = 300;

impl Engine {
    /// Whether a key's effects flow.
    pub(crate) fn is_migrated(&self, named: &KeyRef) -> bool {
        self.ledger.state(named.space, named.fingerprint) == State::Migrated
    }

    /// Changes with every `SWAPDB`.
    pub(crate) fn numbering(&self) -> u32 {
        self.spaces.numbering()
    }

    /// The same; `None` while a command is under way that might change it.
    pub(crate) fn settled_numbering(&self) -> Option<u32> {
        (!self.order.wants_everything()).then(|| self.spaces.numbering())
    }

    /// How keys stand, to be looked up without the engine.
    pub(crate) fn ledger_marks(&self) -> Arc<Marks> {
        self.ledger.marks()
    }

    /// Keys that the ledger holds a mark for, and the memory of the marks in bytes.
    pub(crate) fn marks(&self) -> (usize, usize) {
        (self.ledger.len(), self.ledger.bytes())
    }

    /// What was told at the start.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Effects that the secondary has not acknowledged, and their bytes.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.log.len(), self.log.bytes())
    }

    /// Memory of the effects that wait to be taken, in bytes; 0 when none does.
    pub(crate) fn waiting(&self) -> usize {
        self.log.waiting()
    }

    /// Whether a copier has something to do: a dirty key, and room for its copy.
    pub(crate) fn wants_copies(&self) -> bool {
        self.dirty.len() > 0 && self.dirty.len() > self.resting() && self.may_copy()
    }

    /// Whether copies are welcome: the log has room, and the secondary takes what it is given.
    pub(crate) fn may_copy(&self) -> bool {
        let refusing =
            self.refused_at.is_some_and(|at| self.now.saturating_sub(at) < REFUSAL_PAUSE);
        self.log.has_room_for_copies() && !refusing && self.is_mirroring()
    }

    /// Keys that writes wait for: dirty ones, and those whose copy is under way since. Function
    /// libraries that must be copied count as one.
    pub(crate) fn dirty_keys(&self) -> usize {
        let copying = self.copying.values().filter(|copying| copying.since.is_some()).count();
        let scripts = usize::from(self.scripts.is_open());
        // A pass that has been asked for and has not begun stands for keys that nobody counted.
        let pass = usize::from(self.needs_pass());
        let code = usize::from(self.code_is_stale);
        self.dirty.len() + copying + self.in_doubt.0 + scripts + pass + code
    }

    /// Keys that writes wait for and whose copies take long, or can't begin yet.
    pub(crate) fn slow_keys(&self) -> usize {
        if self.is_halted() {
            return 0;
        }
        let by_parts = |copying: &&Copying| copying.since.is_some() && copying.began.is_some();
        let by_parts = self.copying.values().filter(by_parts).count();
        by_parts + self.costly_keys() + self.in_doubt.0 + usize::from(self.needs_pass())
    }

    /// The age in milliseconds of the oldest effect that the secondary has not got; 0 when there is
    /// none.
    pub(crate) fn effects_lag(&self, now: Millis) -> Millis {
        self.log.oldest().map_or(0, |since| now.saturating_sub(since))
    }

    /// Writes in flight to the primary.
    pub(crate) fn in_flight(&self) -> u32 {
        self.order.in_flight()
    }

    /// Whether a key must be copied in a pass over groups, or over everything.
    pub(crate) fn needs_pass(&self) -> bool {
        self.resync.is_some() || self.dirty.has_lost()
    }

    /// Whether no pass is under way or asked for.
    pub(crate) fn is_settled_throughout(&self) -> bool {
        !self.passing && !self.needs_pass()
    }

    /// Since when the oldest key is in doubt that no copy has been read of.
    pub(super) fn oldest_in_doubt(&self) -> Option<Millis> {
        let copying = self.copying.values().filter_map(|copying| copying.since);
        let doubt = (self.in_doubt.0 > 0).then_some(self.in_doubt.1);
        copying.chain(self.dirty.oldest()).chain(doubt).chain(self.halted).min()
    }

    /// The age in milliseconds of the oldest write that the secondary has not got, as an effect or
    /// as a copy; 0 when there is none.
    pub(crate) fn lag(&self, now: Millis) -> Millis {
        let oldest = self.oldest_in_doubt().into_iter().chain(self.log.oldest()).min();
        // A write in flight may be done already: then it is as young as can be, but it is there.
        let in_flight = u64::from(self.order.in_flight() > 0);
        oldest.map_or(in_flight, |since| now.saturating_sub(since).max(1))
    }

    /// Whether the secondary has got every write that it is to get.
    pub(crate) fn is_drained(&self) -> bool {
        let nothing_open = self.order.in_flight() == 0 && self.waits.len() == 0;
        nothing_open && self.log.is_empty() && (self.is_halted() || self.dirty_keys() == 0)
    }

    /// Is another one whenever something has come true that somebody may wait for, but for what time
    /// alone does.
    pub(crate) fn progress(&self) -> impl PartialEq + use<> {
        let at_rest = self.order.in_flight() == 0 && self.log.is_empty();
        (self.log.acknowledged(), self.settled_numbering(), self.is_halted(), at_rest)
    }

    /// The last place in the log, and up to where the secondary has acknowledged.
    pub(crate) fn positions(&self) -> (Position, Position) {
        (self.log.last(), self.log.acknowledged())
    }
}

/// Counts since the start, by a command's place in the table.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    begun: Vec<u64>,
    ended: Vec<u64>,
}

impl Calls {
    pub(super) fn new() -> Self {
        let none = vec![0; table().len()];
        Self { begun: none.clone(), ended: none }
    }

    /// Calls that the primary has been sent, or is about to be.
    pub(crate) fn begun(&self, command: &Command) -> u64 {
        self.begun.get(command.place()).copied().unwrap_or(0)
    }

    /// Calls that it has answered, or will never execute.
    pub(crate) fn ended(&self, command: &Command) -> u64 {
        self.ended.get(command.place()).copied().unwrap_or(0)
    }

    pub(super) fn begin(&mut self, unit: &Unit) {
        count(&mut self.begun, unit);
    }

    pub(super) fn end(&mut self, unit: &Unit) {
        count(&mut self.ended, unit);
    }
}

fn count(counts: &mut [u64], unit: &Unit) {
    for command in unit.writes.iter().filter_map(|write| write.command) {
        if let Some(count) = counts.get_mut(command.place()) {
            *count += 1;
        }
    }
}

impl Engine {
    /// What the primary has been sent.
    pub(crate) fn calls(&self) -> Calls {
        self.calls.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::protocol::command::lookup;
    use crate::protocol::resp::Request;

    /// As if these had been sent and had ended.
    pub(crate) fn calls_of(begun: &[&str], ended: &[&str]) -> Calls {
        let mut calls = Calls::new();
        for (names, counts) in [(begun, &mut calls.begun), (ended, &mut calls.ended)] {
            for name in names {
                let command = lookup(&Request::new(name.split(' '))).unwrap();
                counts[command.place()] += 1;
            }
        }
        calls
    }
}
