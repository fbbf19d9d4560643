//! A connection of crossfade's own beside the lanes, for the odd question.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::backend::{Connection, Endpoint, Setup};
use crate::resp::{Reply, Request};

/// A server that has not answered for so long is asked again on a new connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opened when first needed and again after it broke.
#[derive(Debug, Default)]
pub struct SideLine {
    connection: Mutex<Option<Connection>>,
}

impl SideLine {
    /// Asks the server behind `endpoint` as the URL's user. `None`: no answer could be had.
    pub async fn ask(&self, endpoint: &Endpoint, request: &Request) -> Option<Reply> {
        let mut line = self.connection.lock().await;
        // Taken out while it waits: when the asker gives up, nobody may read the answer as their own.
        let mut connection = if let Some(connection) = line.take() {
            connection
        } else {
            let setup = Setup::own(endpoint, 0, "crossfade-side");
            Connection::open(endpoint, &setup).await.ok()?
        };
        let reply = timeout(PATIENCE, connection.ask(request)).await.ok()?.ok()?;
        *line = Some(connection);
        Some(reply)
    }
}
