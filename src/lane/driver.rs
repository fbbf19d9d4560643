//! One upstream connection while it lasts: steps out, replies in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use smallvec::SmallVec;

use super::queue::Queue;
use super::{Hub, Job, Lost, Mailbox};
use crate::backend::{Broken, Wire};
use crate::engine::{Answer, ConnId, Unit};

/// More than this is not queued for the server's socket, in bytes: what waits beyond it waits as
/// jobs, whose clients wait too.
const OUTGOING_LIMIT: usize = 1024 * 1024;

/// A step that was sent, and the replies that have come.
#[derive(Debug)]
struct Pending {
    job: Job,
    missing: usize,
    replies: SmallVec<[Bytes; 2]>,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Driver {
    hub: Arc<Hub>,
    conn: ConnId,
    wire: Wire,
    queue: Arc<Queue>,
    /// Taken from the queue, not sent.
    backlog: VecDeque<Job>,
    /// Sent, not wholly answered.
    pending: VecDeque<Pending>,
    /// Who gets out-of-band messages; nobody on a shared lane.
    pushes: Option<Arc<Mailbox>>,
    blocked: bool,
}

impl Driver {
    pub(super) fn new(
        hub: Arc<Hub>,
        wire: Wire,
        queue: Arc<Queue>,
        backlog: VecDeque<Job>,
        pushes: Option<Arc<Mailbox>>,
    ) -> Self {
        let conn = hub.with(crate::engine::Engine::connect);
        Self { hub, conn, wire, queue, backlog, pending: VecDeque::new(), pushes, blocked: false }
    }

    /// Serves until the connection breaks (error) or nobody needs it any more.
    pub(super) async fn run(&mut self) -> Result<(), Broken> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            let taken = self.queue.poll_take(cx, &mut self.backlog);
            if taken == Poll::Ready(false) && self.backlog.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.dispatch(cx.waker());
            let flushed = self.wire.poll_flush(cx)?;
            let filled = self.wire.poll_fill(cx)?;
            if filled.is_ready() {
                self.receive()?;
            }
            let room = flushed.is_ready() && !self.backlog.is_empty() && !self.blocked;
            if taken.is_pending() && filled.is_pending() && !room {
                return Poll::Pending;
            }
        }
    }

    /// Sends from the backlog until a write has to wait for others'.
    fn dispatch(&mut self, waker: &Waker) {
        self.blocked = false;
        while self.wire.outgoing.len() < OUTGOING_LIMIT {
            let Some(job) = self.backlog.front_mut() else { return };
            if let Some(unit) = &mut job.unit
                && !self.hub.with(|engine| engine.begin(self.conn, unit))
            {
                self.blocked = true;
                self.hub.wait(self.conn, waker);
                // The wake-up may have come between the question and the wish to be woken.
                if !self.hub.with(|engine| engine.begin(self.conn, unit)) {
                    return;
                }
                self.blocked = false;
            }
            if let Some(job) = self.backlog.pop_front() {
                self.send(job);
            }
        }
    }

    fn send(&mut self, job: Job) {
        for request in &job.requests {
            self.wire.push(request.raw());
        }
        for probe in job.unit.iter().flat_map(|unit| unit.probes()) {
            self.wire.push(probe.raw());
        }
        let missing = job.replies();
        self.pending.push_back(Pending { job, missing, replies: SmallVec::new() });
    }

    /// Gives out every whole reply that has come.
    fn receive(&mut self) -> Result<(), Broken> {
        let mut answered = 0;
        let result = loop {
            let frame = match self.wire.buffered() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if frame.is_push() {
                if let Some(mailbox) = &self.pushes {
                    mailbox.push(&frame.raw);
                }
                continue;
            }
            let Some(pending) = self.pending.front_mut() else { continue };
            pending.replies.push(frame.raw);
            pending.missing -= 1;
            if pending.missing == 0
                && let Some(pending) = self.pending.pop_front()
            {
                answered += 1;
                self.complete(pending);
            }
        };
        self.queue.answered(answered);
        result
    }

    fn complete(&self, pending: Pending) {
        let Pending { job, replies, .. } = pending;
        let sent = job.requests.len();
        if let Some(unit) = &job.unit {
            let (own, probes) = replies.split_at(sent.min(replies.len()));
            if let Some(reply) = own.last() {
                let answer = Answer { reply, probes };
                let woken = self.hub.with(|engine| engine.finish(self.conn, unit, answer));
                self.hub.wake(&woken);
            }
        }
        let gate = job.unit.as_ref().and_then(|unit| self.hub.gate(unit));
        if let Some(mailbox) = job.sink.answer(job.shape, sent, &replies, gate) {
            self.hub.hold_back(&mailbox);
        }
    }

    /// The connection is gone: tells everybody who waited for an answer. What may still be sent on
    /// another connection is given back, and what is in doubt.
    pub(super) fn give_up(mut self, server: &str) -> (VecDeque<Job>, Doubt) {
        let lost = Lost::Connection(server.to_owned());
        let (mut again, mut units) = (VecDeque::new(), Vec::new());
        for Pending { job, .. } in std::mem::take(&mut self.pending) {
            if job.repeatable {
                again.push_back(job);
                continue;
            }
            units.extend(job.unit.map(|unit| *unit));
            self.queue.answered(1);
            job.sink.lose(&lost);
        }
        let woken = self.hub.with(|engine| {
            engine.doubt(units.len());
            engine.disconnect(self.conn)
        });
        self.hub.wake(&woken);
        again.append(&mut self.backlog);
        (again, Doubt { hub: self.hub.clone(), conn: self.conn, units })
    }
}

/// Writes whose outcome is not known. They count as in flight until it is certain that the server
/// will not execute them any more.
#[derive(Debug)]
pub(super) struct Doubt {
    hub: Arc<Hub>,
    conn: ConnId,
    units: Vec<Unit>,
}

impl Doubt {
    /// The server is done with the connection: the keys may be copied.
    pub(super) fn resolve(self) {
        for unit in &self.units {
            let woken = self.hub.with(|engine| engine.lost(self.conn, unit));
            self.hub.wake(&woken);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }
}
