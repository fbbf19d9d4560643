//! A key held in the order of writes.

use super::Hub;
use crate::engine::{ConnId, Engine, KeyRef};

/// While it lives no write to the key is in flight, and none begins.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    hub: &'a Hub,
    conn: ConnId,
    key: &'a KeyRef,
}

impl<'a> Held<'a> {
    /// Waits for the key. Given up in between, it leaves nothing behind.
    pub(crate) async fn take(hub: &'a Hub, key: &'a KeyRef) -> Self {
        let held = Self { hub, conn: hub.with(Engine::connect), key };
        std::future::poll_fn(|cx| hub.poll_hold(held.conn, key, cx)).await;
        held
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let woken = self.hub.with(|engine| engine.release(self.conn, self.key));
        self.hub.wait_no_more(self.conn);
        self.hub.wake(&woken);
    }
}
