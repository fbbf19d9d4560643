//! Answers that wait until the secondary has the write too (`--ack both`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::ReplyQueue;
use crate::engine::{Engine, Gate};

/// Who waits, and whether waiting makes sense now.
#[derive(Debug)]
pub(crate) struct Acks {
    timeout: Duration,
    degraded: AtomicBool,
    waiting: Mutex<Vec<Arc<ReplyQueue>>>,
}

impl Acks {
    /// Answers wait for `timeout` at most.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, degraded: AtomicBool::new(false), waiting: Mutex::default() }
    }

    /// Whether the secondary took too long, so that answers do not wait for it now.
    pub(crate) fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }

    /// A client holds answers back.
    pub(super) fn wait(&self, client: &Arc<ReplyQueue>) {
        let mut waiting = self.waiting.lock();
        if !waiting.iter().any(|known| Arc::ptr_eq(known, client)) {
            waiting.push(client.clone());
        }
    }

    /// The secondary has done something: gives out the answers that waited for it.
    pub(super) fn release(&self, engine: &Engine) {
        let arrived = |gate: &mut Gate| engine.has_arrived(gate);
        self.waiting.lock().retain(|client| client.release(arrived));
    }

    /// Gives up on a secondary that takes too long, and comes back to one that has caught up. True
    /// when it has given up now.
    pub(crate) fn look(&self, engine: &Engine, lag: Duration) -> bool {
        if self.is_degraded() {
            self.degraded.store(lag > self.timeout / 2, Ordering::Relaxed);
            return false;
        }
        let now = Instant::now();
        let oldest = self.waiting.lock().iter().filter_map(|client| client.held_since()).min();
        let late = oldest.is_some_and(|since| now.duration_since(since) >= self.timeout);
        if late {
            self.degraded.store(true, Ordering::Relaxed);
            self.waiting.lock().retain(|client| client.release(|_| true));
        }
        self.release(engine);
        late
    }
}
