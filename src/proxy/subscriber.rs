//! Subscriptions: a connection of the client's own whose messages are handed through.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::{Client, Close};
use super::standby::{Standby, may_hear_events};
use super::{Route, Stage};
use crate::backend::Wire;
use crate::lane::{Context, Refusal};
use crate::metrics::ClientErrorKind;
use crate::net::Outgoing;
use crate::resp::{Frame, Protocol, Reply, Request};

/// How long opening the same channels on the next primary may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is tried again once that serves; then the client is disconnected, and subscribes anew.
const LAST: Duration = Duration::from_secs(5);
/// The wait before it is tried again; it grows, up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(800));

/// What can be subscribed to, each in its own name space.
const KINDS: [&[u8]; 3] = [b"subscribe", b"psubscribe", b"ssubscribe"];

/// A client's subscriptions.
#[derive(Debug)]
pub(super) struct Subscriber {
    wire: Wire,
    channels: [BTreeSet<Bytes>; 3],
    /// Confirmations and other replies that are still to come.
    expected: usize,
    /// The same channels on the next primary, opened before the flip.
    standby: Option<Standby>,
    route: Arc<Route>,
}

impl Client {
    pub(super) async fn subscribe(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        self.current_route().await?;
        if self.subscriber.is_none() && !self.open_subscriber().await {
            return Ok(());
        }
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.send(&request);
        }
        self.pump(super::client::Until::Settled).await?;
        if self.subscriber.as_ref().is_some_and(|subscriber| subscriber.count() == 0) {
            self.leave_subscriber();
        }
        // Where a flip will lead, the same channels must be open.
        self.take_subscriber_along().await
    }

    fn leave_subscriber(&mut self) {
        if self.subscriber.take().is_some() {
            self.shared.registry.unsubscribed();
        }
    }

    /// Has the subscriptions go where the clients are going. One that can't is worth nothing any
    /// more: whoever has it is disconnected, and will subscribe again.
    pub(super) async fn take_subscriber_along(&mut self) -> Result<(), Close> {
        let Some(subscriber) = &mut self.subscriber else { return Ok(()) };
        let moved = subscriber.follow(&self.stage, &self.context, &mut self.out).await;
        if !moved {
            self.leave_subscriber();
            self.blame(ClientErrorKind::Unmoved);
            self.shared.complain(self.entry.id, "its channels can't be opened on the new primary");
            return Err(Close::Gracefully);
        }
        Ok(())
    }

    async fn open_subscriber(&mut self) -> bool {
        let opened = match self.upstream_context() {
            Ok(context) => open(&self.route, &context).await,
            Err(reason) => Err(Refusal::Unreachable(reason)),
        };
        match opened {
            Ok(wire) => {
                self.subscriber = Some(Box::new(Subscriber::new(wire, self.route.clone())));
                self.shared.registry.subscribed();
                true
            }
            Err(refusal) => {
                self.refused(&refusal);
                false
            }
        }
    }

    /// In RESP2 a subscriber may use few commands; the server says which.
    pub(super) fn is_confined(&self, serve: crate::command::Serve) -> bool {
        use crate::command::{Connection, Serve};
        self.context.protocol == Protocol::Resp2
            && self.subscriber.is_some()
            && !matches!(
                serve,
                Serve::Subscribe | Serve::Connection(Connection::Quit | Connection::Reset)
            )
    }

    pub(super) async fn handle_confined(&mut self, request: Request) -> Result<(), Close> {
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.wire.push(request.raw());
            subscriber.expected += 1;
        }
        self.pump(super::client::Until::Settled).await
    }
}

async fn open(route: &Route, context: &Context) -> Result<Wire, Refusal> {
    // Messages know no databases.
    let context = Context { db: 0, ..context.clone() };
    let setup = route.pool.setup(&context, "crossfade-subscriber");
    let endpoint = &route.pool.upstream().endpoint;
    let connected = endpoint.connect(&setup).await;
    connected.map_err(|error| Refusal::Unreachable(error.to_string()))
}

impl Subscriber {
    fn new(wire: Wire, route: Arc<Route>) -> Self {
        Self { wire, channels: Default::default(), expected: 0, standby: None, route }
    }

    fn send(&mut self, request: &Request) {
        // It has other channels than these will be.
        self.standby = None;
        let name = request.name().to_ascii_lowercase();
        let kind = kind_of(&name).unwrap_or(0);
        let named = request.len() - 1;
        let ends = is_end(&name);
        let all = self.channels.get(kind).map_or(0, BTreeSet::len).max(1);
        // Without a channel, an end confirms each that was open; a beginning is an error, one reply.
        self.expected += match named {
            0 if ends => all,
            0 => 1,
            named => named,
        };
        self.wire.push(request.raw());
    }

    pub(super) fn is_settled(&self) -> bool {
        self.expected == 0
    }

    fn count(&self) -> usize {
        self.counts().iter().sum()
    }

    /// How many channels, patterns and shard channels are open.
    pub(super) fn counts(&self) -> [usize; 3] {
        self.channels.each_ref().map(BTreeSet::len)
    }

    /// Hands messages and confirmations to the client.
    pub(super) fn poll(
        &mut self,
        cx: &mut TaskContext<'_>,
        out: &mut Outgoing,
    ) -> Poll<Result<(), Close>> {
        if self.standby.as_mut().is_some_and(|standby| !standby.poll(cx)) {
            self.standby = None;
        }
        let mut moved = false;
        loop {
            while let Some(frame) = self.wire.buffered().map_err(|_| Close::Now)? {
                moved = true;
                self.note(&frame);
                out.push(&frame.raw);
            }
            if let Poll::Ready(Err(_)) = self.wire.poll_flush(cx) {
                return Poll::Ready(Err(Close::Now));
            }
            match self.wire.poll_fill(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Close::Now)),
                Poll::Pending if moved => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Keeps the set of channels as the server confirms it.
    fn note(&mut self, frame: &Frame) {
        let reply = Reply::parse(&frame.raw).unwrap_or(Reply::Null);
        let items = reply.items().unwrap_or_default();
        let name = items.first().and_then(Reply::text).cloned().unwrap_or_default();
        if matches!(name.as_ref(), b"message" | b"pmessage" | b"smessage") {
            return;
        }
        self.expected = self.expected.saturating_sub(1);
        let channel = items.get(1).and_then(Reply::text).cloned();
        let (Some(kind), Some(channel)) = (kind_of(&name), channel) else { return };
        let Some(channels) = self.channels.get_mut(kind) else { return };
        if is_end(&name) {
            channels.remove(&channel);
        } else {
            channels.insert(Bytes::copy_from_slice(&channel));
        }
    }

    /// Goes with a flip: first opens the same channels on the next primary, then, once that serves,
    /// reads out the old connection and leaves it. False: they can't be opened there.
    async fn follow(
        &mut self,
        stages: &watch::Receiver<Stage>,
        context: &Context,
        out: &mut Outgoing,
    ) -> bool {
        let stage = stages.borrow().clone();
        if !Arc::ptr_eq(&stage.route, &self.route) && !self.go_to(&stage.route, context, out).await
        {
            return false;
        }
        let Some(next) = stage.next else {
            self.standby = None;
            return true;
        };
        if !self.standby.as_ref().is_some_and(|standby| standby.is_for(&next)) {
            let wire = self.open_on(&next.route, context).await;
            let (listens, stages) = (self.hears_events(), stages.clone());
            self.standby = wire.map(|wire| Standby::new(wire, next, listens, stages));
        }
        if let Some(standby) = &mut self.standby
            && stage.held
            && standby.lacks_cut()
        {
            standby.make_cut(&mut self.wire, out).await;
        }
        true
    }

    /// Leaves the old connection for one to who serves now.
    async fn go_to(&mut self, route: &Arc<Route>, context: &Context, out: &mut Outgoing) -> bool {
        let standby = self.standby.take().filter(|standby| standby.leads_to(route));
        if !standby.as_ref().is_some_and(Standby::is_cut) {
            // Every message that was sent before the flip is before a ping's answer.
            read_out(&mut self.wire, |frame| out.push(&frame.raw)).await;
        }
        self.route = route.clone();
        if let Some(standby) = standby {
            let (wire, mut messages) = standby.into_parts();
            self.wire = wire;
            out.append(&mut messages);
            return true;
        }
        match timeout(LAST, self.open_at_last(route, context)).await {
            Ok(wire) => self.wire = wire,
            Err(_) => return false,
        }
        true
    }

    async fn open_at_last(&self, route: &Arc<Route>, context: &Context) -> Wire {
        let (mut wait, longest) = BACK_OFF;
        loop {
            if let Some(wire) = self.open_on(route, context).await {
                return wire;
            }
            sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    fn hears_events(&self) -> bool {
        let [channels, patterns, _] = &self.channels;
        channels.iter().any(|name| may_hear_events(name, false))
            || patterns.iter().any(|name| may_hear_events(name, true))
    }

    /// A connection with the same channels.
    async fn open_on(&self, route: &Arc<Route>, context: &Context) -> Option<Wire> {
        let db = route.databases.to(context.db)?;
        let context = Context { db, ..context.clone() };
        let attempt = async {
            let mut wire = open(route, &context).await.ok()?;
            let mut confirmations = 0;
            for (kind, channels) in KINDS.iter().zip(&self.channels) {
                if channels.is_empty() {
                    continue;
                }
                let names = channels.iter().map(Bytes::as_ref);
                wire.push(Request::new(std::iter::once(*kind).chain(names)).raw());
                confirmations += channels.len();
            }
            for _ in 0..confirmations {
                wire.frame().await.ok()?;
            }
            Some(wire)
        };
        timeout(PATIENCE, attempt).await.ok()?
    }
}

/// Hands out what has been sent, up to the answer to a ping; whether that came.
pub(super) async fn read_out(wire: &mut Wire, mut each: impl FnMut(&Frame)) -> bool {
    wire.push(Request::new(["PING"]).raw());
    let read = async {
        while let Ok(frame) = wire.frame().await {
            // The whole of it, in either protocol version: a message may say "pong" too. Who may not
            // ask is told so in the same place.
            let pong = [b"+PONG\r\n".as_ref(), b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"];
            if pong.contains(&frame.raw.as_ref()) || frame.is_error() {
                return true;
            }
            each(&frame);
        }
        // A server that is gone has no more messages.
        false
    };
    timeout(PATIENCE, read).await.unwrap_or(false)
}

fn kind_of(name: &[u8]) -> Option<usize> {
    let name = match name {
        b"unsubscribe" => b"subscribe",
        b"punsubscribe" => b"psubscribe".as_ref(),
        b"sunsubscribe" => b"ssubscribe",
        name => name,
    };
    KINDS.iter().position(|kind| *kind == name)
}

fn is_end(name: &[u8]) -> bool {
    matches!(name, b"unsubscribe" | b"punsubscribe" | b"sunsubscribe")
}
