//! Commands about the connection: who the client is, in which database and protocol version.

use bytes::Bytes;

use super::client::{Client, Close};
use super::session::{number, translated};
use crate::lane::{Identity, Refusal};
use crate::protocol::command::Connection;
use crate::protocol::resp::{self, Protocol, Request};

impl Client {
    pub(super) async fn connection(
        &mut self,
        request: Request,
        kind: Connection,
    ) -> Result<(), Close> {
        match kind {
            Connection::Cluster => self.pass(request).await,
            Connection::Client => self.client_command(request).await,
            Connection::Monitor => self.monitor(request).await,
            Connection::Interrupt => self.interrupt(request).await,
            Connection::Info => self.info(request).await,
            Connection::Auth => self.auth(request).await,
            Connection::Hello => self.hello(request).await,
            Connection::Select => self.select(request).await,
            Connection::Quit => {
                self.reply(|out| resp::simple(out, "OK"));
                Err(Close::Gracefully)
            }
            Connection::Reset => {
                self.reset();
                self.reply(|out| resp::simple(out, "RESET"));
                Ok(())
            }
        }
    }

    fn reset(&mut self) {
        self.session.reset();
        self.leave_own();
        self.leave_subscriber();
        self.shared.registry.stop_monitor(self.entry.id);
        // What it was shown until now comes before the reply; after it nothing does.
        self.replies.take_messages(&mut self.out);
        self.show_identity();
        self.forget_lane();
    }

    /// Tells the registry who the client is now.
    pub(super) fn show_identity(&mut self) {
        let mut seen = self.entry.seen.lock();
        let context = &self.session.context;
        context.identity.user().clone_into(&mut seen.user);
        self.session.name.clone_into(&mut seen.name);
        seen.library.clone_from(&self.session.library);
        (seen.monitors, seen.no_evict) = (self.session.monitors, self.session.no_evict);
        seen.db = context.db;
        seen.resp = if context.protocol == Protocol::Resp3 { 3 } else { 2 };
        let is_restricted = self.shared.limits.login && context.identity == Identity::Anonymous;
        self.decoder.restrict(is_restricted);
    }

    async fn select(&mut self, request: Request) -> Result<(), Close> {
        let before = self.session.context.db;
        self.session.context.db = number(&request, 1).unwrap_or(before);
        self.forget_lane();
        // Whether the client may go to where it is taken to be now: that there is a lane says nothing
        // of its rights. On that lane the question changes nothing.
        let answer = self.ask(|route| translated(&request, &route.databases)).await?;
        if answer.as_ref().is_some_and(|answer| !answer.starts_with(b"-")) {
            self.tell_own(&request).await?;
            self.show_identity();
        } else {
            self.session.context.db = before;
        }
        if let Some(answer) = answer {
            self.reply(|out| out.extend_from_slice(&answer));
        }
        Ok(())
    }

    /// A connection of the client's own that stays open (`WATCH`, tracking) is told too.
    pub(super) async fn tell_own(&mut self, request: &Request) -> Result<(), Close> {
        if self.own.is_some() {
            self.ask_own(request).await?;
        }
        Ok(())
    }

    /// A busy server reads nothing on the script's connection, which may be any lane: it is told on a
    /// fresh one.
    async fn interrupt(&mut self, request: Request) -> Result<(), Close> {
        let route = self.route.clone();
        let (login, server) =
            (route.pool.setup(&self.session.context, "").login, route.pool.upstream());
        if let Some(reply) = self.ask_as(server, login, &request).await {
            self.reply(|out| out.extend_from_slice(&reply));
        } else {
            let reason = format!("the {} is unreachable", server.name);
            self.refused(&Refusal::Unreachable(reason));
        }
        Ok(())
    }
}

/// The reply with another client's number behind `marker`.
pub(super) fn with_id(reply: &Bytes, marker: &[u8], number: u64) -> Bytes {
    let found = reply.windows(marker.len()).position(|window| window == marker);
    let Some(start) = found.map(|place| place + marker.len()) else { return reply.clone() };
    let rest = reply.get(start..).unwrap_or_default();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let before = reply.get(..start).unwrap_or_default();
    [before, number.to_string().as_bytes(), rest.get(digits..).unwrap_or_default()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_carries_the_clients_own_id() {
        let reply = Bytes::from_static(b"%2\r\n$2\r\nid\r\n:17\r\n$4\r\nmode\r\n+x\r\n");
        let expected = b"%2\r\n$2\r\nid\r\n:4\r\n$4\r\nmode\r\n+x\r\n";
        assert_eq!(with_id(&reply, b"$2\r\nid\r\n:", 4).as_ref(), expected);
    }
}
