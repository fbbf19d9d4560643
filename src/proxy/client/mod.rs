//! One client's task: bytes in, bytes out, and waiting.
//!
//! *What it is:* the task reads requests, has them carried out, and writes the replies in their order.
//! Its folder holds what is between a client and a server: what is under way ([`UnderWay`]), the steps
//! that are about to be ([`Meaning`]), the way to the server that serves now.
//!
//! *Guarantees:* [`Client::prepare`] alone waits until a client's requests are answered, and until
//! commands are not held: what carries out a command says what it needs ([`super::session::Needs`]), and
//! can't do it by itself.
//!
//! *Must not know:* what commands mean.

mod asking;
mod batch;
mod parting;
mod sending;
mod traffic;
mod under_way;
mod way;

pub(crate) use parting::Partings;

pub(super) use batch::{Meaning, Requests};
pub(super) use traffic::Until;
pub(super) use way::Way;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::batch::Batch;
use self::parting::Parting;
use self::under_way::{Stopwatch, UnderWay};
use super::registry::Entry;
use super::session::Session;
use super::subscriber::Subscriber;
use super::tracking::Relay;
use super::{Route, Shared, Stage};
use crate::lane::{Lane, Lanes, Purpose, Refusal, ReplyQueue};
use crate::metrics::ClientErrorKind;
use crate::net::{Outgoing, ReadSize, Stream};
use crate::protocol::resp::{self, Decoder, Request};

/// How long the last replies may take to be written.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// The client's connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// After what is under way has been answered and written.
    Gracefully,
    /// At once.
    Now,
}

/// Whether the client is still there.
#[derive(Debug)]
enum Presence {
    Here,
    /// It has closed its end, and what it asked for before is still answered.
    Parting(Parting),
    /// Nobody reads any more.
    Gone,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    stream: Stream,
    incoming: BytesMut,
    read_size: ReadSize,
    pub(super) decoder: Decoder,
    pub(super) out: Outgoing,
    /// Replies to be looked at before the client gets them.
    pub(super) withheld: Option<Box<Outgoing>>,
    pub(super) replies: Arc<ReplyQueue>,
    under_way: UnderWay,
    /// When what is handled now was read.
    pub(super) came: Instant,
    stopwatch: Stopwatch,
    /// Set by the lane when a blocking command found nothing.
    pub(super) would_block: bool,
    /// What the client is in.
    pub(super) session: Session,
    pub(super) route: Arc<Route>,
    pub(super) stage: watch::Receiver<Stage>,
    /// Whether the route is that of the last stage seen, and commands are not held.
    routed: bool,
    /// Whether to look at the stage, and at the end of everything.
    woken: bool,
    way: Way,
    lane: Option<Arc<Lane>>,
    /// The lanes of its context, so that they stay open.
    lanes: Option<Arc<Lanes>>,
    batch: Batch,
    /// A connection of its own, while something about it belongs to one.
    pub(super) own: Option<Arc<Lane>>,
    /// Hears invalidations in the place of the client that they are redirected to.
    pub(super) relay: Option<Relay>,
    pub(super) last_command: &'static str,
    pub(super) subscriber: Option<Box<Subscriber>>,
    presence: Presence,
    pub(super) stop: CancellationToken,
}

impl Client {
    /// A client at the other end of `stream`; `addresses` are its own and ours.
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: Stream,
        (address, local): (Option<SocketAddr>, Option<SocketAddr>),
        stop: CancellationToken,
    ) -> Self {
        let replies = Arc::new(ReplyQueue::of(shared.unread.clone()));
        let entry = shared.registry.enter(address, local, replies.clone());
        let mut stage = shared.stage.clone();
        let route = stage.borrow_and_update().route.clone();
        let mut decoder = Decoder::default();
        decoder.restrict(shared.limits.login);
        Self {
            shared,
            entry,
            stream,
            incoming: BytesMut::new(),
            read_size: ReadSize::default(),
            decoder,
            out: Outgoing::default(),
            withheld: None,
            replies,
            under_way: UnderWay::default(),
            came: Instant::now(),
            stopwatch: Stopwatch::default(),
            would_block: false,
            session: Session::default(),
            route,
            stage,
            routed: false,
            // What has happened before it could be woken.
            woken: true,
            way: Way::Lane(Purpose::Read),
            lane: None,
            lanes: None,
            batch: Batch::default(),
            own: None,
            relay: None,
            last_command: "NULL",
            subscriber: None,
            presence: Presence::Here,
            stop,
        }
    }

    /// Serves until one of both ends it. By reference: what is moved into a task stands there twice.
    pub(super) async fn run(&mut self) {
        if self.shared.registry.connected() > self.shared.limits.clients {
            self.blame(ClientErrorKind::TooMany);
            self.error("ERR max number of clients reached");
        } else if self.serve().await == Close::Now {
            self.out.clear();
        }
        // Whatever is in flight will be settled by its lane; only the goodbye is left.
        self.replies.close();
        if self.is_gone() && !self.session.has_transaction() {
            // What can't be sent could not have been answered either.
            let _ = self.submit().await;
        }
        let goodbye = std::future::poll_fn(|cx| self.out.poll_write(&mut self.stream, cx));
        let _ = timeout(GOODBYE_TIMEOUT, goodbye).await;
        if self.subscriber.is_some() {
            self.shared.registry.unsubscribed();
        }
        self.shared.registry.leave(self.entry.id);
    }

    async fn serve(&mut self) -> Close {
        loop {
            let done = match self.decoder.next(&mut self.incoming) {
                Ok(Some(request)) => self.handle(request).await,
                Ok(None) => self.wait_for_input().await,
                Err(error) => {
                    debug!(client = self.entry.id, %error, "malformed request");
                    self.blame(ClientErrorKind::Protocol);
                    let close = self.finish(Close::Gracefully).await;
                    if close == Close::Gracefully && self.is_drained() {
                        self.error(&format!("ERR {error}"));
                    }
                    return close;
                }
            };
            if let Err(close) = done {
                return self.finish(close).await;
            }
        }
    }

    /// Answers what is under way before a graceful close.
    async fn finish(&mut self, close: Close) -> Close {
        match close {
            Close::Gracefully => self.drain().await.err().unwrap_or(close),
            Close::Now => close,
        }
    }

    async fn wait_for_input(&mut self) -> Result<(), Close> {
        let before = self.incoming.len();
        self.submit().await?;
        if self.is_gone() {
            return Err(Close::Now);
        }
        if self.incoming.len() > before {
            // It has come while there was no room for what came before.
            return Ok(());
        }
        if matches!(self.presence, Presence::Parting(_)) {
            return Err(Close::Gracefully);
        }
        self.show();
        loop {
            self.pump(Until::Input).await?;
            if !self.is_woken()? {
                return Ok(());
            }
            self.follow_stage().await?;
        }
    }

    /// Whether something has changed that concerns every client, since this was asked last.
    fn is_woken(&mut self) -> Result<bool, Close> {
        let woken = std::mem::take(&mut self.woken);
        if woken && self.stop.is_cancelled() { Err(Close::Gracefully) } else { Ok(woken) }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.presence, Presence::Gone)
    }

    /// Nobody waits for what it asked any more.
    pub(super) fn give_up(&mut self) {
        self.presence = Presence::Gone;
    }

    /// The client is gone. What it has sent before is still done, as far as it writes.
    fn lose(&mut self) {
        self.give_up();
        self.replies.close();
        self.out.clear();
    }

    /// Answers by itself, in its turn: everything before is answered.
    pub(super) fn reply(&mut self, write: impl FnOnce(&mut BytesMut)) {
        debug_assert!(self.is_drained(), "an answer would overtake those that are under way");
        if !self.session.is_silent() {
            self.out.write(write);
        }
    }

    pub(super) fn error(&mut self, text: &str) {
        self.reply(|out| resp::error(out, text));
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.blame(kind(refusal));
        match refusal {
            Refusal::Server(text) => self.error(text),
            other => self.error(&format!("ERR crossfade: {other}")),
        }
    }

    /// Counts an error that is not the server's answer to a command.
    pub(super) fn blame(&self, kind: ClientErrorKind) {
        self.shared.metrics.client_error(kind);
    }

    /// Takes the next request that has come, without waiting for one.
    pub(super) fn next_buffered(&mut self) -> Option<Request> {
        self.decoder.next(&mut self.incoming).ok().flatten()
    }
}

fn kind(refusal: &Refusal) -> ClientErrorKind {
    match refusal {
        Refusal::Server(_) => ClientErrorKind::Auth,
        Refusal::TooMany(_) => ClientErrorKind::TooMany,
        Refusal::Unreachable(_) => ClientErrorKind::Upstream,
        Refusal::Unmigrated(_) => ClientErrorKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F: Future>(_: fn(&'a mut Client) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_client_that_waits_keeps_no_room_for_what_is_seldom() {
        let bytes = size_of::<Client>() + size(Client::run);
        assert!(bytes <= 3 * 1024, "{bytes} bytes");
    }
}
