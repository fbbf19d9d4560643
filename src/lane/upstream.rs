//! A server as lanes and their clients know it, and what it is asked beside the lanes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::driver::Doubt;
use super::reach::RETRY;
use super::server_identity::Origin;
use super::{Reach, ServerIdentity, SharedEngine};
use crate::protocol::resp::{Reply, Request};
use crate::server::{Connection, Endpoint, Setup, end_connection, ended};

/// A server that has not answered for so long is asked again on a new connection.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// For so long an answer is everybody's.
const BUSY_IS_FRESH: Duration = Duration::from_millis(20);

/// Where lanes lead.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// The server.
    pub endpoint: Endpoint,
    /// `source` or `target`, for messages.
    pub name: &'static str,
    /// How long steps wait for a server that is away.
    pub timeout: Duration,
    /// The engine in front of it.
    pub engine: Arc<SharedEngine>,
    /// Runs the lanes' tasks.
    pub tasks: TaskTracker,
    /// For the odd question beside the lanes.
    pub control: ControlConnection,
    /// Whether it can be reached.
    pub reach: Reach,
    /// Whether a script keeps it from serving.
    pub busy: Busy,
    /// Which process it was when it was asked last.
    pub identity: ServerIdentity,
}

impl Upstream {
    /// Makes sure that the server executes nothing more of a connection that we have given up: what
    /// it has received there might come after what the next connection sends. False: it can't be
    /// asked now.
    async fn finish_off(&self, origin: Option<&Origin>) -> bool {
        let Some(process) = self.recognize().await else { return false };
        // A process that has ended executes nothing, and the number means another connection now.
        let Some(origin) = origin.filter(|origin| origin.process == process) else { return true };
        let Some(reply) = self.ask(&end_connection(origin.id)).await else { return false };
        ended(&reply).await;
        true
    }

    /// Waits until the server is done with a connection, and it is known who answers now.
    pub(super) async fn finish(&self, origin: Option<&Origin>) {
        while !self.finish_off(origin).await {
            sleep(RETRY).await;
        }
    }

    /// Resolves doubt once the server is done with the connection that it came from.
    pub(super) async fn settle(&self, doubt: Doubt, origin: Option<&Origin>) {
        if !doubt.is_empty() {
            self.finish(origin).await;
        }
        doubt.resolve();
    }

    /// Asks the server as the URL's user. `None`: no answer could be had.
    pub(crate) async fn ask(&self, request: &Request) -> Option<Reply> {
        self.ask_all(std::slice::from_ref(request)).await?.pop()
    }

    /// Asks all at once; the answers are in order, and of one process.
    pub(crate) async fn ask_all(&self, requests: &[Request]) -> Option<Vec<Reply>> {
        let _attempt = self.reach.attempt().ok()?;
        let replies = self.control.ask_all(&self.endpoint, requests).await?;
        self.reach.learn(None);
        Some(replies)
    }

    /// Asks on a connection that is opened for it, behind other requests. `None` as in [`Self::ask`].
    pub(crate) async fn ask_behind(&self, before: &[Request], request: &Request) -> Option<Bytes> {
        let answer = async {
            let mut wire = self.endpoint.dial().await.ok()?;
            before.iter().chain([request]).for_each(|request| wire.push(request.raw()));
            for _ in before {
                wire.frame().await.ok()?;
            }
            Some(wire.frame().await.ok()?.raw)
        };
        timeout(self.timeout, answer).await.ok()?
    }

    /// What the server has for clients while a script runs; `None` when it serves them. Answered
    /// when the server does: everybody who asks meanwhile waits for the same answer.
    pub(crate) async fn busy(&self) -> Option<Bytes> {
        let mut last = self.busy.last.lock().await;
        if let Some((when, answer)) = &*last
            && when.elapsed() < BUSY_IS_FRESH
        {
            return answer.clone();
        }
        let answer = match self.ask(&Request::new(["PING"])).await {
            Some(Reply::Error(text)) if text.starts_with(b"BUSY ") => Some(text),
            _ => None,
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// Whether a script keeps the server from serving anybody else: what the server said last.
///
/// A server that has run one script for long answers everybody else with `BUSY`. A command that went
/// down the script's own connection would not be read there, and wait without an answer.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    last: Mutex<Option<(Instant, Option<Bytes>)>>,
}

/// A connection of crossfade's own beside the lanes, for the odd question: opened when first needed and again after it broke.
#[derive(Debug, Default)]
pub(crate) struct ControlConnection {
    connection: Mutex<Option<Connection>>,
}

impl ControlConnection {
    /// Asks the server behind `endpoint` as the URL's user, all at once; the answers are in order.
    /// `None`: they could not be had.
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
        let replies = timeout(CONTROL_TIMEOUT, connection.ask_all(requests)).await.ok()?.ok()?;
        *line = Some(connection);
        Some(replies)
    }
}
