//! Clients that need an upstream connection of their own.

use smallvec::SmallVec;

use super::client::{Client, Close, Way};
use super::dispatch::Meaning;
use crate::lane::{Job, Sink};
use crate::resp::{Protocol, Request};

impl Client {
    /// `WAIT` and its kin, on a connection of their own.
    ///
    /// A server counts replicas that have the connection's last write. The session has written
    /// nothing, but every command tells it the present end of all writes, so a `PING` before makes
    /// the answer one about everything that the client has written, and more: it never claims too
    /// much.
    pub(super) async fn in_session(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        if request.is(0, "MONITOR") {
            return self.refuse("MONITOR would show the lanes, not the clients").await;
        }
        let Some(session) = self.open_session().await? else { return Ok(()) };
        let mut ping = vec![Job::pass(Request::new(["PING"]), Sink::Silent(self.mailbox.clone()))];
        if session.submit(&mut ping) {
            self.submitted += 1;
        }
        let before = self.pinned.replace(session);
        self.enter(Way::Session).await?;
        self.add(SmallVec::from_iter([request]), Meaning::Read);
        self.settle().await?;
        self.pinned = before;
        self.forget_lane();
        Ok(())
    }

    /// Tracking belongs to a connection: from now on everything of this client goes down a session.
    pub(super) async fn track(&mut self, request: Request) -> Result<(), Close> {
        let starts = request.is(1, "TRACKING") && request.is(2, "ON");
        if self.pinned.is_none() && starts {
            self.pinned = self.open_session().await?;
            if self.pinned.is_none() {
                return Ok(());
            }
        }
        if starts {
            self.tracking = Some(request.clone());
        }
        self.enter(Way::Session).await?;
        self.add(SmallVec::from_iter([request]), Meaning::Pass);
        self.settle().await
    }

    /// After a flip: a client that tracks is told to drop its cache, and tracks on the new primary.
    pub(super) async fn rehome_pinned(&mut self) -> Result<(), Close> {
        if self.pinned.take().is_none() {
            return Ok(());
        }
        let Some(session) = Box::pin(self.open_session()).await? else { return Err(Close::Now) };
        if let Some(tracking) = self.tracking.clone() {
            let mut jobs = vec![Job::pass(tracking, Sink::Silent(self.mailbox.clone()))];
            if session.submit(&mut jobs) {
                self.submitted += 1;
            }
            if self.context.protocol == Protocol::Resp3 {
                self.out.write(|out| out.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n_\r\n"));
            }
        }
        self.pinned = Some(session);
        Ok(())
    }
}
