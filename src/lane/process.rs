//! Which process a server is: another one may lack what the last one had acknowledged, and numbers
//! its connections anew.

use parking_lot::Mutex;

use super::Upstream;
use crate::backend::ServerInfo;
use crate::engine::Cause;
use crate::resp::Request;

/// The process that answered last, as the server names it (`run_id`).
#[derive(Debug)]
pub struct Process(Mutex<String>);

/// A connection, so that it can be told from one of another process.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) process: String,
    /// As the server numbers it.
    pub(super) id: i64,
}

impl Process {
    /// The process that was there when the server was surveyed.
    pub fn new(run_id: &str) -> Self {
        Self(Mutex::new(run_id.to_owned()))
    }

    /// The process that answered last.
    pub fn current(&self) -> String {
        self.0.lock().clone()
    }

    /// Takes note of who answers now; true when that is another one.
    fn replace(&self, run_id: &str) -> bool {
        let mut known = self.0.lock();
        let replaced = *known != run_id;
        run_id.clone_into(&mut known);
        replaced
    }

    /// Where a connection belongs that was opened just now.
    pub(super) fn origin(&self, id: Option<i64>) -> Option<Origin> {
        Some(Origin { process: self.0.lock().clone(), id: id? })
    }
}

impl Upstream {
    /// Asks which process answers. After a restart or a failover it may lack writes that have been
    /// mirrored: then everything is copied again, and what only the secondary holds is removed.
    /// `None`: it can't be asked now.
    pub async fn recognize(&self) -> Option<String> {
        let reply = self.ask(&Request::new(["INFO", "server"])).await?;
        // A server that does not tell is taken for the same.
        let Some(text) = reply.text() else { return Some(self.process.0.lock().clone()) };
        let run_id = ServerInfo::parse(&String::from_utf8_lossy(text)).run_id;
        if self.process.replace(&run_id) {
            tracing::warn!(server = self.name, "another process answers: keys are copied again");
            self.hub.with(|engine| engine.start_over(Cause::Replaced));
        }
        Some(run_id)
    }
}
