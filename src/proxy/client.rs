//! One client's task: bytes in, bytes out, and waiting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use bytes::BytesMut;
use tokio_util::io::poll_read_buf;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::dispatch::Batch;
use super::parting::Parting;
use super::registry::Entry;
use super::relay::Relay;
use super::session::Session;
use super::stopwatch::Stopwatch;
use super::subscriber::Subscriber;
use super::{Route, Shared};
use crate::lane::{Lane, Lanes, MOST, Mailbox, Purpose, Refusal, STEP, Window};
use crate::metrics::ClientErrorKind;
use crate::net::{Outgoing, ReadSize, Stream};
use crate::protocol::resp::{self, Decoder, Request};

/// How much room a read is given at most, when a large value is on its way, in bytes.
const READ_ROOM_MAX: usize = 1024 * 1024;
/// Replies that are under way to a client or that it has not read, in bytes, as far as that can be
/// known beforehand; past it, it is not served.
const UNREAD: usize = 1024 * 1024;
/// Requests of a client that are under way, in bytes, before it is read from again.
const UNANSWERED: usize = 4 * 1024 * 1024;
/// What a subscriber may leave unread, in bytes, before it is disconnected: Redis' default too.
const UNREAD_MESSAGES: usize = 32 * 1024 * 1024;
/// Requests that are read ahead while the client waits for a command to end, in bytes.
const AHEAD: usize = 1024 * 1024;

/// And while it waits for room, in bytes: only to see whether it is still there.
const GLIMPSE: usize = 64 * 1024;

/// The client's connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// After what is queued has been written.
    Gracefully,
    /// At once.
    Now,
}

/// Which lane serves the steps in flight. A client uses one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A lane that others use too.
    Lane(Purpose),
    /// A connection of its own.
    Own,
}

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// More requests.
    Input,
    /// The client's end, or a reason to end it; it may write ahead a little meanwhile.
    Gone,
    /// Every step answered.
    Settled,
    /// Room for one more step, the client's end, or something that concerns every client.
    Room,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each tells of an event of its own")]
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    pub(super) stream: Stream,
    pub(super) incoming: BytesMut,
    read_size: ReadSize,
    pub(super) decoder: Decoder,
    pub(super) out: Outgoing,
    /// Replies to be looked at before the client gets them.
    pub(super) withheld: Option<Box<Outgoing>>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) submitted: u64,
    pub(super) answered: u64,
    /// The bytes of the requests since all were answered last.
    pub(super) asked: usize,
    window: Window,
    /// When what is handled now was read.
    pub(super) came: Instant,
    pub(super) stopwatch: Stopwatch,
    /// Set by the lane when a blocking command found nothing.
    pub(super) would_block: bool,
    /// What the client is in.
    pub(super) session: Session,
    pub(super) route: Arc<Route>,
    pub(super) stage: tokio::sync::watch::Receiver<super::Stage>,
    /// Whether the route is that of the last stage seen, and commands are not held.
    routed: bool,
    /// Whether to look at the stage, and at the end of everything.
    called: bool,
    pub(super) way: Way,
    pub(super) lane: Option<Arc<Lane>>,
    /// The lanes of its context, so that they stay open.
    pub(super) lanes: Option<Arc<Lanes>>,
    pub(super) batch: Batch,
    /// A connection of its own, while something about it belongs to one.
    pub(super) own: Option<Arc<Lane>>,
    /// Hears invalidations in the place of the client that they are redirected to.
    pub(super) relay: Option<Relay>,
    pub(super) last_command: &'static str,
    pub(super) subscriber: Option<Box<Subscriber>>,
    /// The client has closed its end, and what it asked for before is still answered.
    parting: Option<Parting>,
    /// Nobody reads any more.
    pub(super) gone: bool,
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
        let mailbox = Arc::new(Mailbox::of(shared.unread.clone()));
        let entry = shared.registry.enter(address, local, mailbox.clone());
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
            mailbox,
            submitted: 0,
            answered: 0,
            asked: 0,
            window: Window::new(UNREAD, 1),
            came: Instant::now(),
            stopwatch: Stopwatch::default(),
            would_block: false,
            session: Session::default(),
            route,
            stage,
            routed: false,
            // What has happened before it could be called.
            called: true,
            way: Way::Lane(Purpose::Read),
            lane: None,
            lanes: None,
            batch: Batch::default(),
            own: None,
            relay: None,
            last_command: "NULL",
            subscriber: None,
            parting: None,
            gone: false,
            stop,
        }
    }

    pub(super) async fn run(mut self) {
        if self.shared.registry.connected() > self.shared.limits.clients {
            self.blame(ClientErrorKind::TooMany);
            self.error("ERR max number of clients reached");
        } else if self.serve().await == Close::Now {
            self.out.clear();
        }
        // Whatever is in flight will be settled by its lane; only the goodbye is left.
        self.mailbox.close();
        if self.gone && !self.session.has_transaction() {
            // What can't be sent could not have been answered either.
            let _ = self.submit().await;
        }
        let goodbye = std::future::poll_fn(|cx| self.out.poll_write(&mut self.stream, cx));
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), goodbye).await;
        if self.subscriber.is_some() {
            self.shared.registry.unsubscribed();
        }
        self.shared.registry.leave(self.entry.id);
    }

    async fn serve(&mut self) -> Close {
        loop {
            match self.decoder.next(&mut self.incoming) {
                Ok(Some(request)) => {
                    if let Err(close) = self.handle(request).await {
                        return self.finish(close).await;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    debug!(client = self.entry.id, %error, "malformed request");
                    self.blame(ClientErrorKind::Protocol);
                    let close = self.settle().await.err().unwrap_or(Close::Gracefully);
                    self.error(&format!("ERR {error}"));
                    return close;
                }
            }
            if let Err(close) = self.wait_for_input().await {
                return close;
            }
        }
    }

    /// Answers what is in flight before a graceful close.
    async fn finish(&mut self, close: Close) -> Close {
        match close {
            Close::Gracefully => self.settle().await.err().unwrap_or(close),
            Close::Now => close,
        }
    }

    async fn wait_for_input(&mut self) -> Result<(), Close> {
        let before = self.incoming.len();
        self.submit().await?;
        if self.gone {
            return Err(Close::Now);
        }
        if self.incoming.len() > before {
            // It has come while there was no room for what came before.
            return Ok(());
        }
        if self.parting.is_some() {
            self.settle().await?;
            return Err(Close::Gracefully);
        }
        self.show();
        loop {
            self.pump(Until::Input).await?;
            if !std::mem::take(&mut self.called) {
                return Ok(());
            }
            if self.stop.is_cancelled() {
                self.settle().await?;
                return Err(Close::Gracefully);
            }
            self.follow_stage().await?;
        }
    }

    /// Submits what is batched and waits until every step is answered.
    pub(super) async fn settle(&mut self) -> Result<(), Close> {
        self.submit().await?;
        if self.submitted == self.answered {
            return Ok(());
        }
        self.pump(Until::Settled).await
    }

    /// Moves replies to the client until what is waited for is there.
    pub(super) async fn pump(&mut self, until: Until) -> Result<(), Close> {
        std::future::poll_fn(|cx| self.poll(cx, until)).await
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut TaskContext<'_>,
        until: Until,
    ) -> Poll<Result<(), Close>> {
        loop {
            let replies = self.withheld.as_deref_mut().unwrap_or(&mut self.out);
            let before = replies.len();
            let news = self.mailbox.poll_take(cx, replies);
            if let Poll::Ready(news) = &news {
                let answered = usize::try_from(news.answered).unwrap_or(usize::MAX);
                self.window.learn(replies.len() - before, answered);
                self.answered += news.answered;
                if self.answered == self.submitted {
                    self.asked = 0;
                }
                self.would_block |= news.would_block;
                if news.spoiled {
                    self.session.spoil();
                }
                self.called |= news.called;
                for _ in 0..news.refused {
                    self.blame(ClientErrorKind::Upstream);
                }
                if news.evicted {
                    self.shared.complain(self.entry.id, "it reads least, and all leave too much");
                    self.blame(ClientErrorKind::SlowReader);
                    return Poll::Ready(Err(Close::Now));
                }
                if news.disowned {
                    return Poll::Ready(Err(Close::Gracefully));
                }
                if news.doomed {
                    self.blame(ClientErrorKind::Upstream);
                    return Poll::Ready(Err(Close::Now));
                }
            }
            let messages = match &mut self.subscriber {
                Some(subscriber) => subscriber.poll(cx, &mut self.session.channels, &mut self.out),
                None => Poll::Pending,
            };
            if let Poll::Ready(Err(close)) = messages {
                return Poll::Ready(Err(close));
            }
            let counts = self.out.len() >= STEP;
            let written = self.out.poll_write(&mut self.stream, cx);
            if matches!(written, Poll::Ready(Err(_))) || self.has_parted(cx, until) {
                self.lose();
                if matches!(until, Until::Input | Until::Gone) {
                    return Poll::Ready(Err(Close::Now));
                }
            }
            if counts {
                self.mailbox.left_to_write(self.out.len());
            }
            if let Poll::Ready(news) = &news {
                self.stopwatch.stop(news.answered, &self.entry.tally);
            }
            if self.out.len() > self.output_limit() {
                self.shared.complain(self.entry.id, "it does not read its replies");
                self.blame(ClientErrorKind::SlowReader);
                return Poll::Ready(Err(Close::Now));
            }
            let settled = self.submitted == self.answered && self.session.channels.is_settled();
            if until == Until::Settled && settled {
                return Poll::Ready(Ok(()));
            }
            if matches!(until, Until::Input | Until::Room) && self.called {
                return Poll::Ready(Ok(()));
            }
            if until == Until::Room && self.room() > 0 {
                return Poll::Ready(Ok(()));
            }
            if self.may_read(until) {
                let wanted = self.decoder.wanted(&self.incoming);
                self.incoming.reserve(wanted.clamp(self.read_size.bytes(), READ_ROOM_MAX));
                match poll_read_buf(std::pin::Pin::new(&mut self.stream), cx, &mut self.incoming) {
                    Poll::Ready(Ok(0)) if self.begins_to_part(until) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(0) | Err(_)) => {
                        self.lose();
                        let over = if until == Until::Room { Ok(()) } else { Err(Close::Now) };
                        return Poll::Ready(over);
                    }
                    Poll::Ready(Ok(_)) if until != Until::Input => continue,
                    Poll::Ready(Ok(read)) => {
                        self.read_size.learn(read);
                        self.came = Instant::now();
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Pending => self.rest(),
                }
            }
            if news.is_pending() && messages.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// The client has closed its end: whether it is answered all the same. One that waits for data is
    /// not, nor does a server go on with it.
    fn begins_to_part(&mut self, until: Until) -> bool {
        if until != Until::Gone {
            self.parting = self.shared.partings.begin();
        }
        self.parting.is_some()
    }

    /// Whether a client that had closed its end is gone for good.
    fn has_parted(&mut self, cx: &mut TaskContext<'_>, until: Until) -> bool {
        let Some(parting) = &mut self.parting else { return false };
        !self.gone && (until == Until::Gone || parting.is_over(cx))
    }

    /// The client is gone. What it has sent before is still done, as far as it writes.
    fn lose(&mut self) {
        self.gone = true;
        self.mailbox.close();
        self.out.clear();
    }

    /// Nothing has come and nothing is under way: an idle client keeps no buffers.
    fn rest(&mut self) {
        if self.incoming.is_empty() && self.submitted == self.answered {
            self.incoming = BytesMut::new();
        }
    }

    /// Messages come unasked, so a subscriber that does not read them is given less time.
    fn output_limit(&self) -> usize {
        let limit = self.shared.limits.output;
        if self.subscriber.is_some() { limit.min(UNREAD_MESSAGES) } else { limit }
    }

    fn may_read(&self, until: Until) -> bool {
        match until {
            _ if self.parting.is_some() => false,
            Until::Input => {
                self.under_way() < MOST
                    && self.asked < UNANSWERED
                    && self.window.steps(self.out.len()) > 0
            }
            Until::Gone => self.incoming.len() < AHEAD,
            Until::Room => self.incoming.len() < GLIMPSE,
            Until::Settled => false,
        }
    }

    pub(super) fn under_way(&self) -> usize {
        usize::try_from(self.submitted - self.answered).unwrap_or(usize::MAX)
    }

    /// How many steps more may be under way; any number once nobody reads the answers. Nearly all
    /// writes are answered with few words, as is what a server queues for a transaction.
    pub(super) fn room(&self) -> usize {
        if self.gone {
            return MOST;
        }
        if self.asked >= UNANSWERED {
            return 0;
        }
        let short = self.way == Way::Lane(Purpose::Write) && self.window.is_new();
        if short || self.session.has_transaction() {
            return MOST;
        }
        self.window.steps(self.out.len()).saturating_sub(self.under_way())
    }

    /// Waits until there is room for one more step.
    pub(super) async fn make_room(&mut self) -> Result<(), Close> {
        while self.room() == 0 {
            self.pump(Until::Room).await?;
            if std::mem::take(&mut self.called) {
                if self.stop.is_cancelled() {
                    self.batch.clear();
                    return Err(Close::Gracefully);
                }
                self.follow_stage().await?;
            }
        }
        Ok(())
    }

    /// The stage has changed while nothing was asked.
    async fn follow_stage(&mut self) -> Result<(), Close> {
        self.routed = false;
        let stage = self.stage.borrow_and_update().clone();
        Box::pin(self.take_subscriber_along()).await?;
        if !stage.held && !Arc::ptr_eq(&stage.route, &self.route) {
            // What is open here must not wait for the next command to be opened there, nor what was
            // left be kept open until then.
            return Box::pin(self.current_route()).await;
        }
        Ok(())
    }

    /// The route that serves now, waiting while commands are held.
    pub(super) async fn current_route(&mut self) -> Result<(), Close> {
        // Looking whether there is a new stage is cheap, looking at it is not.
        while !self.routed || self.stage.has_changed().unwrap_or(true) {
            let stage = self.stage.borrow_and_update().clone();
            if !stage.held {
                self.routed = true;
                if !Arc::ptr_eq(&stage.route, &self.route) {
                    self.route = stage.route;
                    self.lane = None;
                    let context = self.upstream_context().ok().filter(|_| self.lanes.is_some());
                    self.lanes = context.and_then(|context| self.route.pool.open_lanes(&context));
                    // A flip is seldom: the task of a client that waits keeps no room for it.
                    Box::pin(self.take_subscriber_along()).await?;
                    Box::pin(self.move_own()).await?;
                }
                return Ok(());
            }
            self.follow_stage().await?;
            if self.stage.changed().await.is_err() {
                return Err(Close::Gracefully);
            }
        }
        Ok(())
    }

    /// Answers by itself, in its turn: everything before is settled.
    pub(super) fn reply(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if !self.session.is_silent() {
            self.out.write(write);
        }
    }

    pub(super) fn error(&mut self, text: &str) {
        self.reply(|out| resp::error(out, text));
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::Server(text) => {
                self.blame(ClientErrorKind::Auth);
                self.error(text);
            }
            Refusal::TooMany(_) => {
                self.blame(ClientErrorKind::TooMany);
                self.error(&format!("ERR crossfade: {refusal}"));
            }
            Refusal::Unreachable(text) => {
                self.blame(ClientErrorKind::Upstream);
                self.error(&format!("ERR crossfade: {text}"));
            }
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
