//! What every connection of ours that lasts has in common: it is opened again, and one that was given
//! up must be ended before another writes in its place.

use std::time::Duration;

use tokio::time::sleep;

use crate::protocol::resp::{Reply, Request};

/// How soon a lost connection is opened again.
pub const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// What a server has received on a connection and not executed, it executes within this time.
const DONE_AFTER: Duration = Duration::from_secs(1);

/// What ends a connection that was given up. What the server has received on it, it may still
/// execute: later than what the next connection sends.
pub fn end_connection(id: i64) -> Request {
    Request::new(["CLIENT", "KILL", "ID", &id.to_string()])
}

/// Waits until the server is done with a connection, given its answer to [`end_connection`], or to
/// the question which connections there are.
pub async fn ended(reply: &Reply) {
    if reply.is_error() {
        // Not allowed; then time is all that there is.
        sleep(DONE_AFTER).await;
    }
}
