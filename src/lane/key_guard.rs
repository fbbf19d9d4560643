//! A key held in the order of writes.

use super::SharedEngine;
use crate::engine::{ConnId, Engine, KeyRef};

/// While it lives no write to the key is in flight, and none begins.
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
