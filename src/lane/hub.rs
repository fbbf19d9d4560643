//! The engine as tasks share it: one lock, held for a batch of events and never across a wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::engine::{ConnId, Engine, Millis, Ticket, Woken};

/// The engine and who waits for it.
#[derive(Debug)]
pub struct Hub {
    engine: Mutex<Engine>,
    started: Instant,
    waiting: Mutex<HashMap<ConnId, Waker>>,
    /// Effects wait to be sent.
    pub effects: Notify,
    /// Something changed that a copier may wait for: room in the log, a dirty key.
    pub copies: Notify,
    /// Whether writes go through the engine at all; see [`Self::new`].
    mirroring: bool,
}

impl Hub {
    /// Shares an engine.
    pub fn new(engine: Engine, started: Instant) -> Arc<Self> {
        let mirroring = engine.settings().mirroring;
        Arc::new(Self {
            engine: Mutex::new(engine),
            started,
            waiting: Mutex::default(),
            effects: Notify::new(),
            copies: Notify::new(),
            mirroring,
        })
    }

    /// Does something with the engine, then wakes who has something to do because of it.
    pub fn with<R>(&self, act: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.engine.lock();
        engine.tick(self.now());
        let result = act(&mut engine);
        let (effects, copies) = (engine.has_effects(), engine.wants_copies());
        drop(engine);
        if effects {
            self.effects.notify_one();
        }
        if copies {
            self.copies.notify_one();
        }
        result
    }

    /// Whether there is a secondary.
    pub fn is_mirroring(&self) -> bool {
        self.mirroring
    }

    /// Milliseconds since the start of the process.
    pub fn now(&self) -> Millis {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Wakes `conn`'s task when the engine says that it may try again.
    pub(crate) fn wait(&self, conn: ConnId, waker: &Waker) {
        self.waiting.lock().insert(conn, waker.clone());
    }

    /// Ready once `conn` holds the ticket's key.
    pub(crate) fn poll_begin_copy(
        &self,
        conn: ConnId,
        ticket: &Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut begin = || self.with(|engine| engine.begin_copy(conn, ticket));
        if begin() {
            return Poll::Ready(());
        }
        self.wait(conn, cx.waker());
        if begin() { Poll::Ready(()) } else { Poll::Pending }
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
