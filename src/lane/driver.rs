//! One upstream connection while it lasts: steps out, replies in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use smallvec::SmallVec;

use super::gathering::Gathering;
use super::queue::Queue;
use super::{Hub, Job, Lost, Mailbox, Window};
use crate::backend::{Broken, Wire};
use crate::engine::{Answer, ConnId, Unit, Woken};

/// More than this is not queued for the server's socket, in bytes: what waits beyond it waits as
/// jobs, whose clients wait too.
const OUTGOING_LIMIT: usize = 1024 * 1024;

/// Replies under way at once, in bytes, as far as that can be known beforehand: more of them would
/// only wait in the server, in front of what others ask, and for clients that may be gone by then.
const UNDER_WAY: usize = 4 * 1024 * 1024;
/// Steps that may be under way however large their replies are.
const LEAST: usize = 32;

/// Jobs sent under one lock of the engine at most.
const ROUND: usize = 64;

/// A step that was sent, and the replies that have come.
#[derive(Debug)]
struct Pending {
    job: Job,
    missing: usize,
    replies: SmallVec<[Bytes; 2]>,
    /// Messages that came between the replies.
    pushes: Vec<Bytes>,
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
    /// How many those may be.
    window: Window,
    /// Who gets out-of-band messages; nobody on a shared lane.
    pushes: Option<Arc<Mailbox>>,
    blocked: bool,
    gathering: Gathering,
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
        Self {
            hub,
            conn,
            wire,
            queue,
            backlog,
            pending: VecDeque::new(),
            window: Window::new(UNDER_WAY, LEAST),
            pushes,
            blocked: false,
            gathering: Gathering::default(),
        }
    }

    /// Serves until the connection breaks (error) or nobody needs it any more.
    pub(super) async fn run(&mut self) -> Result<(), Broken> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.backlog.is_empty() && self.gathering.poll(self.queue.waiting(), cx).is_pending() {
            return Poll::Pending;
        }
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

    /// Sends from the backlog until enough is under way or a write has to wait for others'.
    fn dispatch(&mut self, waker: &Waker) {
        self.blocked = false;
        while self.wire.outgoing.len() < OUTGOING_LIMIT && !self.backlog.is_empty() {
            if self.room() == 0 {
                self.blocked = true;
                return;
            }
            if self.send_admitted() {
                continue;
            }
            self.hub.wait(self.conn, waker);
            // The wake-up may have come between the question and the wish to be woken.
            if !self.send_admitted() {
                self.blocked = true;
                return;
            }
        }
    }

    /// How many steps more may be under way.
    fn room(&self) -> usize {
        self.window.steps(0).saturating_sub(self.pending.len())
    }

    /// Sends a number of jobs under one lock of the engine; false when the first one has to wait.
    fn send_admitted(&mut self) -> bool {
        let count = self.backlog.len().min(ROUND).min(self.room());
        let asks = self.backlog.iter().take(count).any(|job| job.unit.is_some());
        let admitted = if asks {
            let (conn, jobs) = (self.conn, self.backlog.iter_mut().take(count));
            self.hub.with(|engine| {
                let mut units = jobs.map(|job| job.unit.as_mut());
                let refused =
                    units.position(|unit| unit.is_some_and(|unit| !engine.begin(conn, unit)));
                refused.unwrap_or(count)
            })
        } else {
            count
        };
        for job in self.backlog.drain(..admitted).collect::<SmallVec<[Job; 8]>>() {
            self.send(job);
        }
        admitted > 0
    }

    fn send(&mut self, job: Job) {
        if job.is_pointless() {
            self.queue.answered(1);
            job.abandon();
            return;
        }
        for request in &job.requests {
            self.wire.push(request.raw());
        }
        for probe in job.unit.iter().flat_map(|unit| unit.probes()) {
            self.wire.push(probe.raw());
        }
        let missing = job.replies();
        self.pending.push_back(Pending {
            job,
            missing,
            replies: SmallVec::new(),
            pushes: Vec::new(),
        });
    }

    /// Gives out every whole reply that has come.
    fn receive(&mut self) -> Result<(), Broken> {
        let mut done: Vec<Pending> = Vec::new();
        let (mut bytes, mut steps) = (0, 0);
        let result = loop {
            let frame = match self.wire.buffered() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if frame.is_push() {
                self.complete(&mut done);
                self.push(frame.raw);
                continue;
            }
            let Some(pending) = self.pending.front_mut() else { continue };
            bytes += frame.raw.len();
            pending.replies.push(frame.raw);
            pending.missing -= 1;
            if pending.missing == 0 {
                steps += 1;
                done.extend(self.pending.pop_front());
            }
        };
        self.window.learn(bytes, steps);
        self.complete(&mut done);
        result
    }

    /// Hands over a message. One that came behind the client's reply stays behind it, though the
    /// answers to probes are still to come.
    fn push(&mut self, message: Bytes) {
        let Some(mailbox) = &self.pushes else { return };
        match self.pending.front_mut() {
            Some(pending) if !pending.replies.is_empty() => pending.pushes.push(message),
            _ => mailbox.push(&message),
        }
    }

    /// Settles answered steps under one lock of the engine, then tells who asked.
    fn complete(&self, done: &mut Vec<Pending>) {
        if done.iter().any(|pending| pending.job.unit.is_some()) {
            let woken = self.hub.with(|engine| {
                let mut woken = Woken::new();
                for Pending { job, replies, .. } in done.iter() {
                    let Some(unit) = &job.unit else { continue };
                    let (own, probes) = replies.split_at(job.requests.len().min(replies.len()));
                    if let Some(reply) = own.last() {
                        woken.extend(engine.finish(self.conn, unit, Answer { reply, probes }));
                    }
                }
                woken
            });
            self.hub.wake(&woken);
        }
        self.queue.answered(done.len());
        for Pending { job, replies, pushes, .. } in done.drain(..) {
            let gate = job.unit.as_ref().and_then(|unit| self.hub.gate(unit));
            let sent = job.requests.len();
            if let Some(mailbox) = job.sink.answer(job.shape, sent, &replies, gate) {
                self.hub.hold_back(&mailbox);
            }
            for message in &pushes {
                if let Some(mailbox) = &self.pushes {
                    mailbox.push(message);
                }
            }
        }
    }

    /// The connection is gone: tells everybody who waited for an answer. What may still be sent on
    /// another connection is given back, and what is in doubt.
    pub(super) fn give_up(mut self, server: &str) -> (VecDeque<Job>, Doubt) {
        let lost = Lost::Connection(server.to_owned());
        let (mut again, mut units) = (VecDeque::new(), Vec::new());
        for Pending { mut job, .. } in std::mem::take(&mut self.pending) {
            if job.repeatable {
                again.push_back(job);
                continue;
            }
            units.extend(job.unit.take().map(|unit| *unit));
            self.queue.answered(1);
            job.lose(&lost);
        }
        let woken = self.hub.with(|engine| {
            engine.doubt(units.len());
            engine.disconnect(self.conn)
        });
        self.hub.wait_no_more(self.conn);
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
