//! Which process a server is, and whose data it holds: another one may lack what the last one had
//! acknowledged, and numbers its connections anew; one that was demoted and promoted again may hold
//! the data of another.

use parking_lot::Mutex;

use super::{SharedEngine, Upstream};
use crate::engine::Cause;
use crate::server::ServerInfo;

/// The server as it was when it answered last.
#[derive(Debug)]
pub(crate) struct ServerIdentity(Mutex<ServerInfo>);

/// A connection, so that it can be told from one of another process.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) process: String,
    /// As the server numbers it.
    pub(super) id: i64,
}

impl ServerIdentity {
    /// The process that was there when the server was surveyed.
    pub(crate) fn new(info: &ServerInfo) -> Self {
        Self(Mutex::new(info.clone()))
    }

    /// As it was when it answered last.
    pub(crate) fn known(&self) -> ServerInfo {
        self.0.lock().clone()
    }

    /// The process and its data, as a record names them.
    pub(crate) fn as_recorded(&self) -> String {
        self.0.lock().identity()
    }

    /// What it said of itself when it answered last.
    pub(crate) fn info(&self) -> ServerInfo {
        self.0.lock().clone()
    }

    /// Whether it followed another server when it answered last.
    pub(crate) fn is_replica(&self) -> bool {
        self.0.lock().is_replica()
    }

    /// Takes note of who answers now. Where its data may be others, or are not the clients' to write,
    /// nothing is mirrored until somebody has decided what that means.
    fn note(&self, now: ServerInfo, name: &str, engine: &SharedEngine) {
        let mut known = self.0.lock();
        let is_demoted = now.is_replica() && !known.is_replica();
        if is_demoted || !now.continues(&known) {
            let replica = now.is_replica();
            tracing::warn!(server = name, replica, "it may hold other data than it did");
            // Before it is known: whoever notes this process must find nothing trusted.
            engine.with(|engine| engine.halt(Cause::Replaced));
        }
        *known = now;
    }

    /// Where a connection belongs that was opened just now.
    pub(super) fn origin(&self, id: Option<i64>) -> Option<Origin> {
        Some(Origin { process: self.0.lock().run_id.clone(), id: id? })
    }
}

impl Upstream {
    /// Asks which process answers, and whose data it holds. After a restart or a failover it may lack
    /// writes that have been mirrored: then everything is copied again, and what only the secondary
    /// holds is removed, unless that would be nearly all there is. `None`: it can't be asked now.
    pub(crate) async fn recognize(&self) -> Option<String> {
        let replies = self.control.ask_all(&self.endpoint, &ServerInfo::questions()).await?;
        // A server that does not tell is taken for the same.
        if let Some(now) = ServerInfo::answered(&replies) {
            if now.is_replica() {
                self.endpoint.doubt();
            }
            self.identity.note(now, self.name, &self.engine);
        }
        Some(self.identity.0.lock().run_id.clone())
    }
}
