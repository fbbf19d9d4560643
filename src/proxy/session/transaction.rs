//! What a transaction watches and has queued, and the room for that, which all clients share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::Session;
use crate::protocol::command::{Command, Serve};
use crate::protocol::resp::Request;

/// No server knows it: makes a queued transaction fail at `EXEC`, as a refused command must.
const POISON: &str = "CROSSFADE.REFUSED";

/// What transactions may have queued before their `EXEC`, of all clients together, in bytes. A server
/// disconnects a client that alone queues four times as much.
const QUEUED_MAX: usize = 256 * 1024 * 1024;

/// So many bytes, for all together.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    taken: AtomicUsize,
}

impl Budget {
    /// What transactions may have queued.
    pub(crate) fn of_queues() -> Arc<Self> {
        Self::new(QUEUED_MAX)
    }

    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }
}

/// What one of them has taken; it is given back at the latest when this is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Nothing yet.
    pub(in crate::proxy) fn of(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Takes so much more; false, and nothing is taken, when there is no room.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let before = self.budget.taken.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.limit {
            self.budget.taken.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }

    pub(super) fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.budget.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A watch, a queue, or both.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// How many keys are watched.
    watched: usize,
    /// They were left behind with the connection: `EXEC` answers nil.
    broken: bool,
    /// The server was asked to end it, and has not refused.
    ending: bool,
    queue: Option<Queue>,
}

/// What `MULTI` has begun.
#[derive(Debug)]
pub(super) struct Queue {
    commands: Vec<Queued>,
    /// How many commands the server has queued.
    count: usize,
    /// What of the memory for queues is taken by this one.
    room: Share,
    /// The client's database as the queued `SELECT`s leave it.
    db: u32,
    /// The server has refused a command: `EXEC` fails, whatever comes before it.
    spoiled: bool,
}

/// A command queued in a transaction.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Queued {
    pub(in crate::proxy) request: Request,
    pub(in crate::proxy) command: Option<&'static Command>,
    /// The client's database when it runs.
    pub(in crate::proxy) db: u32,
    pub(in crate::proxy) writes: bool,
    /// The keys that a command writes which only the server knows.
    pub(in crate::proxy) unknown_keys: Vec<Bytes>,
    /// What the client sent, when the server's answer is not all that comes of it.
    pub(in crate::proxy) answered_here: Option<Request>,
}

impl Queued {
    /// One that writes no key.
    pub(super) fn passive(request: Request, db: u32) -> Self {
        let (command, unknown_keys, answered_here) = (None, Vec::new(), None);
        Self { request, command, db, writes: false, unknown_keys, answered_here }
    }

    pub(super) fn of(request: &Request, command: &'static Command, serve: Serve, db: u32) -> Self {
        // The body of a script that only reads is to be known on both servers all the same.
        let reads = matches!(serve, Serve::Read { .. } | Serve::Once { .. });
        let writes = !reads || command.name == "EVAL_RO";
        Self { command: Some(command), writes, ..Self::passive(request.clone(), db) }
    }

    /// One that only the server knows; `keys` are those that it writes.
    pub(super) fn unknown(request: Request, keys: Vec<Bytes>, db: u32) -> Self {
        Self { writes: !keys.is_empty(), unknown_keys: keys, ..Self::passive(request, db) }
    }

    fn bytes(&self) -> usize {
        self.request.raw().len() + size_of::<Self>()
    }
}

impl Queue {
    fn keep(&mut self, queued: Queued) {
        if !self.spoiled {
            self.commands.push(queued);
            self.count += 1;
        }
    }

    /// `MULTI` and what came behind it, but for the last `unsent` of them.
    pub(super) fn told_again(&self, unsent: usize) -> Vec<Request> {
        let poison = self.spoiled.then(|| Request::new([POISON]));
        let queued = self.commands.iter().map(|queued| queued.request.clone());
        // Of a queue that is spoiled nothing is kept.
        let unsent = if self.spoiled { 0 } else { unsent };
        let sent = (1 + self.commands.len()).saturating_sub(unsent);
        let told = std::iter::once(Request::new(["MULTI"])).chain(queued);
        told.take(sent).chain(poison).collect()
    }
}

impl Session {
    pub(super) fn queue(&self) -> Option<&Queue> {
        self.transaction.as_ref()?.queue.as_ref()
    }

    fn queue_mut(&mut self) -> Option<&mut Queue> {
        self.transaction.as_mut()?.queue.as_mut()
    }

    /// Whether `MULTI` was given, and commands are only queued.
    pub(in crate::proxy) fn is_queueing(&self) -> bool {
        self.queue().is_some()
    }

    /// Whether a transaction is open, or a watch.
    pub(in crate::proxy) fn has_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// How many commands are queued, once `MULTI` was given.
    pub(in crate::proxy) fn queued(&self) -> Option<usize> {
        self.queue().map(|queue| queue.count)
    }

    /// How many keys are watched.
    pub(in crate::proxy) fn watched(&self) -> usize {
        self.transaction.as_ref().map_or(0, |open| open.watched)
    }

    pub(super) fn has_queued_writes(&self) -> bool {
        self.queue().is_some_and(|queue| queue.commands.iter().any(|queued| queued.writes))
    }

    /// The database that the next queued command is run in.
    pub(in crate::proxy) fn db_of_queue(&self) -> u32 {
        self.queue().map_or(self.context.db, |queue| queue.db)
    }

    /// A queued `SELECT` leads there.
    pub(in crate::proxy) fn queue_leads_to(&mut self, db: u32) {
        if let Some(queue) = self.queue_mut() {
            queue.db = db;
        }
    }

    pub(in crate::proxy) fn watch(&mut self, keys: usize) {
        self.transaction.get_or_insert_default().watched += keys;
    }

    /// `MULTI` is sent.
    pub(in crate::proxy) fn begin(&mut self, room: Share) {
        let db = self.context.db;
        let queue = Queue { commands: Vec::new(), count: 0, room, db, spoiled: false };
        self.transaction.get_or_insert_default().queue = Some(queue);
    }

    /// `MULTI` has been answered. A user who may not is refused, and what comes next is no transaction.
    pub(in crate::proxy) fn begun(&mut self) {
        let Some(open) = &mut self.transaction else { return };
        open.queue = open.queue.take().filter(|queue| !queue.spoiled);
        if open.queue.is_none() && open.watched == 0 {
            self.transaction = None;
        }
    }

    /// A command is queued; false, and it is not, when there is no room.
    #[must_use]
    pub(in crate::proxy) fn queue_up(&mut self, queued: Queued) -> bool {
        let Some(queue) = self.queue_mut() else { return true };
        let fits = queue.spoiled || queue.room.take(queued.bytes());
        if fits {
            queue.keep(queued);
        }
        fits
    }

    /// What makes the transaction fail is queued in the place of a refused command.
    pub(in crate::proxy) fn poison(&mut self) -> Request {
        let poison = Request::new([POISON]);
        if let Some(queue) = self.queue_mut() {
            queue.keep(Queued::passive(poison.clone(), queue.db));
        }
        poison
    }

    /// The server has refused to queue something: nothing that was queued will be run, and no server
    /// needs to be told of it again.
    pub(in crate::proxy) fn spoil(&mut self) {
        if let Some(open) = &mut self.transaction {
            open.ending = false;
        }
        if let Some(queue) = self.queue_mut() {
            queue.spoiled = true;
            queue.commands = Vec::new();
            queue.room.give_back();
        }
    }

    /// What an `EXEC` runs.
    pub(in crate::proxy) fn to_execute(&self) -> Vec<Queued> {
        self.queue().map(|queue| queue.commands.clone()).unwrap_or_default()
    }

    /// Whether an `EXEC` answers nil without being sent: what was watched was left behind.
    pub(in crate::proxy) fn breaks_exec(&self) -> bool {
        let open = self.transaction.as_ref();
        open.is_some_and(|open| open.broken && open.queue.as_ref().is_some_and(|own| !own.spoiled))
    }

    /// The connection was left for another one, where nothing is watched.
    pub(in crate::proxy) fn moved(&mut self) {
        if let Some(open) = &mut self.transaction {
            open.broken |= open.watched > 0;
        }
    }

    /// `DISCARD` or `UNWATCH` is sent.
    pub(in crate::proxy) fn ending(&mut self) {
        if let Some(open) = &mut self.transaction {
            open.ending = true;
        }
    }

    /// It has been answered. A user who may not is refused, and what is open stays so.
    pub(in crate::proxy) fn ended(&mut self) {
        self.transaction = self.transaction.take().filter(|open| !open.ending);
    }

    /// `EXEC` has been answered, or the client leaves its connection.
    pub(in crate::proxy) fn end_transaction(&mut self) {
        self.transaction = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_by_one_is_not_there_for_others_until_it_is_given_back() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (Share::of(budget.clone()), Share::of(budget));
        assert!(one.take(60) && !other.take(60) && other.take(40) && !one.take(1));
        drop(one);
        assert!(other.take(60));
        other.give_back();
        assert!(other.take(100));
    }
}
