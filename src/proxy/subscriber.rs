//! Subscriptions: a connection of the client's own whose messages are handed through.

use std::fmt::Display;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::{Client, Close, Until};
use super::session::{Channels, Reason, Session};
use super::standby::{Standby, may_hear_events};
use super::{Route, Stage};
use crate::lane::{Context, Refusal};
use crate::metrics::ClientErrorKind;
use crate::net::Outgoing;
use crate::protocol::resp::{Frame, Request};
use crate::server::Wire;

/// How long opening the same channels on the next primary may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is tried again once that serves; then the client is disconnected, and subscribes anew.
const LAST: Duration = Duration::from_secs(5);
/// The wait before it is tried again; it grows, up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(800));

/// A client's subscriptions.
#[derive(Debug)]
pub(super) struct Subscriber {
    wire: Wire,
    /// The same channels on the next primary, opened before the flip.
    standby: Option<Standby>,
    route: Arc<Route>,
}

impl Client {
    pub(super) async fn subscribe(&mut self, request: Request) -> Result<(), Close> {
        if self.subscriber.is_none() && !self.open_subscriber().await {
            return Ok(());
        }
        if let Some(subscriber) = &mut self.subscriber {
            // It has other channels than these will be.
            subscriber.standby = None;
        }
        self.send_as_subscriber(&request).await?;
        if self.session.channels.count() == 0 {
            self.leave_subscriber();
        }
        // Where a flip will lead, the same channels must be open.
        self.take_subscriber_along().await
    }

    pub(super) fn leave_subscriber(&mut self) {
        self.session.channels = Channels::default();
        if self.subscriber.take().is_some() {
            self.shared.registry.unsubscribed();
        }
    }

    /// Has the subscriptions go where the clients are going. One that can't is worth nothing any
    /// more: whoever has it is disconnected, and will subscribe again.
    pub(super) async fn take_subscriber_along(&mut self) -> Result<(), Close> {
        let Some(subscriber) = &mut self.subscriber else { return Ok(()) };
        let moved = subscriber.follow(&self.stage, &self.session, &mut self.out).await;
        if !moved {
            self.leave_subscriber();
            self.blame(ClientErrorKind::Unmoved);
            self.shared.complain(self.entry.id, "its channels can't be opened on the new primary");
            return Err(Close::Gracefully);
        }
        Ok(())
    }

    async fn open_subscriber(&mut self) -> bool {
        match open(&self.route, &self.session).await {
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

    pub(super) async fn send_as_subscriber(&mut self, request: &Request) -> Result<(), Close> {
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.wire.push(request.raw());
            self.session.channels.sent(request);
        }
        self.pump(Until::Drained).await
    }
}

/// A connection that listens to what the client listens to.
async fn open(route: &Route, session: &Session) -> Result<Wire, Refusal> {
    let anew = session.anew(&route.databases, 0);
    let anew = anew.map_err(|db| unreachable(Reason::Unmigrated(db)))?;
    // Messages know no databases.
    let context = Context { db: 0, ..anew.context };
    let setup = route.pool.setup(&context, "crossfade-subscriber");
    let connected = route.pool.upstream().endpoint.connect(&setup).await;
    let mut wire = connected.map_err(unreachable)?;
    let (requests, confirmations) = anew.subscriptions;
    for request in &requests {
        wire.push(request.raw());
    }
    for _ in 0..confirmations {
        wire.frame().await.map_err(unreachable)?;
    }
    Ok(wire)
}

fn unreachable(reason: impl Display) -> Refusal {
    Refusal::Unreachable(reason.to_string())
}

async fn open_in_time(route: &Route, session: &Session) -> Option<Wire> {
    timeout(PATIENCE, open(route, session)).await.ok()?.ok()
}

impl Subscriber {
    fn new(wire: Wire, route: Arc<Route>) -> Self {
        Self { wire, standby: None, route }
    }

    /// Hands messages and confirmations to the client.
    pub(super) fn poll(
        &mut self,
        cx: &mut TaskContext<'_>,
        channels: &mut Channels,
        out: &mut Outgoing,
    ) -> Poll<Result<(), Close>> {
        if self.standby.as_mut().is_some_and(|standby| !standby.poll(cx)) {
            self.standby = None;
        }
        let mut moved = false;
        loop {
            // What has been read by now was said before the flip, if that is still to come.
            if self.is_left(channels) {
                return if moved { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            while let Some(frame) = self.wire.buffered().map_err(|_| Close::Now)? {
                moved = true;
                channels.note(&frame.raw);
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

    /// Whether what is told here now are the events of writes that are mirrored back: the client has
    /// them from the other connection.
    fn is_left(&self, channels: &Channels) -> bool {
        channels.is_confirmed() && self.standby.as_ref().is_some_and(Standby::has_taken_over)
    }

    /// Goes with a flip: first opens the same channels on the next primary, then, once that serves,
    /// reads out the old connection and leaves it. False: they can't be opened there.
    async fn follow(
        &mut self,
        stages: &watch::Receiver<Stage>,
        session: &Session,
        out: &mut Outgoing,
    ) -> bool {
        let stage = stages.borrow().clone();
        if !Arc::ptr_eq(&stage.route, &self.route) && !self.go_to(&stage.route, session, out).await
        {
            return false;
        }
        let Some(next) = stage.next else {
            self.standby = None;
            return true;
        };
        if !self.standby.as_ref().is_some_and(|standby| standby.is_for(&next)) {
            let wire = open_in_time(&next.route, session).await;
            let (listens, stages) = (session.channels.any(may_hear_events), stages.clone());
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
    async fn go_to(&mut self, route: &Arc<Route>, session: &Session, out: &mut Outgoing) -> bool {
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
        match timeout(LAST, open_at_last(route, session)).await {
            Ok(wire) => self.wire = wire,
            Err(_) => return false,
        }
        true
    }
}

async fn open_at_last(route: &Route, session: &Session) -> Wire {
    let (mut wait, longest) = BACK_OFF;
    loop {
        if let Some(wire) = open_in_time(route, session).await {
            return wire;
        }
        sleep(wait).await;
        wait = (wait * 2).min(longest);
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
