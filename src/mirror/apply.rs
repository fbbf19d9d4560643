//! One pipelined connection to the secondary, for as long as there is one.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::futures::Notified;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::judge;
use crate::backend::{Broken, Connection, Endpoint, ServerInfo, Setup, Wire};
use crate::engine::{Cause, Entry};
use crate::lane::Hub;
use crate::resp::Request;

/// Effects on their way to the secondary at once, in bytes: what is in doubt when it fails.
const WINDOW: usize = 2 * 1024 * 1024;
/// Effects taken from the log at once, in bytes.
const TAKE: usize = 256 * 1024;
/// How soon a lost connection is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The secondary as the mirror sees it, for others to look at.
#[derive(Debug, Default)]
pub struct Peer {
    connected: AtomicBool,
}

impl Peer {
    /// Whether it can be talked to.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

/// Carries effects from one engine to one server.
#[derive(Debug)]
pub struct Mirror {
    /// Where effects come from.
    pub hub: Arc<Hub>,
    /// Where they go.
    pub endpoint: Endpoint,
    /// `source` or `target`, for messages.
    pub name: &'static str,
    /// The process that held the copies when they were made; another one is not to be trusted.
    pub run_id: String,
    /// What others see.
    pub peer: Arc<Peer>,
    /// The connection before this one, as the server numbers it.
    pub before: Option<i64>,
}

/// Entries sent and not wholly answered.
#[derive(Debug)]
enum Sent {
    /// The database was changed first.
    Select,
    Entry {
        entry: Box<Entry>,
        missing: usize,
        replies: SmallVec<[Bytes; 2]>,
    },
}

struct Link<'a> {
    hub: &'a Arc<Hub>,
    wire: Wire,
    db: u32,
    sent: VecDeque<Sent>,
    in_flight: usize,
}

impl Mirror {
    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let lost = tokio::select! {
                lost = self.serve() => lost,
                () = stop.cancelled() => return,
            };
            if self.peer.connected.swap(false, Ordering::Relaxed) {
                warn!(server = self.name, error = %lost, "mirror lost its connection");
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Serves one connection; the reason why it ended.
    async fn serve(&mut self) -> String {
        let setup = Setup::own(&self.endpoint, 0, "crossfade-mirror");
        let wire = match self.open(&setup).await {
            Ok(wire) => wire,
            Err(reason) => return reason,
        };
        if !self.peer.connected.swap(true, Ordering::Relaxed) {
            info!(server = self.name, "mirror connected");
        }
        let mut link = Link { hub: &self.hub, wire, db: 0, sent: VecDeque::new(), in_flight: 0 };
        let guard = InDoubt(&mut link);
        let error = guard.0.run().await;
        error.to_string()
    }

    /// Connects, and finds out whether the server is still the one that was copied to.
    async fn open(&mut self, setup: &Setup) -> Result<Wire, String> {
        let mut connection =
            Connection::open(&self.endpoint, setup).await.map_err(|error| error.to_string())?;
        let info = ServerInfo::ask(&mut connection).await.map_err(|error| error.to_string())?;
        if info.role == "slave" {
            return Err("it is a replica now".to_owned());
        }
        finish_off(self.before.take(), &mut connection).await.map_err(|error| error.to_string())?;
        let id = connection.command(["CLIENT", "ID"]).await.map_err(|error| error.to_string())?;
        self.before = id.integer();
        if info.run_id != self.run_id {
            info!(server = self.name, "another process answers: everything is copied again");
            self.run_id = info.run_id;
            self.hub.with(|engine| engine.distrust(Cause::Unknown));
        }
        Ok(connection.into_wire())
    }
}

/// What the server has received on a connection that we have given up, it may still execute: later
/// than what the next connection sends. So the old one is ended before the next is used.
async fn finish_off(before: Option<i64>, connection: &mut Connection) -> Result<(), Broken> {
    let Some(before) = before else { return Ok(()) };
    let kill = ["CLIENT", "KILL", "ID", &before.to_string()];
    if connection.command(kill).await?.is_error() {
        // Not allowed; then time is all that there is.
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// However a connection ends, also by a stop in the middle, what was sent is in doubt.
struct InDoubt<'a, 'b>(&'a mut Link<'b>);

impl Drop for InDoubt<'_, '_> {
    fn drop(&mut self) {
        let sent = std::mem::take(&mut self.0.sent);
        self.0.hub.with(|engine| {
            for sent in sent {
                if let Sent::Entry { entry, .. } = sent {
                    engine.diverged(&entry, Cause::Unknown);
                }
            }
        });
    }
}

impl Link<'_> {
    async fn run(&mut self) -> Broken {
        let hub = self.hub.clone();
        let mut notified = pin!(hub.effects.notified());
        std::future::poll_fn(|cx| self.poll(cx, &hub, notified.as_mut())).await
    }

    fn poll<'n>(
        &mut self,
        cx: &mut Context<'_>,
        hub: &'n Hub,
        mut notified: Pin<&mut Notified<'n>>,
    ) -> Poll<Broken> {
        loop {
            if notified.as_mut().poll(cx).is_ready() {
                notified.set(hub.effects.notified());
                continue;
            }
            let sent = self.send();
            if let Poll::Ready(Err(error)) = self.wire.poll_flush(cx) {
                return Poll::Ready(error);
            }
            match self.wire.poll_fill(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Ready(Ok(())) => {
                    if let Err(error) = self.receive() {
                        return Poll::Ready(error);
                    }
                }
                Poll::Pending if sent => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Moves effects from the log to the wire while there is room on the way.
    fn send(&mut self) -> bool {
        if self.in_flight >= WINDOW {
            return false;
        }
        let entries = self.hub.with(|engine| engine.take_effects(TAKE));
        let any = !entries.is_empty();
        for entry in entries {
            if entry.db != self.db {
                self.wire.push(Request::new(["SELECT", &entry.db.to_string()]).raw());
                self.db = entry.db;
                self.sent.push_back(Sent::Select);
            }
            self.wire.push(&entry.commands);
            self.in_flight += entry.commands.len();
            let missing = judge::replies(&entry);
            let (entry, replies) = (Box::new(entry), SmallVec::new());
            self.sent.push_back(Sent::Entry { entry, missing, replies });
        }
        any
    }

    /// Compares whole answers and tells the engine, all under one lock.
    fn receive(&mut self) -> Result<(), Broken> {
        let mut judged: Vec<(Box<Entry>, Option<Cause>)> = Vec::new();
        let result = loop {
            let frame = match self.wire.buffered() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            match self.sent.front_mut() {
                None => {}
                Some(Sent::Select) => drop(self.sent.pop_front()),
                Some(Sent::Entry { missing, replies, .. }) => {
                    replies.push(frame.raw);
                    *missing -= 1;
                    if *missing == 0
                        && let Some(Sent::Entry { entry, replies, .. }) = self.sent.pop_front()
                    {
                        self.in_flight -= entry.commands.len();
                        let verdict = judge::verdict(&entry, &replies);
                        judged.push((entry, verdict));
                    }
                }
            }
        };
        if !judged.is_empty() {
            self.hub.with(|engine| {
                for (entry, verdict) in &judged {
                    match verdict {
                        None => engine.applied(entry),
                        Some(cause) => engine.diverged(entry, *cause),
                    }
                }
            });
            self.hub.release_acks();
        }
        result
    }
}
