//! A connection of a client's own: for one command (`WAIT`), or as long as something about the client
//! belongs to a connection (`WATCH`, `MULTI`, `CLIENT TRACKING`, `CLIENT NO-TOUCH`).

use std::sync::Arc;

use super::{Client, Close, Until, kind};
use crate::lane::{Job, Lane, Refusal, Sink};
use crate::proxy::session::Anew;

impl Client {
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
