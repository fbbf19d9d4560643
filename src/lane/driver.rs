//! One upstream connection while it lasts: steps out, replies in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use smallvec::SmallVec;

use super::queue::{Gathering, Queue};
use super::{Job, Lost, ReplyQueue, SharedEngine, Window};
use crate::engine::{Answer, ConnId, Gate, Passing, Unit, Woken};
use crate::metrics::latency::Sampler;
use crate::server::{Broken, Wire};

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
    /// What its answer waits for.
    gate: Option<Gate>,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Driver {
    engine: Arc<SharedEngine>,
    conn: ConnId,
    wire: Wire,
    queue: Arc<Queue>,
    /// Taken from the queue, not sent.
    backlog: VecDeque<Job>,
    /// Taken from the backlog, and waiting for keys while others pass them.
    passing: Passing<Job>,
    /// Sent, not wholly answered.
    pending: VecDeque<Pending>,
    /// How many those may be.
    window: Window,
    /// Who gets out-of-band messages; nobody on a shared lane.
    pushes: Option<Arc<ReplyQueue>>,
    blocked: bool,
    gathering: Gathering,
    /// Asked on shared lanes alone: what others send may be made to wait.
    sampler: Sampler,
}

impl Driver {
    pub(super) fn new(
        engine: Arc<SharedEngine>,
        wire: Wire,
        queue: Arc<Queue>,
        backlog: VecDeque<Job>,
        pushes: Option<Arc<ReplyQueue>>,
    ) -> Self {
        let conn = engine.with(crate::engine::Engine::connect);
        Self {
            engine,
            conn,
            wire,
            queue,
            backlog,
            passing: Passing::new(conn),
            pending: VecDeque::new(),
            window: Window::new(UNDER_WAY, LEAST),
            pushes,
            blocked: false,
            gathering: Gathering::default(),
            sampler: Sampler::default(),
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

    /// Sends what may be sent, until enough is under way; what has to wait for others' writes is passed
    /// by other clients' jobs.
    fn dispatch(&mut self, waker: &Waker) {
        self.blocked = false;
        let mut watching = false;
        while self.wire.outgoing.len() < OUTGOING_LIMIT {
            if self.room() == 0 {
                self.blocked = true;
                return;
            }
            if self.send_parked() | self.send_admitted() {
                continue;
            }
            if self.backlog.is_empty() && self.passing.is_empty() {
                return;
            }
            if std::mem::replace(&mut watching, true) {
                self.blocked = true;
                return;
            }
            // Asked once more: the wake-up may come between the question and the wish to be woken.
            self.engine.wait(self.conn, waker);
        }
    }

    /// How many steps more may be under way.
    fn room(&self) -> usize {
        self.window.steps(0).saturating_sub(self.pending.len())
    }

    /// Sends the jobs that have waited for others' writes and need not any more.
    fn send_parked(&mut self) -> bool {
        if self.passing.is_empty() {
            return false;
        }
        let passing = &mut self.passing;
        let jobs = self.engine.with(|engine| passing.retry(engine));
        let any = !jobs.is_empty();
        jobs.into_iter().for_each(|job| self.send(job));
        any
    }

    /// Sends a number of jobs under one lock of the engine, and lets the first one that has to wait
    /// be passed by those behind it; false when there is none, or nobody may pass it.
    fn send_admitted(&mut self) -> bool {
        let count = self.backlog.len().min(ROUND).min(self.room());
        if count == 0 {
            return false;
        }
        let asks = self.backlog.iter().take(count).any(|job| job.unit.is_some());
        let admitted = if asks || !self.passing.is_empty() {
            let (passing, mut jobs) = (&mut self.passing, self.backlog.iter_mut().take(count));
            self.engine.with(|engine| {
                let refused = jobs.position(|job| !passing.admits(engine, job));
                refused.unwrap_or(count)
            })
        } else {
            count
        };
        for job in self.backlog.drain(..admitted).collect::<SmallVec<[Job; 8]>>() {
            self.send(job);
        }
        admitted > 0 || self.park()
    }

    fn park(&mut self) -> bool {
        let Some(job) = self.backlog.pop_front() else { return false };
        match self.passing.park(job) {
            Ok(()) => true,
            Err(job) => {
                self.backlog.push_front(job);
                false
            }
        }
    }

    fn send(&mut self, mut job: Job) {
        if job.is_pointless() {
            self.queue.answered(1);
            job.abandon();
            return;
        }
        if let Some(sample) = &mut job.sample {
            sample.sent();
        }
        for request in &job.requests {
            self.wire.push(request.raw());
        }
        for probe in job.unit.iter().flat_map(|unit| unit.probes()) {
            self.wire.push(probe.raw());
        }
        if self.pushes.is_none() {
            self.sampler.sent(self.pending.len());
        }
        let missing = job.replies();
        self.pending.push_back(Pending {
            job,
            missing,
            replies: SmallVec::new(),
            pushes: Vec::new(),
            gate: None,
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
                self.complete(&mut done)?;
                self.push(frame.raw);
                continue;
            }
            let Some(pending) = self.pending.front_mut() else { continue };
            bytes += frame.raw.len();
            pending.replies.push(frame.raw);
            pending.missing -= 1;
            if pending.missing == 0 {
                steps += 1;
                self.sampler.answered(&self.engine.primary_took);
                done.extend(self.pending.pop_front());
            }
        };
        self.window.learn(bytes, steps);
        self.complete(&mut done)?;
        result
    }

    /// Hands over a message. One that came behind the client's reply stays behind it, though the
    /// answers to probes are still to come.
    fn push(&mut self, message: Bytes) {
        let Some(client) = &self.pushes else { return };
        match self.pending.front_mut() {
            Some(pending) if !pending.replies.is_empty() => pending.pushes.push(message),
            _ => client.push(&message),
        }
    }

    /// Settles answered steps under one lock of the engine, then tells who asked.
    fn complete(&mut self, done: &mut Vec<Pending>) -> Result<(), Broken> {
        if done.iter().any(|pending| pending.job.unit.is_some()) {
            let woken = self.engine.with(|engine| {
                // Under the lock: whoever learns of the server that has taken its place tells the
                // engine behind this.
                if self.wire.has_left() {
                    return Err(Broken::Left);
                }
                let mut woken = Woken::new();
                for Pending { job, replies, gate, .. } in done.iter_mut() {
                    let Some(unit) = &job.unit else { continue };
                    let (own, probes) = replies.split_at(job.requests.len().min(replies.len()));
                    if let Some(reply) = own.last() {
                        woken.extend(engine.finish(self.conn, unit, Answer { reply, probes }));
                    }
                    *gate = self.engine.gate(engine, unit);
                }
                Ok(woken)
            });
            if woken.is_err() {
                // Their outcome is as unknown as that of those without an answer.
                done.drain(..).rev().for_each(|pending| self.pending.push_front(pending));
            }
            self.engine.wake(&woken?);
        }
        self.queue.answered(done.len());
        let mut waiting: SmallVec<[Arc<ReplyQueue>; 4]> = SmallVec::new();
        for Pending { job, replies, pushes, gate, .. } in done.drain(..) {
            let sent = job.requests.len();
            if let Some(sample) = job.sample {
                self.engine.shadow.answered(sample, replies.first());
            }
            waiting.extend(job.sink.answer(job.shape, sent, &replies, gate));
            for message in &pushes {
                if let Some(client) = &self.pushes {
                    client.push(message);
                }
            }
        }
        self.engine.hold_back(waiting);
        Ok(())
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
        let woken = self.engine.with(|engine| {
            engine.doubt(units.len());
            engine.disconnect(self.conn)
        });
        self.engine.wait_no_more(self.conn);
        self.engine.wake(&woken);
        again.extend(self.passing.into_steps());
        again.append(&mut self.backlog);
        (again, Doubt { engine: self.engine.clone(), conn: self.conn, units })
    }
}

/// Writes whose outcome is not known. They count as in flight until it is certain that the server
/// will not execute them any more.
#[derive(Debug)]
pub(super) struct Doubt {
    engine: Arc<SharedEngine>,
    conn: ConnId,
    units: Vec<Unit>,
}

impl Doubt {
    /// The server is done with the connection: the keys may be copied.
    pub(super) fn resolve(self) {
        for unit in &self.units {
            let woken = self.engine.with(|engine| engine.lost(self.conn, unit));
            self.engine.wake(&woken);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }
}
