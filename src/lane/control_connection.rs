//! A connection of crossfade's own beside the lanes, for the odd question.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::protocol::resp::{Reply, Request};
use crate::server::{Connection, Endpoint, Setup};

/// A server that has not answered for so long is asked again on a new connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opened when first needed and again after it broke.
#[derive(Debug, Default)]
pub(crate) struct ControlConnection {
    connection: Mutex<Option<Connection>>,
}

impl ControlConnection {
    /// Asks the server behind `endpoint` as the URL's user. `None`: no answer could be had.
    pub(crate) async fn ask(&self, endpoint: &Endpoint, request: &Request) -> Option<Reply> {
        self.ask_all(endpoint, std::slice::from_ref(request)).await?.pop()
    }

    /// Asks all at once; the answers are in order. `None` as in [`Self::ask`].
    pub(crate) async fn ask_all(
        &self,
        endpoint: &Endpoint,
        requests: &[Request],
    ) -> Option<Vec<Reply>> {
        let mut line = self.connection.lock().await;
        // Taken out while it waits: when the asker gives up, nobody may read the answer as their own.
        let mut connection = if let Some(connection) = line.take() {
            connection
        } else {
            let setup = Setup::own(endpoint, 0, "crossfade-side");
            Connection::open(endpoint, &setup).await.ok()?
        };
        let replies = timeout(PATIENCE, connection.ask_all(requests)).await.ok()?.ok()?;
        *line = Some(connection);
        Some(replies)
    }
}
