//! The connections that a client asks on: any lane, or one of its own, which it has for one command
//! (`WAIT`), or as long as something about it belongs to a connection (`WATCH`, `MULTI`,
//! `CLIENT TRACKING`, `CLIENT NO-TOUCH`).

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::yield_now;

use super::{Client, Close, Until, kind};
use crate::lane::{Job, Lane, Lost, Purpose, Refusal, Sink};
use crate::protocol::resp::Request;
use crate::proxy::Route;
use crate::proxy::session::{Anew, Needs};

impl Client {
    /// Asks the server that serves. `None`: it can't be asked, and the client has been told why.
    pub(in crate::proxy) async fn ask(
        &mut self,
        question: impl Fn(&Route) -> Request,
    ) -> Result<Option<Bytes>, Close> {
        match self.try_to_ask(Purpose::LongRead, question).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(refusal) => {
                self.refused(&refusal);
                Ok(None)
            }
        }
    }

    /// Asks on a lane for `purpose`, or where everything of the client is asked: on its own connection.
    /// While a flip is under way nothing is asked; then it is another question, maybe.
    pub(in crate::proxy) async fn try_to_ask(
        &mut self,
        purpose: Purpose,
        question: impl Fn(&Route) -> Request,
    ) -> Result<Result<Bytes, Refusal>, Close> {
        loop {
            self.prepare(Needs::Route).await?;
            let own = self.own.clone().filter(|_| self.session.is_pinned());
            let lane = match (own, self.upstream_context()) {
                (Some(own), _) => Ok(own),
                (None, Ok(context)) => self.route.pool.lane(&context, purpose).await,
                (None, Err(refusal)) => Err(refusal),
            };
            let lane = match lane {
                Ok(lane) => lane,
                Err(refusal) => return Ok(Err(refusal)),
            };
            match lane.ask(Job::read, question(&self.route)).await {
                Some(Ok(answer)) => return Ok(Ok(answer)),
                Some(Err(Lost::Refused(refusal))) => return Ok(Err(refusal)),
                Some(Err(Lost::Connection(_))) => return Err(Close::Now),
                None => yield_now().await,
            }
        }
    }

    /// Asks the client's own connection, which is told what it asks, too. `None` as in [`Self::ask`].
    pub(in crate::proxy) async fn ask_own(
        &mut self,
        request: &Request,
    ) -> Result<Option<Bytes>, Close> {
        while self.prepare(Needs::Connection).await? {
            let Some(own) = self.own.clone() else { break };
            let (told, relay) = match self.as_told(request).await {
                Ok(told) => told,
                Err(error) => {
                    self.error(error);
                    break;
                }
            };
            let Some(answer) = own.ask(Job::pass, told).await else {
                yield_now().await;
                continue;
            };
            let answer = answer.map_err(|_| Close::Now)?;
            if request.is(1, "TRACKING") && !answer.starts_with(b"-") {
                self.relay = relay;
            }
            return Ok(Some(answer));
        }
        Ok(None)
    }

    /// Whether the client has a connection of its own, opened now if need be; when none can be had it
    /// has been told why.
    pub(super) async fn has_own(&mut self) -> Result<bool, Close> {
        if self.own.is_none() {
            match self.connect().await {
                Ok(own) => self.own = Some(own),
                Err(refusal) => self.refused(&refusal),
            }
        }
        Ok(self.own.is_some())
    }

    /// A new connection in the client's context.
    pub(in crate::proxy) async fn connect(&self) -> Result<Arc<Lane>, Refusal> {
        let context = self.upstream_context()?;
        self.route.pool.session(&context, self.replies.clone()).await
    }

    /// The own connection is closed when nothing about the client belongs to it any more.
    pub(in crate::proxy) fn leave_own(&mut self) {
        if self.own.is_some() && !self.session.needs_connection() {
            self.own = None;
        }
        if !self.session.standing.has_tracking() {
            self.relay = None;
        }
    }

    /// The client has moved to another server, or is somebody else now: what its connection was told
    /// a new one is told.
    pub(in crate::proxy) async fn move_own(&mut self) -> Result<(), Close> {
        if self.session.is_queueing() {
            // Whether the old primary has refused a command decides what the new one is told.
            self.pump(Until::Drained).await?;
        }
        if self.own.take().is_none() {
            return Ok(());
        }
        let own = self.connect().await.map_err(|refusal| {
            self.blame(kind(&refusal));
            Close::Now
        })?;
        self.own = Some(own.clone());
        self.session.moved();
        let unsent = self.batch.to_be_queued();
        let anew = self.session.anew(&self.route.databases, unsent).map_err(|_| Close::Now)?;
        self.tell(&own, anew).await?;
        self.forget_cached();
        Ok(())
    }

    async fn tell(&mut self, own: &Lane, anew: Anew) -> Result<(), Close> {
        let mut jobs = Vec::new();
        for request in &anew.settings {
            let (told, relay) = self.as_told(request).await.map_err(|_| Close::Now)?;
            self.relay = relay.or_else(|| self.relay.take());
            jobs.push(Job::pass(told, Sink::Silent(self.replies.clone())));
        }
        for request in anew.queue {
            jobs.push(Job::queue(request, Sink::Silent(self.replies.clone())));
        }
        for _ in &jobs {
            self.under_way.submit(0);
        }
        if jobs.is_empty() || own.submit(&mut jobs) { Ok(()) } else { Err(Close::Now) }
    }
}
