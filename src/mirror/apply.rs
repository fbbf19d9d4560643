//! One pipelined connection to the secondary, for as long as there is one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, ReusableBoxFuture};
use tracing::{info, trace, warn};

use super::judge;
use crate::engine::{Cause, Engine, Entry, Kind};
use crate::lane::SharedEngine;
use crate::metrics::latency::Sampler;
use crate::protocol::resp::{Frame, Request};
use crate::server::{
    Broken, Connection, Endpoint, RECONNECT_AFTER, ServerInfo, Setup, Wire, end_connection,
    end_left_behind, ended,
};

/// Effects on their way to the secondary at once, in bytes: what is in doubt when it fails.
const WINDOW: usize = 2 * 1024 * 1024;
/// Effects taken from the log at once, in bytes.
const TAKE: usize = 256 * 1024;
/// What nearly every copy is answered with.
const OK: &[u8] = b"+OK\r\n";
/// How long a few effects wait for others to share their system calls, on both ends: each by
/// itself, at a modest rate, would cost more than all else that is done for it.
const GATHER: Duration = Duration::from_millis(1);

/// The secondary as the mirror sees it, for others to look at.
#[derive(Debug)]
pub(crate) struct Peer {
    connected: watch::Sender<bool>,
    /// The server that holds the copies, as it was when it answered last.
    known: Mutex<ServerInfo>,
}

impl Peer {
    /// A server that is not connected yet; another one, or one with other data, is not to be trusted.
    pub(crate) fn new(known: ServerInfo) -> Self {
        Self { connected: watch::Sender::default(), known: Mutex::new(known) }
    }

    /// Whether it can be talked to.
    pub(crate) fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Waits until it can.
    pub(crate) async fn connected(&self) {
        // The sender is our own: it can't be gone.
        let _ = self.connected.subscribe().wait_for(|connected| *connected).await;
    }

    /// Whether it followed another server when it answered last.
    pub(crate) fn is_replica(&self) -> bool {
        self.known.lock().is_replica()
    }

    /// As it was when it answered last.
    pub(crate) fn known(&self) -> ServerInfo {
        self.known.lock().clone()
    }

    /// Whether it is the process that answered last.
    fn is_process(&self, info: &ServerInfo) -> bool {
        self.known.lock().run_id == info.run_id
    }

    /// The process and its data, as a record names them.
    pub(crate) fn identity(&self) -> String {
        self.known.lock().identity()
    }

    /// What it said of itself when it answered last.
    pub(crate) fn info(&self) -> ServerInfo {
        self.known.lock().clone()
    }

    /// Takes note of who answers now. One whose data may be others is copied to again.
    pub(crate) fn note(&self, now: ServerInfo, name: &str, engine: &SharedEngine) {
        let mut known = self.known.lock();
        if !now.continues(&known) {
            info!(server = name, "it may hold other data than it did: everything is copied again");
            // Before the new process is noted: from then on everything must count as to be copied again.
            engine.with(|engine| engine.request_resync(Cause::Replaced));
        }
        *known = now;
    }
}

/// Carries effects from one engine to one server.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Where effects come from.
    pub engine: Arc<SharedEngine>,
    /// Where they go.
    pub endpoint: Endpoint,
    /// `source` or `target`, for messages.
    pub name: &'static str,
    /// What others see.
    pub peer: Arc<Peer>,
    /// Who may have left something there that is not executed yet.
    pub before: Before,
}

/// What was connected before: what the server has received on it would come after what the next
/// connection sends, so it is ended first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before {
    /// Nothing that is not ended.
    Nobody,
    /// This one, as the server numbers it.
    Connection(i64),
    /// An earlier process, and the server was away when this one was started.
    Process,
}

/// Entries sent and not wholly answered.
#[derive(Debug)]
enum Sent {
    /// The database was changed first.
    Select {
        answered: bool,
    },
    Entry {
        entry: Box<Entry>,
        missing: usize,
        replies: SmallVec<[Bytes; 2]>,
    },
    /// Many copies in one entry: how many are answered, and which of them were refused.
    Copies {
        entry: Box<Entry>,
        answered: usize,
        refused: Vec<usize>,
    },
}

/// An entry that is wholly answered.
enum Judged {
    Effect(Box<Entry>, Option<Cause>),
    Copies(Box<Entry>, Vec<usize>),
}

struct Link<'a> {
    engine: &'a Arc<SharedEngine>,
    wire: Wire,
    /// Ready when there is something to send.
    due: ReusableBoxFuture<'a, ()>,
    db: u32,
    sent: VecDeque<Sent>,
    in_flight: usize,
    sampler: Sampler,
}

impl Mirror {
    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let serving = async {
            loop {
                let lost = self.serve().await;
                if self.peer.connected.send_replace(false) {
                    warn!(server = self.name, error = %lost, "mirror lost its connection");
                }
                sleep(RECONNECT_AFTER).await;
            }
        };
        stop.run_until_cancelled(serving).await;
    }

    /// Serves one connection; the reason why it ended.
    async fn serve(&mut self) -> String {
        let setup = Setup::own(&self.endpoint, 0, "crossfade-mirror");
        let wire = match self.open(&setup).await {
            Ok(wire) => wire,
            Err(reason) => return reason,
        };
        if !self.peer.connected.send_replace(true) {
            info!(server = self.name, "mirror connected");
        }
        let mut link = Link {
            engine: &self.engine,
            wire,
            // What the connection before this one left.
            due: ReusableBoxFuture::new(std::future::ready(())),
            db: 0,
            sent: VecDeque::new(),
            in_flight: 0,
            sampler: Sampler::default(),
        };
        let guard = InDoubt(&mut link);
        let error = guard.0.run().await;
        error.to_string()
    }

    /// Connects, and finds out whether the server is still the one that was copied to.
    async fn open(&mut self, setup: &Setup) -> Result<Wire, String> {
        let mut connection =
            Connection::open(&self.endpoint, setup).await.map_err(|error| error.to_string())?;
        let info = ServerInfo::ask(&mut connection).await.map_err(|error| error.to_string())?;
        if info.is_replica() {
            return Err("it is a replica now".to_owned());
        }
        self.end_before(&mut connection, &info).await.map_err(|error| error.to_string())?;
        self.before = connection.wire().id.map_or(Before::Nobody, Before::Connection);
        self.peer.note(info, self.name, &self.engine);
        Ok(connection.into_wire())
    }

    async fn end_before(
        &self,
        connection: &mut Connection,
        now: &ServerInfo,
    ) -> Result<(), Broken> {
        match self.before {
            Before::Connection(id) if self.peer.is_process(now) => {
                ended(&connection.ask(&end_connection(id)).await?).await;
            }
            // Another process knows nothing of it, and the number means another connection there.
            Before::Nobody | Before::Connection(_) => {}
            Before::Process => {
                let tag = self.endpoint.tag.as_deref().unwrap_or_default();
                end_left_behind(tag, connection).await?;
            }
        }
        Ok(())
    }
}

/// Waits until effects wait that are many enough to be sent, or the first few of them have waited
/// long enough.
async fn worth_sending(engine: Arc<SharedEngine>) {
    tokio::select! {
        biased;
        () = engine.effects.notified() => return,
        () = engine.few_effects.notified() => {}
    }
    let _ = timeout(GATHER, engine.effects.notified()).await;
}

/// However a connection ends, also by a stop in the middle, what was sent is in doubt.
struct InDoubt<'a, 'b>(&'a mut Link<'b>);

impl Drop for InDoubt<'_, '_> {
    fn drop(&mut self) {
        let sent = std::mem::take(&mut self.0.sent);
        self.0.engine.with(|engine| {
            for sent in sent {
                if let Sent::Entry { entry, .. } | Sent::Copies { entry, .. } = sent {
                    engine.diverged(&entry, Cause::Unknown);
                }
            }
        });
    }
}

impl Link<'_> {
    async fn run(&mut self) -> Broken {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        loop {
            let due = self.due.poll(cx).is_ready();
            if due {
                self.due.set(worth_sending(self.engine.clone()));
                self.send();
            }
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
                Poll::Pending if due => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Moves effects from the log to the wire while there is room on the way.
    fn send(&mut self) {
        if self.in_flight >= WINDOW {
            return;
        }
        for entry in self.engine.with(|engine| engine.take_effects(TAKE)) {
            if entry.db != self.db {
                self.wire.push(Request::new(["SELECT", &entry.db.to_string()]).raw());
                self.db = entry.db;
                self.sent.push_back(Sent::Select { answered: false });
            }
            self.wire.push(&entry.commands);
            self.in_flight += entry.commands.len();
            if entry.kind == Kind::Keys {
                self.sampler.sent(self.sent.len());
            }
            self.sent.push_back(Sent::new(entry));
        }
    }

    /// Compares whole answers and tells the engine, all under one lock.
    fn receive(&mut self) -> Result<(), Broken> {
        let mut judged = Vec::new();
        let result = self.answers(&mut judged);
        if !judged.is_empty() {
            self.engine.with(|engine| {
                // Under the lock: whoever learns of the server that has taken its place tells the
                // engine behind this.
                let left = self.wire.has_left();
                for judged in &judged {
                    judged.tell(engine, left);
                }
            });
            self.engine.release_acks();
        }
        result
    }

    /// Takes answers until the next one is not all there.
    fn answers(&mut self, judged: &mut Vec<Judged>) -> Result<(), Broken> {
        loop {
            if let Some(Sent::Copies { entry, answered, .. }) = self.sent.front_mut() {
                *answered += self.wire.skip(OK, entry.keys.len() - *answered);
            }
            if self.sent.front().is_some_and(Sent::is_answered) {
                let sent = self.sent.pop_front();
                self.sampler.answered(&self.engine.secondary_took);
                judged.extend(sent.and_then(|sent| self.judge(sent)));
                continue;
            }
            let Some(frame) = self.wire.buffered()? else { return Ok(()) };
            if let Some(sent) = self.sent.front_mut() {
                sent.answer(frame);
            }
        }
    }

    fn judge(&mut self, sent: Sent) -> Option<Judged> {
        let judged = match sent {
            Sent::Select { .. } => return None,
            Sent::Entry { entry, replies, .. } => {
                let verdict = judge::verdict(&entry, &replies);
                if let Some(cause) = verdict {
                    describe(&entry, &replies, cause);
                }
                Judged::Effect(entry, verdict)
            }
            Sent::Copies { entry, refused, .. } => Judged::Copies(entry, refused),
        };
        let (Judged::Effect(entry, _) | Judged::Copies(entry, _)) = &judged;
        self.in_flight -= entry.commands.len();
        Some(judged)
    }
}

/// For who looks for the reason of a divergence: keys and values are shown at this level only.
fn describe(entry: &Entry, replies: &[Bytes], cause: Cause) {
    let commands = entry.commands.escape_ascii();
    let answers: Vec<_> = replies.iter().map(|reply| reply.escape_ascii().to_string()).collect();
    trace!(cause = cause.label(), db = entry.db, %commands, ?answers, expected = ?entry.expect, "diverged");
}

impl Sent {
    fn new(entry: Entry) -> Self {
        let entry = Box::new(entry);
        if entry.kind == Kind::Copies {
            return Self::Copies { entry, answered: 0, refused: Vec::new() };
        }
        let missing = judge::replies(&entry);
        Self::Entry { entry, missing, replies: SmallVec::new() }
    }

    /// Takes the next answer to it.
    fn answer(&mut self, frame: Frame) {
        match self {
            Self::Select { answered } => *answered = true,
            Self::Entry { missing, replies, .. } => {
                replies.push(frame.raw);
                *missing -= 1;
            }
            Self::Copies { answered, refused, .. } => {
                if frame.is_error() {
                    refused.push(*answered);
                }
                *answered += 1;
            }
        }
    }

    fn is_answered(&self) -> bool {
        match self {
            Self::Select { answered } => *answered,
            Self::Entry { missing, .. } => *missing == 0,
            Self::Copies { entry, answered, .. } => *answered == entry.keys.len(),
        }
    }
}

impl Judged {
    /// What a server has answered that another one takes the place of may be lost with it.
    fn tell(&self, engine: &mut Engine, left: bool) {
        match self {
            Self::Effect(entry, _) | Self::Copies(entry, _) if left => {
                engine.diverged(entry, Cause::Unknown);
            }
            Self::Effect(entry, None) => engine.applied(entry),
            Self::Effect(entry, Some(cause)) => engine.diverged(entry, *cause),
            Self::Copies(entry, refused) => engine.restored(entry, refused),
        }
    }
}
