//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.
//!
//! A transaction that has arrived whole goes down the write lane as one block. One that comes step
//! by step, or that watches keys, borrows a session: the server queues it and gives the exact
//! replies; its `EXEC` claims the keys of all queued commands like any write.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::client::{Client, Close, Way};
use super::client_command::queueable_question;
use super::dispatch::{Meaning, Queued};
use crate::command::{self, Command, Connection, Serve, Transaction as Kind};
use crate::lane::{Job, Lane, Sink};
use crate::resp::{self, Request, Scanner};

/// The most commands that a block may hold; a longer transaction takes a session.
const BLOCK_LIMIT: usize = 4096;
/// No server knows it: makes a queued transaction fail at `EXEC`, as a refused command must.
const POISON: &str = "CROSSFADE.REFUSED";

/// A transaction or a watch on a session.
#[derive(Debug)]
pub(super) struct Transaction {
    session: Arc<Lane>,
    /// How many keys are watched.
    watching: usize,
    queueing: bool,
    /// The watched keys were left behind by a flip: `EXEC` answers nil.
    broken: bool,
    queued: Vec<Queued>,
    /// The client's database as the queued `SELECT`s leave it.
    db: u32,
}

impl Transaction {
    /// How many commands are queued, once `MULTI` was given.
    pub(super) fn queued(&self) -> Option<usize> {
        self.queueing.then_some(self.queued.len())
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
        if whole && let Some(queued) = self.as_block(&requests) {
            if self.shared.pause.is_on() {
                self.wait_out_pause(queued.iter().any(|queued| queued.writes)).await?;
            }
            self.enter(Way::Write).await?;
            self.add(requests, Meaning::Block(queued));
            return Ok(());
        }
        let mut requests = requests.into_iter();
        self.open_transaction().await?;
        if let (Some(open), Some(multi)) = (&mut self.transaction, requests.next()) {
            open.queueing = true;
            open.db = self.context.db;
            self.step_on_session(multi, Meaning::Queue).await?;
        }
        for request in requests {
            Box::pin(self.handle(request)).await?;
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
                queueable(serve).then(|| queued(request, command, serve, self.context.db))
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
            Serve::Connection(Connection::Cluster) | Serve::Session => {
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

    async fn queue_select(&mut self, request: Request) -> Result<(), Close> {
        let db = request.arg(1).and_then(resp::parse_integer).and_then(|db| u32::try_from(db).ok());
        if let (Some(open), Some(db)) = (&mut self.transaction, db) {
            open.db = db;
        }
        self.queue_on_session(Queued::passive(request, self.db_of_queue())).await
    }

    /// Has the session queue a command, and the next one too if a flip comes before the `EXEC`.
    async fn queue_on_session(&mut self, queued: Queued) -> Result<(), Close> {
        self.enter(Way::Session).await?;
        let request = queued.request.clone();
        if let Some(open) = &mut self.transaction {
            open.queued.push(queued);
        }
        self.step_on_session(request, Meaning::Queue).await
    }

    /// Refuses a command and makes sure that the transaction fails, as any error in it does.
    pub(super) async fn poison(&mut self, reason: &str) -> Result<(), Close> {
        self.settle().await?;
        let replies = std::mem::replace(&mut self.replies, super::client::Replies::Off);
        let poison = Queued::passive(Request::new([POISON]), self.context.db);
        let poisoned = self.queue_on_session(poison).await;
        self.replies = replies;
        poisoned?;
        self.refuse(reason).await
    }

    async fn exec(&mut self, exec: Request) -> Result<(), Close> {
        self.settle().await?;
        self.enter(Way::Session).await?;
        let Some(open) = &self.transaction else { return Ok(()) };
        // A flip before it is sent needs them once more.
        let (queued, db) = (open.queued.clone(), open.db);
        self.add(SmallVec::from_iter([exec]), Meaning::Exec(queued.clone()));
        if queued.iter().any(|queued| queued.answered_here.is_some()) {
            self.settle_and_complete(&queued).await?;
        }
        self.settle().await?;
        let Some(session) = self.transaction.as_ref().map(|open| open.session.clone()) else {
            return Ok(());
        };
        if db != self.context.db && self.has_gone_to(&session, db).await {
            self.context.db = db;
            self.show_identity();
        }
        self.close_transaction();
        Ok(())
    }

    /// Settles an `EXEC` some of whose commands are answered here, in the place of the answers that
    /// the server gave to the questions.
    async fn settle_and_complete(&mut self, queued: &[Queued]) -> Result<(), Close> {
        self.withheld = Some(Box::default());
        let settled = self.settle().await;
        let mut replies = self.withheld.take().unwrap_or_default().into_bytes();
        settled?;
        let mut frames = Scanner::default();
        while let Ok(Some(frame)) = frames.next(&mut replies) {
            if frame.raw.starts_with(b"*") {
                self.complete(&frame.raw, queued)?;
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

    fn answer_here(&mut self, request: &Request, answer: &Bytes) -> Result<(), Close> {
        if request.is(0, "CLIENT") {
            return self.answer_client(request, answer);
        }
        self.answer_info(answer);
        Ok(())
    }

    /// Answers an `EXEC` that has not been sent, if what its transaction watched was left behind.
    pub(super) fn breaks_exec(&mut self) -> bool {
        let broken = self.transaction.as_ref().is_some_and(|open| open.broken);
        if !broken || !self.batch.ends_with_exec() {
            return false;
        }
        self.batch.clear();
        let protocol = self.context.protocol;
        self.reply(|out| resp::null_array(out, protocol));
        true
    }

    /// Whether the `EXEC` that held a `SELECT` of this database has run it: the server knows where
    /// the session is now. One that may not be asked is believed to have.
    async fn has_gone_to(&self, session: &Arc<Lane>, db: u32) -> bool {
        let question = Request::new(["CLIENT", "INFO"]);
        let Some(Ok(answer)) = Self::ask_on(session, question).await else { return true };
        let Some(db) = self.route.databases.to(db) else { return false };
        let there = format!(" db={db} ");
        answer.starts_with(b"-") || answer.windows(there.len()).any(|part| part == there.as_bytes())
    }

    async fn open_transaction(&mut self) -> Result<(), Close> {
        self.settle().await?;
        if self.transaction.is_some() {
            return Ok(());
        }
        if let Some(session) = self.open_session().await? {
            self.transaction = Some(Transaction {
                session,
                watching: 0,
                queueing: false,
                broken: false,
                queued: Vec::new(),
                db: self.context.db,
            });
        }
        Ok(())
    }

    fn close_transaction(&mut self) {
        self.transaction = None;
        self.lane = None;
        self.way = Way::Read;
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
        let Some(mut open) = self.transaction.take() else { return Ok(()) };
        let Some(session) = Box::pin(self.open_session()).await? else { return Err(Close::Now) };
        open.session = session;
        open.broken |= open.watching > 0;
        if open.queueing {
            let multi = Request::new(["MULTI"]);
            let queued = open.queued.iter().map(|queued| queued.request.clone());
            let sent = (1 + open.queued.len()).saturating_sub(self.batch.to_be_queued());
            let mailbox = &self.mailbox;
            let mut jobs: Vec<Job> = std::iter::once(multi)
                .chain(queued)
                .take(sent)
                .map(|request| Job::pass(request, Sink::Silent(mailbox.clone())))
                .collect();
            self.submitted += jobs.len() as u64;
            if !open.session.submit(&mut jobs) {
                return Err(Close::Now);
            }
        }
        self.transaction = Some(open);
        Ok(())
    }
}

fn queued(request: &Request, command: &'static Command, serve: Serve, db: u32) -> Queued {
    let writes = !matches!(serve, Serve::Read { .. } | Serve::Once { .. });
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
