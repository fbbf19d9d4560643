//! The engine as tasks share it: one lock, held for a batch of events and never across a wait.
//!
//! *Order of locks:* the engine's (here), that of the answers which wait ([`Acks`]), a client's replies'. Whoever
//! holds one of them takes none that stands before it. [`SharedEngine::waiting`] is taken alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::job::{Shape, Sink};
use super::shadow::{Sample, SampleRate, Shadow};
use super::{Acks, ReplyQueue};
use crate::engine::ledger::Marks;
use crate::engine::{ConnId, Engine, Gate, KeyRef, Keyer, Millis, Unit, Woken};
use crate::lane::record::Record;
use crate::metrics::latency::Histogram;
use crate::protocol::resp::{Protocol, Request};

/// Effects of so much memory are sent without waiting for more, in bytes.
const MANY: usize = 64 * 1024;
/// Who waits for the engine asks again so soon: some answers change with time alone.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// The engine, and what a crash must not forget of it.
#[derive(Debug)]
struct Inner {
    engine: Engine,
    record: Option<Record>,
}

/// The engine and who waits for it.
#[derive(Debug)]
pub(crate) struct SharedEngine {
    inner: Mutex<Inner>,
    keyer: Arc<Keyer>,
    started: Instant,
    waiting: Mutex<HashMap<ConnId, Waker>>,
    /// Tells those who wait for the engine that it has got further.
    progress: watch::Sender<()>,
    /// How keys stand, to be looked up without the engine.
    pub marks: Arc<Marks>,
    /// Effects wait to be sent.
    pub effects: Notify,
    /// Effects wait to be sent, but so few that others may join them first.
    pub few_effects: Notify,
    /// Something changed that a copier may wait for: room in the log, a dirty key.
    pub copies: Notify,
    /// The primary is to be asked what scripts write.
    pub scripts: Notify,
    /// How long the primary took to answer on lanes.
    pub primary_took: Histogram,
    /// How long the secondary took to answer effects.
    pub secondary_took: Histogram,
    /// Reads that the secondary is to be asked too.
    pub shadow: Shadow,
    /// Set when answers wait for the secondary.
    acks: Option<Acks>,
}

impl SharedEngine {
    /// Shares an engine.
    pub(crate) fn new(
        engine: Engine,
        started: Instant,
        acks: Option<Acks>,
        shadow: Arc<SampleRate>,
    ) -> Arc<Self> {
        Arc::new(Self {
            keyer: engine.keyer().clone(),
            marks: engine.ledger_marks(),
            inner: Mutex::new(Inner { engine, record: None }),
            started,
            waiting: Mutex::default(),
            progress: watch::Sender::default(),
            effects: Notify::new(),
            few_effects: Notify::new(),
            copies: Notify::new(),
            scripts: Notify::new(),
            primary_took: Histogram::default(),
            secondary_took: Histogram::default(),
            shadow: Shadow::new(shadow),
            acks,
        })
    }

    /// Does something with the engine, writes down what a crash would leave in doubt because of it,
    /// and wakes who has something to do.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Engine) -> R) -> R {
        let mut inner = self.inner.lock();
        let Inner { engine, record } = &mut *inner;
        engine.tick(self.now());
        let before = self.is_waited_for().then(|| engine.progress());
        let result = act(engine);
        let moved = before.is_some_and(|before| before != engine.progress());
        // Under the lock, so that nobody takes for written what is only about to be.
        if let (Some(groups), Some(record)) = (engine.intent(), record) {
            record.write(groups);
        }
        let (waiting, copies) = (engine.waiting(), engine.wants_copies());
        let scripts = engine.needs_tracker();
        drop(inner);
        if moved {
            self.progress.send_replace(());
        }
        if waiting >= MANY || waiting > 0 && self.acks.is_some() {
            self.effects.notify_one();
        } else if waiting > 0 {
            self.few_effects.notify_one();
        }
        if copies {
            self.copies.notify_one();
        }
        if scripts {
            self.scripts.notify_one();
        }
        result
    }

    /// What makes units of clients' writes, without any lock.
    pub(crate) fn keyer(&self) -> &Keyer {
        &self.keyer
    }

    /// A read that is about to be sent to the primary's `db`, if the secondary is to be asked it too.
    pub(crate) fn sample(
        &self,
        request: &Request,
        db: u32,
        protocol: Protocol,
    ) -> Option<Box<Sample>> {
        let witness = |keys| self.look(|engine| engine.witness(db, keys));
        self.shadow.sample(request, db, protocol, witness)
    }

    /// Looks at the engine, which notices nothing of it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Engine) -> R) -> R {
        look(&self.inner.lock().engine)
    }

    /// Waits until the engine says so.
    pub(crate) async fn until(&self, mut says: impl FnMut(&Engine) -> bool) {
        // Before the first question, so that what changes behind it is heard of.
        let mut progress = self.progress.subscribe();
        while !self.says(&mut says) {
            let _ = timeout(ASK_AGAIN, progress.changed()).await;
        }
    }

    fn says(&self, says: &mut impl FnMut(&Engine) -> bool) -> bool {
        let mut inner = self.inner.lock();
        inner.engine.tick(self.now());
        says(&inner.engine)
    }

    /// Waits until the secondary has done what has been appended so far.
    pub(crate) async fn until_arrived(&self) {
        let (last, _) = self.look(Engine::positions);
        self.until(|engine| engine.positions().1 >= last).await;
    }

    /// Whether anybody is in [`Self::until`]. Who begins to wait while the engine's lock is held asks when it is let go.
    fn is_waited_for(&self) -> bool {
        self.progress.receiver_count() > 0
    }

    /// Somebody waits until the secondary has everything: what waits is sent at once.
    pub(crate) fn hurry(&self) {
        self.effects.notify_one();
    }

    /// From now on `record` is kept.
    pub(crate) fn keep(&self, record: Record) {
        let mut inner = self.inner.lock();
        inner.engine.keep_record(record.groups().clone());
        inner.record = Some(record);
    }

    /// Does something with the record, where one is kept.
    pub(crate) fn with_record<R>(&self, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        self.inner.lock().record.as_mut().map(act)
    }

    /// The record is kept no longer, or by somebody else.
    pub(crate) fn take_record(&self) -> Option<Record> {
        self.inner.lock().record.take()
    }

    /// What the answer to a step that was just finished must wait for, if answers wait.
    pub(super) fn gate(&self, engine: &Engine, unit: &Unit) -> Option<Gate> {
        let acks = self.acks.as_ref()?;
        (!acks.is_degraded()).then(|| engine.gate(unit))
    }

    /// Answers a step that no lane has settled, as a lane would.
    pub(crate) fn answer(&self, unit: &Unit, sink: Sink, reply: &Bytes) {
        let gate = self.look(|engine| self.gate(engine, unit));
        self.hold_back(sink.answer(Shape::Each, 1, std::slice::from_ref(reply), gate));
    }

    /// Clients hold answers back.
    pub(super) fn hold_back(&self, clients: impl IntoIterator<Item = Arc<ReplyQueue>>) {
        let Some(acks) = &self.acks else { return };
        let mut any = false;
        for client in clients {
            acks.wait(&client);
            any = true;
        }
        if any {
            // The secondary may have been faster.
            self.release_acks();
        }
    }

    /// The secondary has done something that an answer may wait for.
    pub(crate) fn release_acks(&self) {
        if let Some(acks) = &self.acks {
            self.look(|engine| acks.release(engine));
        }
    }

    /// Who waits for the secondary, where anybody does.
    pub(crate) fn acks(&self) -> Option<&Acks> {
        self.acks.as_ref()
    }

    /// Milliseconds since the start of the process.
    pub(crate) fn now(&self) -> Millis {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Wakes `conn`'s task when the engine says that it may try again.
    pub(crate) fn wait(&self, conn: ConnId, waker: &Waker) {
        self.waiting.lock().insert(conn, waker.clone());
    }

    /// Ready once `conn` holds the key.
    pub(crate) fn poll_hold(&self, conn: ConnId, key: &KeyRef, cx: &mut Context<'_>) -> Poll<()> {
        let begin = || self.with(|engine| engine.hold(conn, key));
        if begin() {
            return Poll::Ready(());
        }
        self.wait(conn, cx.waker());
        if begin() {
            self.wait_no_more(conn);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// `conn` waits for nothing any more.
    pub(crate) fn wait_no_more(&self, conn: ConnId) {
        self.waiting.lock().remove(&conn);
    }

    /// Wakes the connections that may try again.
    pub(crate) fn wake(&self, woken: &Woken) {
        if woken.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for conn in woken {
            if let Some(waker) = waiting.remove(conn) {
                waker.wake();
            }
        }
    }
}

/// A key held in the order of writes: while it lives no write to the key is in flight, and none begins.
#[derive(Debug)]
pub(crate) struct KeyGuard<'a> {
    engine: &'a SharedEngine,
    conn: ConnId,
    key: &'a KeyRef,
}

impl<'a> KeyGuard<'a> {
    /// Waits for the key. Given up in between, it leaves nothing behind.
    pub(crate) async fn take(engine: &'a SharedEngine, key: &'a KeyRef) -> Self {
        let held = Self { engine, conn: engine.with(Engine::connect), key };
        std::future::poll_fn(|cx| engine.poll_hold(held.conn, key, cx)).await;
        held
    }
}

impl Drop for KeyGuard<'_> {
    fn drop(&mut self) {
        let woken = self.engine.with(|engine| engine.release(self.conn, self.key));
        self.engine.wait_no_more(self.conn);
        self.engine.wake(&woken);
    }
}
