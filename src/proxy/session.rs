//! Clients that need an upstream connection of their own: for one command (`WAIT`), or from now on,
//! because something about them belongs to a connection (`CLIENT TRACKING`, `CLIENT NO-TOUCH`).

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::client::{Client, Close, Way};
use super::dispatch::Meaning;
use super::registry::Wait;
use super::relay::{Relay, invalidate_all};
use crate::lane::{Job, Lane, Sink};
use crate::resp::{Request, parse_integer};

/// How many requests are repeated after a flip; a client that gave more of them is disconnected by
/// it, as by a server that restarts.
const LIMIT: usize = 256;

/// What a client's own session has been told for good.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// `CLIENT TRACKING ON …`, as the client sent them: prefixes add up.
    tracking: Vec<Request>,
    /// Hears invalidations in the place of the client that they are redirected to.
    relay: Option<Relay>,
    no_touch: bool,
}

impl Standing {
    fn is_empty(&self) -> bool {
        self.tracking.is_empty() && !self.no_touch
    }

    /// The client that is told of invalidations instead.
    pub(super) fn redirect(&self) -> Option<u64> {
        self.relay.as_ref().map(Relay::receiver)
    }

    pub(super) fn has_tracking(&self) -> bool {
        !self.tracking.is_empty()
    }

    pub(super) fn broadcasts(&self) -> bool {
        self.tracking.iter().any(|request| (3..request.len()).any(|at| request.is(at, "BCAST")))
    }

    pub(super) fn avoids_touch(&self) -> bool {
        self.no_touch
    }
}

impl Client {
    /// `WAIT` and its kin, on a connection of their own.
    ///
    /// A server counts replicas that have the connection's last write. The session has written
    /// nothing, but every command tells it the present end of all writes, so a `PING` before makes
    /// the answer one about everything that the client has written, and more: it never claims too
    /// much.
    pub(super) async fn in_session(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        let Some(session) = self.open_session().await? else { return Ok(()) };
        let mut ping = vec![Job::pass(Request::new(["PING"]), Sink::Silent(self.mailbox.clone()))];
        if session.submit(&mut ping) {
            self.submitted += 1;
        }
        let before = self.pinned.replace(session);
        self.enter(Way::Session).await?;
        self.add(SmallVec::from_iter([request]), Meaning::Read);
        self.show_wait(Some(Wait::Other));
        let settled = self.settle().await;
        self.show_wait(None);
        settled?;
        self.pinned = before;
        self.forget_lane();
        Ok(())
    }

    /// `CLIENT TRACKING ON|OFF …`. It belongs to a connection: while it is on, everything of this
    /// client goes down a session.
    pub(super) async fn client_tracking(&mut self, request: Request) -> Result<(), Close> {
        let Some((answer, relay)) = self.tell_session(&request).await? else { return Ok(()) };
        if answer.starts_with(b"+") {
            self.standing.relay = relay;
            if request.is(2, "ON") {
                self.standing.tracking.push(request);
            } else {
                self.standing.tracking.clear();
            }
        }
        self.unpin_if_free();
        self.reply(|out| out.extend_from_slice(&answer));
        Ok(())
    }

    /// `CLIENT NO-TOUCH ON|OFF`: on a lane it would count for others too.
    pub(super) async fn client_no_touch(&mut self, request: Request) -> Result<(), Close> {
        let Some((answer, _)) = self.tell_session(&request).await? else { return Ok(()) };
        if answer.starts_with(b"+") {
            self.standing.no_touch = request.is(2, "ON");
        }
        self.unpin_if_free();
        self.reply(|out| out.extend_from_slice(&answer));
        Ok(())
    }

    fn unpin_if_free(&mut self) {
        if self.standing.is_empty() {
            self.pinned = None;
            self.forget_lane();
        }
    }

    /// What the client's session answers; it gets one when it has none. `None`: it could not, and
    /// the client knows why.
    async fn tell_session(
        &mut self,
        request: &Request,
    ) -> Result<Option<(Bytes, Option<Relay>)>, Close> {
        self.settle().await?;
        if self.standing.tracking.len() >= LIMIT {
            return Err(Close::Gracefully);
        }
        loop {
            self.current_route().await?;
            if self.pinned.is_none() {
                self.pinned = self.open_session().await?;
            }
            let Some(session) = self.pinned.clone() else { return Ok(None) };
            self.forget_lane();
            let Some((told, relay)) = self.redirected(request).await else {
                self.unpin_if_free();
                return Ok(None);
            };
            if let Some(answer) = Self::ask_on(&session, told).await {
                return answer.map(|answer| Some((answer, relay)));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Asks a session something. `None`: it is held.
    pub(super) async fn ask_on(
        session: &Arc<Lane>,
        request: Request,
    ) -> Option<Result<Bytes, Close>> {
        let (sender, receiver) = oneshot::channel();
        if !session.submit(&mut vec![Job::pass(request, Sink::Task(sender))]) {
            return None;
        }
        let replies = receiver.await.ok().and_then(Result::ok);
        Some(replies.and_then(|replies| replies.into_iter().next()).ok_or(Close::Now))
    }

    /// The request as the server has to see it: a `REDIRECT` names one of the proxy's clients, whom
    /// the server does not know; a relay listens in its place. `None`: there is no such client, or
    /// no relay can be had, and the client knows.
    async fn redirected(&mut self, request: &Request) -> Option<(Request, Option<Relay>)> {
        let place = (3..request.len()).find(|place| request.is(*place, "REDIRECT"));
        let place = place.filter(|_| request.is(1, "TRACKING"));
        let receiver = place.and_then(|place| parse_integer(request.arg(place + 1)?));
        let (Some(place), Some(receiver)) = (place, receiver) else {
            return Some((request.clone(), None));
        };
        let receiver = u64::try_from(receiver).unwrap_or_default();
        if self.shared.registry.find(receiver).is_none() {
            self.error("ERR The client ID you want redirect to does not exist");
            return None;
        }
        let Some(relay) = self.open_relay(receiver).await else {
            self.error("ERR crossfade: no connection for the redirected messages could be opened");
            return None;
        };
        let id = relay.id().to_string();
        let args = request.args().enumerate();
        let args = args.map(|(at, arg)| if at == place + 1 { id.as_bytes() } else { arg });
        Some((Request::new(args), Some(relay)))
    }

    async fn open_relay(&self, receiver: u64) -> Option<Relay> {
        let context = self.upstream_context().ok()?;
        let (shared, tracker) = (self.shared.clone(), self.entry.clone());
        Relay::open(&self.route, &context, shared, tracker, receiver).await
    }

    /// After a flip: a client that tracks is told to drop its cache, and tracks on the new primary.
    pub(super) async fn rehome_pinned(&mut self) -> Result<(), Close> {
        if self.pinned.take().is_none() {
            return Ok(());
        }
        let Some(session) = Box::pin(self.open_session()).await? else { return Err(Close::Now) };
        self.pinned = Some(session.clone());
        let mut standing = self.standing.tracking.clone();
        if self.standing.no_touch {
            standing.push(Request::new(["CLIENT", "NO-TOUCH", "ON"]));
        }
        for request in standing {
            let Some((told, relay)) = self.redirected(&request).await else {
                return Err(Close::Now);
            };
            self.standing.relay = relay.or_else(|| self.standing.relay.take());
            let mut jobs = vec![Job::pass(told, Sink::Silent(self.mailbox.clone()))];
            if session.submit(&mut jobs) {
                self.submitted += 1;
            }
        }
        self.forget_cached();
        Ok(())
    }

    /// Tells whoever is told of this client's invalidations that all it knows is out of date.
    fn forget_cached(&self) {
        if !self.standing.has_tracking() {
            return;
        }
        match self.standing.redirect() {
            Some(receiver) => {
                if let Some(entry) = self.shared.registry.find(receiver) {
                    invalidate_all(&entry);
                }
            }
            None => invalidate_all(&self.entry),
        }
    }
}
