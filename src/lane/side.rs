//! A connection of crossfade's own beside the lanes, for the odd question.

use tokio::sync::Mutex;

use crate::backend::{Connection, Endpoint, Setup};
use crate::resp::{Reply, Request};

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
        let mut connection = match line.take() {
            Some(connection) => connection,
            None => {
                let setup = Setup::own(endpoint, 0, "crossfade-side");
                Connection::open(endpoint, &setup).await.ok()?
            }
        };
        let reply = connection.ask(request).await.ok()?;
        *line = Some(connection);
        Some(reply)
    }
}
