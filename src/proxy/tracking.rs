//! `CLIENT TRACKING` and `CLIENT NO-TOUCH`, which belong to a connection: while one is on, everything of
//! a client goes down its own.
//!
//! Invalidations may be redirected to another client (`REDIRECT`). That one is the proxy's, with no
//! connection to the server that could be named there. So a connection is opened that listens in its
//! place, and what it hears is handed over in the form that the receiver would have got from the
//! server.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::{Client, Close};
use super::registry::Entry;
use super::session::{Redirection, translated};
use super::{Route, Shared};
use crate::lane::Context;
use crate::protocol::resp::{self, Protocol, Request};
use crate::server::Wire;

/// The channel of which a RESP2 receiver gets messages.
const CHANNEL: &[u8] = b"__redis__:invalidate";
/// What an invalidation begins with in RESP3; the keys follow.
const PUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";

impl Client {
    pub(super) async fn client_setting(&mut self, request: Request) -> Result<(), Close> {
        if self.session.standing.is_full() {
            return Err(Close::Gracefully);
        }
        if let Some(answer) = self.ask_own(&request).await? {
            self.session.on_answer(&request, &answer);
            self.reply(|out| out.extend_from_slice(&answer));
        }
        Ok(())
    }

    /// The request as the server has to get it: a `REDIRECT` names a client that the server does not
    /// know, and has a relay listen in its place. An error says why there can be none.
    pub(super) async fn as_told(
        &self,
        request: &Request,
    ) -> Result<(Request, Option<Relay>), &'static str> {
        let Some(redirection) = Redirection::of(request) else {
            return Ok((translated(request, &self.route.databases), None));
        };
        if self.shared.registry.find(redirection.receiver).is_none() {
            return Err("ERR The client ID you want redirect to does not exist");
        }
        let relay = self
            .open_relay(redirection.receiver)
            .await
            .ok_or("ERR crossfade: no connection for the redirected messages could be opened")?;
        Ok((redirection.to(request, relay.id), Some(relay)))
    }

    async fn open_relay(&self, receiver: u64) -> Option<Relay> {
        let context = self.upstream_context().ok()?;
        let (shared, tracker) = (self.shared.clone(), self.entry.clone());
        Relay::open(&self.route, &context, shared, tracker, receiver).await
    }

    /// Tells who is told of this client's invalidations that all it knows is out of date.
    pub(super) fn forget_cached(&self) {
        if !self.session.standing.has_tracking() {
            return;
        }
        match self.session.standing.redirect() {
            Some(receiver) => {
                if let Some(entry) = self.shared.registry.find(receiver) {
                    invalidate_all(&entry);
                }
            }
            None => invalidate_all(&self.entry),
        }
    }
}

/// A connection that listens until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    /// As the server numbers it.
    id: i64,
    _listening: DropGuard,
}

impl Relay {
    /// Listens with the rights of `context`; `tracker` is told when the receiver is gone.
    async fn open(
        route: &Arc<Route>,
        context: &Context,
        shared: Arc<Shared>,
        tracker: Arc<Entry>,
        receiver: u64,
    ) -> Option<Self> {
        // Invalidations know no databases.
        let context = Context { protocol: Protocol::Resp3, db: 0, ..context.clone() };
        let upstream = route.pool.upstream();
        let setup = route.pool.setup(&context, "crossfade-relay");
        let wire = upstream.endpoint.connect(&setup).await.ok()?;
        let id = wire.id?;
        let stop = CancellationToken::new();
        let listening = stop.clone().drop_guard();
        upstream.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = listen(wire, &shared, &tracker, receiver) => {}
            }
        });
        Some(Self { id, _listening: listening })
    }
}

async fn listen(mut wire: Wire, shared: &Shared, tracker: &Entry, receiver: u64) {
    while let Ok(frame) = wire.frame().await {
        let Some(keys) = frame.raw.strip_prefix(PUSH) else { continue };
        match shared.registry.find(receiver) {
            Some(entry) => deliver(&entry, keys),
            // In RESP2 nothing can be said to who has not asked.
            None if tracker.seen.lock().resp == 3 => tracker.replies.push(&broken(receiver)),
            None => {}
        }
    }
}

/// Hands the keys over; a RESP2 client gets them only while it subscribes.
fn deliver(entry: &Entry, keys: &[u8]) {
    let (protocol, subscribes) = {
        let seen = entry.seen.lock();
        (seen.resp, seen.subscribes())
    };
    let mut message = BytesMut::new();
    if protocol == 3 {
        message.put_slice(PUSH);
    } else if subscribes {
        resp::array_header(&mut message, 3);
        resp::bulk(&mut message, b"message");
        resp::bulk(&mut message, CHANNEL);
    } else {
        return;
    }
    // A null is written otherwise in RESP2, the keys are not.
    message.put_slice(if protocol != 3 && keys == b"_\r\n" { b"*-1\r\n" } else { keys });
    entry.replies.push(&message.freeze());
}

/// Tells a client that everything which it has cached may be out of date.
fn invalidate_all(entry: &Entry) {
    deliver(entry, b"_\r\n");
}

fn broken(receiver: u64) -> Bytes {
    let mut message = BytesMut::new();
    let receiver = i64::try_from(receiver).unwrap_or_default();
    resp::push(&mut message, "tracking-redir-broken", receiver);
    message.freeze()
}
