//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.
//!
//! A transaction that has arrived whole goes down the write lane as one block. One that comes step
//! by step, or that watches keys, borrows a session: the server queues it and gives the exact
//! replies; its `EXEC` claims the keys of all queued commands like any write.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::budget::Share;
use super::client::{Client, Close, Replies, Until, Way};
use super::client_command::queueable_question;
use super::dispatch::{Meaning, Queued};
use super::numbers;
use crate::command::{self, Command, Connection, Serve, Transaction as Kind};
use crate::lane::{Context, Job, Lane, Purpose, Refusal, Sink};
use crate::resp::{self, Request, Scanner};

/// The most commands that a block may hold; a longer transaction takes a session.
const BLOCK_LIMIT: usize = 4096;
/// No server knows it: makes a queued transaction fail at `EXEC`, as a refused command must.
const POISON: &str = "CROSSFADE.REFUSED";
/// What transactions may have queued before their `EXEC`, of all clients together, in bytes. A server
/// disconnects a client that alone queues four times as much.
pub(super) const ROOM: usize = 256 * 1024 * 1024;
/// What every server says to a `SELECT` of a database that it does not have.
const OUT_OF_RANGE: &str = "ERR DB index is out of range";

/// A transaction or a watch on a session.
#[derive(Debug)]
pub(super) struct Transaction {
    session: Arc<Lane>,
    /// How many keys are watched.
    watching: usize,
    queueing: bool,
    /// The watched keys were left behind by a flip: `EXEC` answers nil.
    broken: bool,
    /// The server has refused a command: `EXEC` fails, whatever comes before it.
    spoiled: bool,
    queued: Vec<Queued>,
    /// How many commands the server has queued.
    count: usize,
    /// What of the memory for queues is taken by this one.
    room: Share,
    /// The client's database as the queued `SELECT`s leave it.
    db: u32,
}

impl Transaction {
    fn new(session: Arc<Lane>, room: Share, db: u32) -> Self {
        Self {
            session,
            watching: 0,
            queueing: false,
            broken: false,
            spoiled: false,
            queued: Vec::new(),
            count: 0,
            room,
            db,
        }
    }

    /// How many commands are queued, once `MULTI` was given.
    pub(super) fn queued(&self) -> Option<usize> {
        self.queueing.then_some(self.count)
    }

    /// Keeps a command, unless nothing can come of it.
    fn keep(&mut self, queued: Queued) {
        if !self.spoiled {
            self.queued.push(queued);
            self.count += 1;
        }
    }

    /// Nothing that was queued will be run, and no server needs to be told of it again.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
        self.queued = Vec::new();
        self.room.give_back();
    }

    /// How many keys are watched.
    pub(super) fn watched(&self) -> usize {
        self.watching
    }

    pub(super) fn session(&self) -> &Arc<Lane> {
        &self.session
    }
}

impl Client {
    /// Whether `MULTI` was given, and commands are only queued.
    pub(super) fn is_queueing(&self) -> bool {
        self.transaction.as_ref().is_some_and(|open| open.queueing)
    }

    pub(super) fn has_queued_writes(&self) -> bool {
        let queued = self.transaction.iter().flat_map(|open| &open.queued);
        queued.into_iter().any(|queued| queued.writes)
    }

    pub(super) async fn transact(&mut self, request: Request, kind: Kind) -> Result<(), Close> {
        match kind {
            Kind::Multi if request.len() == 1 => self.multi(request).await,
            Kind::Watch if request.len() > 1 => {
                self.open_transaction().await?;
                if let Some(open) = &mut self.transaction {
                    open.watching += request.len() - 1;
                    self.on_session(request).await?;
                }
                Ok(())
            }
            Kind::Unwatch if self.transaction.is_some() => {
                self.on_session(request).await?;
                self.settle().await?;
                self.close_transaction();
                Ok(())
            }
            // Wrong arguments, or nothing to end: the server says so, and nothing has changed.
            _ => self.pass(request).await,
        }
    }

    async fn multi(&mut self, multi: Request) -> Result<(), Close> {
        let watching = self.transaction.is_some() || self.pinned.is_some();
        let mut requests: SmallVec<[Request; 1]> = SmallVec::from_iter([multi]);
        let mut whole = false;
        while !watching && !whole && requests.len() < BLOCK_LIMIT {
            let Some(request) = self.next_buffered() else { break };
            whole = request.is(0, "EXEC") && request.len() == 1;
            requests.push(request);
        }
        if whole
            && self.may_attempt().await?
            && let Some(queued) = self.as_block(&requests)
        {
            if self.shared.pause.is_on() {
                self.wait_out_pause(queued.iter().any(|queued| queued.writes)).await?;
            }
            self.enter(Way::Lane(Purpose::Write)).await?;
            self.add(requests, Meaning::Block(queued));
            return Ok(());
        }
        let mut requests = requests.into_iter();
        if let Some(multi) = requests.next() {
            self.begin_queueing(multi).await?;
        }
        for request in requests {
            Box::pin(self.handle(request)).await?;
        }
        Ok(())
    }

    async fn begin_queueing(&mut self, multi: Request) -> Result<(), Close> {
        self.open_transaction().await?;
        let Some(open) = &mut self.transaction else { return Ok(()) };
        open.queueing = true;
        open.db = self.context.db;
        self.step_on_session(multi, Meaning::Queue).await?;
        self.settle().await?;
        // A user who may not is refused, and what comes next is no transaction.
        if let Some(open) = self.transaction.as_mut().filter(|open| open.spoiled) {
            (open.spoiled, open.queueing) = (false, false);
            if open.watching == 0 {
                self.close_transaction();
            }
        }
        Ok(())
    }

    /// The commands between `MULTI` and `EXEC`, if all of them are plain.
    fn as_block(&self, requests: &[Request]) -> Option<Vec<Queued>> {
        let inner = requests.get(1..requests.len() - 1)?;
        inner
            .iter()
            .map(|request| {
                let command = command::lookup(request)?;
                let serve = command.serve(request);
                let plain = queueable(serve) && self.unmigrated(request).is_none();
                plain.then(|| queued(request, command, serve, self.context.db))
            })
            .collect()
    }

    /// A command while the server queues.
    pub(super) async fn queue(
        &mut self,
        request: Request,
        command: &'static Command,
        serve: Serve,
    ) -> Result<(), Close> {
        if let Some(db) = self.unmigrated(&request) {
            return self.poison(&numbers::refusal(db)).await;
        }
        match serve {
            Serve::Transaction(Kind::Exec) if request.len() == 1 => self.exec(request).await,
            Serve::Transaction(Kind::Discard) if request.len() == 1 => {
                self.on_session(request).await?;
                self.settle().await?;
                self.close_transaction();
                Ok(())
            }
            Serve::Transaction(_) => self.on_session(request).await,
            Serve::Connection(kind @ (Connection::Quit | Connection::Reset)) => {
                self.close_transaction();
                self.connection(request, kind).await
            }
            Serve::Connection(Connection::Select) => self.queue_select(request).await,
            Serve::Connection(Connection::Client) => self.queue_client(request).await,
            Serve::Connection(Connection::Info) => {
                self.queue_answered_here(request.clone(), request).await
            }
            Serve::Connection(Connection::Cluster | Connection::Interrupt) | Serve::Session => {
                self.queue_on_session(Queued::passive(request, self.db_of_queue())).await
            }
            Serve::Admin if self.shared.allow_admin => {
                self.queue_on_session(Queued::passive(request, self.db_of_queue())).await
            }
            Serve::Admin => {
                let name = command.name;
                self.poison(&format!("{name} passes only with --allow-admin")).await
            }
            Serve::Refused(reason) => self.poison(reason).await,
            serve if queueable(serve) => {
                self.queue_on_session(queued(&request, command, serve, self.db_of_queue())).await
            }
            _ => self.poison(&format!("{} can't be used in a transaction", command.name)).await,
        }
    }

    /// A command that only the server knows, while it queues; `keys` are those that it writes.
    pub(super) async fn queue_unknown(
        &mut self,
        request: Request,
        keys: Vec<Bytes>,
    ) -> Result<(), Close> {
        let (db, writes) = (self.db_of_queue(), !keys.is_empty());
        let queued = Queued { writes, unknown_keys: keys, ..Queued::passive(request, db) };
        self.queue_on_session(queued).await
    }

    /// `CLIENT` is answered here, when its turn has come: the server queues the question that it
    /// would be asked outside a transaction.
    async fn queue_client(&mut self, request: Request) -> Result<(), Close> {
        let Some(question) = queueable_question(&request) else {
            return self.poison("this CLIENT command can't be used in a transaction").await;
        };
        self.queue_answered_here(question, request).await
    }

    async fn queue_answered_here(
        &mut self,
        question: Request,
        request: Request,
    ) -> Result<(), Close> {
        let queued = Queued::passive(question, self.db_of_queue());
        self.queue_on_session(Queued { answered_here: Some(request), ..queued }).await
    }

    fn db_of_queue(&self) -> u32 {
        self.transaction.as_ref().map_or(0, |open| open.db)
    }

    /// Which database the commands behind a `SELECT` mean must be known before it is run.
    async fn queue_select(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        self.current_route().await?;
        let db = numbers::number(&request, 1).filter(|_| request.len() == 2);
        match self.leads_to(db).await {
            Ok(db) => {
                if let (Some(open), Some(db)) = (&mut self.transaction, db) {
                    open.db = db;
                }
                let queued = Queued::passive(request.clone(), self.db_of_queue());
                self.queue_on_session(Queued { answered_here: Some(request), ..queued }).await
            }
            Err(refusal) => self.poison(&refusal.to_string()).await,
        }
    }

    /// The database that a `SELECT` of `db` leads to; `None` when it will fail, because the server
    /// has none of that number. An error when nobody can tell.
    async fn leads_to(&self, db: Option<u32>) -> Result<Option<u32>, Refusal> {
        let Some(db) = db else { return Ok(None) };
        let Some(there) = self.route.databases.to(db) else { return Ok(None) };
        let context = Context { db: there, ..self.context.clone() };
        match self.route.clone().pool.lane(&context, Purpose::Write).await {
            Ok(_) => Ok(Some(db)),
            Err(Refusal::Server(text)) if text.starts_with(OUT_OF_RANGE) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Has the session queue a command, and the next one too if a flip comes before the `EXEC`.
    async fn queue_on_session(&mut self, queued: Queued) -> Result<(), Close> {
        self.enter(Way::Session).await?;
        let request = queued.request.clone();
        let Some(open) = &mut self.transaction else { return Ok(()) };
        let bytes = request.raw().len() + size_of::<Queued>();
        if !open.spoiled && !open.room.take(bytes) {
            return Box::pin(self.poison("transactions have queued more than there is room for"))
                .await;
        }
        open.keep(queued);
        self.step_on_session(request, Meaning::Queue).await
    }

    /// Refuses a command and makes sure that the transaction fails, as any error in it does.
    pub(super) async fn poison(&mut self, reason: &str) -> Result<(), Close> {
        self.settle().await?;
        let poison = Request::new([POISON]);
        if let Some(open) = &mut self.transaction {
            open.keep(Queued::passive(poison.clone(), open.db));
        }
        let replies = std::mem::replace(&mut self.replies, Replies::Off);
        let poisoned = self.step_on_session(poison, Meaning::Queue).await;
        self.replies = replies;
        poisoned?;
        self.refuse(reason).await
    }

    async fn exec(&mut self, exec: Request) -> Result<(), Close> {
        self.settle().await?;
        self.enter(Way::Session).await?;
        let Some(open) = &self.transaction else { return Ok(()) };
        // A flip before it is sent needs them once more.
        let queued = open.queued.clone();
        let step = Meaning::Exec(queued.clone());
        if queued.iter().any(|queued| queued.answered_here.is_some()) {
            // Its answer is wanted here, though the client may not want it.
            let replies = std::mem::replace(&mut self.replies, Replies::On);
            self.add(SmallVec::from_iter([exec]), step);
            self.replies = replies;
            self.settle_and_complete(&queued).await?;
        } else {
            self.add(SmallVec::from_iter([exec]), step);
            self.settle().await?;
        }
        self.close_transaction();
        Ok(())
    }

    /// Settles an `EXEC` some of whose commands do something here too, each in its place.
    async fn settle_and_complete(&mut self, queued: &[Queued]) -> Result<(), Close> {
        self.withheld = Some(Box::default());
        let settled = self.settle().await;
        let mut replies = self.withheld.take().unwrap_or_default().into_bytes();
        settled?;
        let mut frames = Scanner::default();
        while let Ok(Some(frame)) = frames.next(&mut replies) {
            if frame.raw.starts_with(b"*") {
                self.complete(&frame.raw, queued)?;
            } else if frame.is_push() {
                self.out.push(&frame.raw);
            } else {
                self.reply(|out| out.extend_from_slice(&frame.raw));
            }
        }
        Ok(())
    }

    fn complete(&mut self, reply: &Bytes, queued: &[Queued]) -> Result<(), Close> {
        let header = reply.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut rest = BytesMut::from(reply.as_ref());
        let header = rest.split_to(header);
        self.reply(|out| out.extend_from_slice(&header));
        let mut completed = Ok(());
        let mut elements = Scanner::default();
        for queued in queued {
            let Ok(Some(element)) = elements.next(&mut rest) else { break };
            match &queued.answered_here {
                Some(request) if !element.is_error() => {
                    // One that ends this connection is not the last to be answered.
                    completed = completed.and(self.answer_here(request, &element.raw));
                }
                _ => self.reply(|out| out.extend_from_slice(&element.raw)),
            }
        }
        completed
    }

    /// What a command of a transaction means to the client's own state, now that it was run.
    fn answer_here(&mut self, request: &Request, answer: &Bytes) -> Result<(), Close> {
        if request.is(0, "CLIENT") {
            return self.answer_client(request, answer);
        }
        if request.is(0, "SELECT") {
            self.context.db = numbers::number(request, 1).unwrap_or(self.context.db);
            self.show_identity();
            self.reply(|out| out.extend_from_slice(answer));
        } else {
            self.answer_info(answer);
        }
        Ok(())
    }

    /// Answers an `EXEC` that has not been sent, if what its transaction watched was left behind.
    pub(super) fn breaks_exec(&mut self) -> bool {
        let broken = self.transaction.as_ref().is_some_and(|open| open.broken && !open.spoiled);
        if !broken || !self.batch.ends_with_exec() {
            return false;
        }
        self.batch.clear();
        let protocol = self.context.protocol;
        self.reply(|out| resp::null_array(out, protocol));
        true
    }

    async fn open_transaction(&mut self) -> Result<(), Close> {
        self.settle().await?;
        if self.transaction.is_some() {
            return Ok(());
        }
        if let Some(session) = self.open_session().await? {
            let room = Share::of(self.shared.queues.clone());
            self.transaction = Some(Transaction::new(session, room, self.context.db));
        }
        Ok(())
    }

    fn close_transaction(&mut self) {
        self.transaction = None;
        self.lane = None;
        self.way = Way::Lane(Purpose::Read);
    }

    /// A session in the client's context; an error is answered when there is none.
    pub(super) async fn open_session(&mut self) -> Result<Option<Arc<Lane>>, Close> {
        if let Some(pinned) = &self.pinned {
            return Ok(Some(pinned.clone()));
        }
        self.open_fresh_session().await
    }

    /// The same, and never one that the client has already.
    pub(super) async fn open_fresh_session(&mut self) -> Result<Option<Arc<Lane>>, Close> {
        self.current_route().await?;
        let context = match self.upstream_context() {
            Ok(context) => context,
            Err(reason) => {
                self.error(&format!("ERR crossfade: {reason}"));
                return Ok(None);
            }
        };
        match self.route.clone().pool.session(&context, self.mailbox.clone()).await {
            Ok(session) => Ok(Some(session)),
            Err(refusal) => {
                self.refused(&refusal);
                Ok(None)
            }
        }
    }

    /// Sends a command that writes nothing by itself down the session.
    pub(super) async fn on_session(&mut self, request: Request) -> Result<(), Close> {
        self.step_on_session(request, Meaning::Pass).await
    }

    async fn step_on_session(&mut self, request: Request, meaning: Meaning) -> Result<(), Close> {
        self.enter(Way::Session).await?;
        self.add(SmallVec::from_iter([request]), meaning);
        Ok(())
    }

    /// After a flip: what the old primary had queued of an open transaction is queued again on the
    /// new one, where what has not been sent yet will follow; a watch is broken.
    pub(super) async fn rehome_transaction(&mut self) -> Result<(), Close> {
        if self.is_queueing() {
            // Whether the old primary has refused a command decides what the new one is told.
            self.pump(Until::Settled).await?;
        }
        let Some(mut open) = self.transaction.take() else { return Ok(()) };
        let Some(session) = Box::pin(self.open_session()).await? else { return Err(Close::Now) };
        open.session = session;
        open.broken |= open.watching > 0;
        if open.queueing {
            let mut jobs = self.told_again(&open);
            self.submitted += jobs.len() as u64;
            if !open.session.submit(&mut jobs) {
                return Err(Close::Now);
            }
        }
        self.transaction = Some(open);
        Ok(())
    }

    /// What brings a new session to where the old one was.
    fn told_again(&self, open: &Transaction) -> Vec<Job> {
        let poison = open.spoiled.then(|| Request::new([POISON]));
        let databases = &self.route.databases;
        let queued = open.queued.iter().map(|queued| &queued.request);
        let queued = queued.map(|request| numbers::translated(request, databases));
        // What is still in the batch follows by itself.
        let unsent = if open.spoiled { 0 } else { self.batch.to_be_queued() };
        let sent = (1 + open.queued.len()).saturating_sub(unsent);
        std::iter::once(Request::new(["MULTI"]))
            .chain(queued)
            .take(sent)
            .chain(poison)
            .map(|request| Job::queue(request, Sink::Silent(self.mailbox.clone())))
            .collect()
    }
}

fn queued(request: &Request, command: &'static Command, serve: Serve, db: u32) -> Queued {
    // The body of a script that only reads is to be known on both servers all the same.
    let reads = matches!(serve, Serve::Read { .. } | Serve::Once { .. });
    let writes = !reads || command.name == "EVAL_RO";
    Queued { command: Some(command), writes, ..Queued::passive(request.clone(), db) }
}

/// Whether a command may be part of a transaction here.
fn queueable(serve: Serve) -> bool {
    matches!(
        serve,
        Serve::Read { .. }
            | Serve::Once { .. }
            | Serve::Write
            | Serve::Barrier
            | Serve::Blocking
            | Serve::Script
    )
}
