//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.
//!
//! A transaction that has arrived whole goes down the write lane as one block. One that comes step
//! by step, or that watches keys, gets a connection of its own: the server queues it and gives the
//! exact replies; its `EXEC` claims the keys of all queued commands like any write.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::client::{Client, Close, Way};
use super::dispatch::Meaning;
use super::session::{Queued, Queueing, Share, number};
use crate::lane::{Context, Purpose, Refusal};
use crate::protocol::command::Command;
use crate::protocol::resp::{self, Request, Scanner};

/// The most commands that a block may hold; a longer transaction goes step by step.
const BLOCK_LIMIT: usize = 4096;
/// What every server says to a `SELECT` of a database that it does not have.
const OUT_OF_RANGE: &str = "ERR DB index is out of range";

impl Client {
    pub(super) async fn watch(&mut self, request: Request, keys: usize) -> Result<(), Close> {
        self.settle().await?;
        if self.own().await?.is_some() {
            self.session.watch(keys);
            self.on_own(request, Meaning::Pass).await?;
        }
        Ok(())
    }

    pub(super) async fn multi(&mut self, multi: Request) -> Result<(), Close> {
        let watching = self.session.needs_connection();
        let mut requests: SmallVec<[Request; 1]> = SmallVec::from_iter([multi]);
        let mut whole = false;
        while !watching && !whole && requests.len() < BLOCK_LIMIT {
            let Some(request) = self.next_buffered() else { break };
            whole = request.is(0, "EXEC") && request.len() == 1;
            requests.push(request);
        }
        if whole
            && self.may_attempt().await?
            && let Some(queued) = self.session.as_block(&requests, &self.route.databases)
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
        self.settle().await?;
        if self.own().await?.is_none() {
            return Ok(());
        }
        self.session.begin(Share::of(self.shared.queues.clone()));
        self.on_own(multi, Meaning::Queue).await?;
        self.settle().await?;
        self.session.begun();
        self.leave_own();
        Ok(())
    }

    /// A command while the server queues.
    pub(super) async fn queue(
        &mut self,
        request: Request,
        command: &'static Command,
    ) -> Result<(), Close> {
        match self.session.on_queued(&request, command, &self.rules()) {
            Queueing::Keep(queued) => self.keep(queued).await,
            Queueing::Select => self.queue_select(request).await,
            Queueing::Exec => self.exec(request).await,
            Queueing::Discard => self.end_by(request).await,
            Queueing::Pass => self.on_own(request, Meaning::Pass).await,
            Queueing::Leave(kind) => {
                self.settle().await?;
                self.session.end_transaction();
                self.connection(request, kind).await
            }
            Queueing::Poison(reason) => self.poison(&reason.to_string()).await,
        }
    }

    /// Has the server end the transaction, or the watch.
    pub(super) async fn end_by(&mut self, request: Request) -> Result<(), Close> {
        self.on_own(request, Meaning::Pass).await?;
        self.settle().await?;
        self.session.end_transaction();
        Ok(())
    }

    /// A command that only the server knows, while it queues; `keys` are those that it writes.
    pub(super) async fn queue_unknown(
        &mut self,
        request: Request,
        keys: Vec<Bytes>,
    ) -> Result<(), Close> {
        self.keep(Queued::unknown(request, keys, self.session.db_of_queue())).await
    }

    async fn queue_select(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        self.current_route().await?;
        let db = number(&request, 1).filter(|_| request.len() == 2);
        match self.leads_to(db).await {
            Ok(db) => {
                if let Some(db) = db {
                    self.session.queue_leads_to(db);
                }
                let queued = self.session.queued_select(&request);
                self.keep(queued).await
            }
            Err(refusal) => self.poison(&refusal.to_string()).await,
        }
    }

    /// The database that a `SELECT` of `db` leads to; `None` when it will fail, because the server
    /// has none of that number. An error when nobody can tell.
    async fn leads_to(&self, db: Option<u32>) -> Result<Option<u32>, Refusal> {
        let Some(db) = db else { return Ok(None) };
        let Some(there) = self.route.databases.to(db) else { return Ok(None) };
        let context = Context { db: there, ..self.session.context.clone() };
        match self.route.clone().pool.lane(&context, Purpose::Write).await {
            Ok(_) => Ok(Some(db)),
            Err(Refusal::Server(text)) if text.starts_with(OUT_OF_RANGE) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Has the server queue a command, and the next one too if a flip comes before the `EXEC`.
    async fn keep(&mut self, queued: Queued) -> Result<(), Close> {
        self.enter(Way::Own).await?;
        let request = queued.request.clone();
        if !self.session.queue_up(queued) {
            return Box::pin(self.poison("transactions have queued more than there is room for"))
                .await;
        }
        self.on_own(request, Meaning::Queue).await
    }

    /// Refuses a command and makes sure that the transaction fails, as any error in it does.
    pub(super) async fn poison(&mut self, reason: &str) -> Result<(), Close> {
        self.settle().await?;
        self.enter(Way::Own).await?;
        let poison = self.session.poison();
        self.add_silently(SmallVec::from_iter([poison]), Meaning::Queue, true);
        self.refuse(reason).await
    }

    async fn exec(&mut self, exec: Request) -> Result<(), Close> {
        self.settle().await?;
        self.enter(Way::Own).await?;
        // A flip before it is sent needs them once more.
        let queued = self.session.to_execute();
        let (requests, step) = (SmallVec::from_iter([exec]), Meaning::Exec(queued.clone()));
        if queued.iter().any(|queued| queued.answered_here.is_some()) {
            // Its answer is wanted here, though the client may not want it.
            self.add_silently(requests, step, false);
            self.settle_and_complete(&queued).await?;
        } else {
            self.add(requests, step);
            self.settle().await?;
        }
        self.session.end_transaction();
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
            self.session.on_answer(request, answer);
            self.show_identity();
            self.reply(|out| out.extend_from_slice(answer));
        } else {
            self.answer_info(answer);
        }
        Ok(())
    }

    /// Answers an `EXEC` that has not been sent, if what its transaction watched was left behind. The
    /// connection may be needed for more than the transaction, which is therefore ended there.
    pub(super) fn break_exec(&mut self) {
        if !self.session.breaks_exec() || !self.batch.ends_with_exec() {
            return;
        }
        self.batch.clear();
        let protocol = self.session.context.protocol;
        self.reply(|out| resp::null_array(out, protocol));
        let discard = SmallVec::from_iter([Request::new(["DISCARD"])]);
        self.add_silently(discard, Meaning::Pass, true);
    }

    /// Sends a step down the client's own connection.
    pub(super) async fn on_own(&mut self, request: Request, meaning: Meaning) -> Result<(), Close> {
        self.enter(Way::Own).await?;
        self.add(SmallVec::from_iter([request]), meaning);
        Ok(())
    }
}
