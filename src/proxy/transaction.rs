//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.
//!
//! A transaction that has arrived whole goes down the write lane as one block. One that comes step
//! by step, or that watches keys, gets a connection of its own: the server queues it and gives the
//! exact replies; its `EXEC` claims the keys of all queued commands like any write.

use std::fmt::Display;

use bytes::{Bytes, BytesMut};

use super::client::{Client, Close, Meaning, Requests, Way};
use super::session::{Action, Needs, Queued, Queueing, Reason, Share, number};
use crate::lane::{Context, Purpose, Refusal};
use crate::protocol::command::Command;
use crate::protocol::resp::{Request, Scanner};

/// The most commands that a block may hold; a longer transaction goes step by step.
const BLOCK_LIMIT: usize = 4096;
/// What every server says to a `SELECT` of a database that it does not have.
const OUT_OF_RANGE: &str = "ERR DB index is out of range";

impl Client {
    pub(super) async fn watch(&mut self, request: Request, keys: usize) -> Result<(), Close> {
        self.session.watch(keys);
        self.send_own(request, Meaning::Pass).await
    }

    pub(super) async fn multi(
        &mut self,
        multi: Request,
        command: &'static Command,
    ) -> Result<(), Close> {
        let mut requests = self.rest_of_block(multi);
        if let Some(queued) = self.as_block(&requests).await {
            if self.shared.pause.is_on() {
                self.wait_out_pause(queued.iter().any(|queued| queued.writes)).await?;
            }
            self.rehearse_all(&requests);
            return self.send(Way::Lane(Purpose::Write), requests, Meaning::Block(queued)).await;
        }
        let multi = requests.remove(0);
        Box::pin(self.carry_out(Action::BeginQueue, multi, command)).await?;
        for request in requests {
            Box::pin(self.handle(request)).await?;
        }
        Ok(())
    }

    /// `MULTI` and what has come behind it, up to the `EXEC`.
    fn rest_of_block(&mut self, multi: Request) -> Requests {
        let mut requests = Requests::from_iter([multi]);
        // One reply of a block can't be left out.
        let stepwise = self.session.needs_connection() || self.session.skips_one();
        while !stepwise && requests.len() < BLOCK_LIMIT {
            let Some(request) = self.next_buffered() else { break };
            let is_whole = is_exec(&request);
            requests.push(request);
            if is_whole {
                break;
            }
        }
        requests
    }

    /// What a transaction that has come whole does, if it can be sent as one block.
    async fn as_block(&mut self, requests: &[Request]) -> Option<Vec<Queued>> {
        let is_whole = requests.last().is_some_and(is_exec);
        if !is_whole || !self.may_attempt().await {
            return None;
        }
        self.session.as_block(requests, &self.route.databases)
    }

    pub(super) async fn begin_queue(&mut self, multi: Request) -> Result<(), Close> {
        self.session.begin(Share::of(self.shared.queues.clone()));
        self.perform(Way::Own, Requests::from_iter([multi]), Meaning::Queue).await?;
        self.session.begun();
        Ok(())
    }

    /// A command while the server queues.
    pub(super) async fn queue(
        &mut self,
        request: Request,
        command: &'static Command,
    ) -> Result<(), Close> {
        let queueing = self.session.on_queued(&request, command, &self.rules());
        self.carry_out_queueing(queueing, request).await
    }

    pub(super) async fn carry_out_queueing(
        &mut self,
        queueing: Queueing,
        request: Request,
    ) -> Result<(), Close> {
        self.prepare(queueing.needs()).await?;
        match queueing {
            Queueing::Keep(queued) => self.keep(queued).await,
            Queueing::Select => self.queue_select(request).await,
            Queueing::Exec => self.exec(request).await,
            Queueing::Discard => self.end_by(request).await,
            Queueing::Pass => self.send_own(request, Meaning::Pass).await,
            Queueing::Leave(kind) => {
                self.session.end_transaction();
                self.connection(request, kind).await
            }
            Queueing::Poison(reason) => self.poison(&reason).await,
        }
    }

    /// Has the server end the transaction, or the watch.
    pub(super) async fn end_by(&mut self, request: Request) -> Result<(), Close> {
        self.session.ending();
        self.perform(Way::Own, Requests::from_iter([request]), Meaning::End).await?;
        self.session.ended();
        Ok(())
    }

    async fn queue_select(&mut self, request: Request) -> Result<(), Close> {
        let db = number(&request, 1).filter(|_| request.len() == 2);
        match self.leads_to(db).await {
            Ok(db) => {
                if let Some(db) = db {
                    self.session.queue_leads_to(db);
                }
                let queued = self.session.queued_select(&request);
                self.keep(queued).await
            }
            Err(refusal) => self.poison(&refusal).await,
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
        if self.session.queue_up(queued) {
            return self.send_own(request, Meaning::Queue).await;
        }
        self.prepare(Needs::Answers).await?;
        self.poison(&Reason::QueuesAreFull).await
    }

    /// Refuses a command and makes sure that the transaction fails, as any error in it does.
    async fn poison(&mut self, reason: &impl Display) -> Result<(), Close> {
        let poison = self.session.poison();
        self.send_silently(poison, Meaning::Queue).await?;
        self.prepare(Needs::Answers).await?;
        self.refuse(reason);
        Ok(())
    }

    async fn exec(&mut self, exec: Request) -> Result<(), Close> {
        // A flip before it is sent needs them once more.
        let queued = self.session.to_execute();
        if queued.iter().any(|queued| queued.answered_here.is_some()) {
            // Its answer is wanted here, though the client may not want it.
            let replies = self.perform_here(exec, Meaning::Exec(queued.clone())).await?;
            self.complete_all(replies, &queued)?;
        } else {
            self.perform(Way::Own, Requests::from_iter([exec]), Meaning::Exec(queued)).await?;
        }
        self.session.end_transaction();
        Ok(())
    }

    /// Answers an `EXEC` some of whose commands do something here too, each in its place.
    fn complete_all(&mut self, mut replies: BytesMut, queued: &[Queued]) -> Result<(), Close> {
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
            self.take_note(request, answer);
        } else {
            self.answer_info(answer);
        }
        Ok(())
    }

    /// Sends a step down the client's own connection.
    async fn send_own(&mut self, request: Request, meaning: Meaning) -> Result<(), Close> {
        self.send(Way::Own, Requests::from_iter([request]), meaning).await
    }
}

fn is_exec(request: &Request) -> bool {
    request.is(0, "EXEC") && request.len() == 1
}
