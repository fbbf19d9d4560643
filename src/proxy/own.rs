//! A connection of a client's own: for one command (`WAIT`), or as long as something about the client
//! belongs to a connection (`WATCH`, `MULTI`, `CLIENT TRACKING`, `CLIENT NO-TOUCH`).

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::client::{Client, Close, Until, Way};
use super::dispatch::Meaning;
use super::registry::Wait;
use super::relay::{Relay, invalidate_all};
use super::session::{Anew, Redirection};
use crate::lane::{Job, Lane, Refusal, Sink};
use crate::protocol::resp::Request;

impl Client {
    /// `WAIT` and its kin, on a connection of their own.
    ///
    /// A server counts replicas that have the connection's last write. This one has written
    /// nothing, but every command tells it the present end of all writes, so a `PING` before makes
    /// the answer one about everything that the client has written, and more: it never claims too
    /// much.
    pub(super) async fn alone(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        let Some(own) = self.own().await? else { return Ok(()) };
        let mut ping = vec![Job::pass(Request::new(["PING"]), Sink::Silent(self.mailbox.clone()))];
        if own.submit(&mut ping) {
            self.submitted += 1;
        }
        self.enter(Way::Own).await?;
        self.add(SmallVec::from_iter([request]), Meaning::Read);
        self.show_wait(Some(Wait::Other));
        let settled = self.settle().await;
        self.show_wait(None);
        settled
    }

    /// `CLIENT TRACKING ON|OFF …`, `CLIENT NO-TOUCH ON|OFF`. On a lane they would count for others
    /// too: while one is on, everything of this client goes down its own connection.
    pub(super) async fn client_setting(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        if self.session.standing.is_full() {
            return Err(Close::Gracefully);
        }
        let Some((answer, relay)) = self.tell_own(&request).await? else { return Ok(()) };
        self.session.on_answer(&request, &answer);
        if request.is(1, "TRACKING") && !answer.starts_with(b"-") {
            self.relay = relay;
        }
        self.reply(|out| out.extend_from_slice(&answer));
        Ok(())
    }

    /// What the client's own connection answers. `None`: there is no answer, and the client knows why.
    async fn tell_own(
        &mut self,
        request: &Request,
    ) -> Result<Option<(Bytes, Option<Relay>)>, Close> {
        loop {
            self.current_route().await?;
            let Some(own) = self.own().await? else { return Ok(None) };
            let Some((told, relay)) = self.redirected(request).await else { return Ok(None) };
            if let Some(answer) = Self::ask_on(&own, told).await {
                return answer.map(|answer| Some((answer, relay)));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Asks a connection something. `None`: it is held.
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

    /// The client's own connection; an error is answered when none can be had.
    pub(super) async fn own(&mut self) -> Result<Option<Arc<Lane>>, Close> {
        if self.own.is_none() {
            self.own = self.connect().await?;
        }
        Ok(self.own.clone())
    }

    /// A new connection in the client's context.
    pub(super) async fn connect(&mut self) -> Result<Option<Arc<Lane>>, Close> {
        self.current_route().await?;
        let opened = match self.upstream_context() {
            Ok(context) => self.route.clone().pool.session(&context, self.mailbox.clone()).await,
            Err(reason) => Err(Refusal::Unreachable(reason)),
        };
        match opened {
            Ok(own) => Ok(Some(own)),
            Err(refusal) => {
                self.refused(&refusal);
                Ok(None)
            }
        }
    }

    /// The own connection is closed when nothing about the client belongs to it any more.
    pub(super) fn leave_own(&mut self) {
        if self.own.is_some() && !self.session.needs_connection() {
            self.own = None;
        }
        if !self.session.standing.has_tracking() {
            self.relay = None;
        }
    }

    /// The client has moved to another server, or is somebody else now: what its connection was told
    /// a new one is told.
    pub(super) async fn move_own(&mut self) -> Result<(), Close> {
        if self.session.is_queueing() {
            // Whether the old primary has refused a command decides what the new one is told.
            self.pump(Until::Settled).await?;
        }
        if self.own.take().is_none() {
            return Ok(());
        }
        let Some(own) = Box::pin(self.connect()).await? else { return Err(Close::Now) };
        self.own = Some(own.clone());
        self.session.moved();
        let unsent = self.batch.to_be_queued();
        let anew = self.session.anew(&self.route.databases, unsent).map_err(|_| Close::Now)?;
        self.tell(&own, anew).await?;
        self.forget_cached();
        Ok(())
    }

    async fn tell(&mut self, own: &Lane, anew: Anew) -> Result<(), Close> {
        let sink = || Sink::Silent(self.mailbox.clone());
        let mut jobs: Vec<Job> =
            anew.queue.into_iter().map(|request| Job::queue(request, sink())).collect();
        let mut settings = Vec::new();
        for request in &anew.settings {
            let Some((told, relay)) = self.redirected(request).await else {
                return Err(Close::Now);
            };
            self.relay = relay.or_else(|| self.relay.take());
            settings.push(Job::pass(told, Sink::Silent(self.mailbox.clone())));
        }
        settings.append(&mut jobs);
        self.submitted += settings.len() as u64;
        if settings.is_empty() || own.submit(&mut settings) { Ok(()) } else { Err(Close::Now) }
    }

    /// The request as the server has to see it: a `REDIRECT` names one of the proxy's clients, which
    /// the server does not know; a relay listens in its place. `None`: there is no such client, or
    /// no relay can be had, and the client knows.
    async fn redirected(&mut self, request: &Request) -> Option<(Request, Option<Relay>)> {
        let Some(redirection) = Redirection::of(request) else {
            return Some((request.clone(), None));
        };
        if self.shared.registry.find(redirection.receiver).is_none() {
            self.error("ERR The client ID you want redirect to does not exist");
            return None;
        }
        let Some(relay) = self.open_relay(redirection.receiver).await else {
            self.error("ERR crossfade: no connection for the redirected messages could be opened");
            return None;
        };
        Some((redirection.to(request, relay.id()), Some(relay)))
    }

    async fn open_relay(&self, receiver: u64) -> Option<Relay> {
        let context = self.upstream_context().ok()?;
        let (shared, tracker) = (self.shared.clone(), self.entry.clone());
        Relay::open(&self.route, &context, shared, tracker, receiver).await
    }

    /// Tells whoever is told of this client's invalidations that all it knows is out of date.
    fn forget_cached(&self) {
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
