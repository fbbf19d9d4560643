//! Commands about the connection: who the client is, in which database and protocol version.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::authority::{Decision, logs_in};
use super::client::{Client, Close, Way};
use super::scan::Asked;
use crate::lane::{Context, Identity, Job, Purpose, Refusal, Sink, Upstream};
use crate::protocol::command::Connection;
use crate::protocol::resp::{self, Protocol, Request, parse_integer};
use crate::server::{Secret, Wire};

/// Neither the source nor whoever stands in for it has answered.
const NOBODY_ASKED: &str = "ERR crossfade: no server can be asked for this user";

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
                self.settle().await?;
                self.reply(|out| resp::simple(out, "OK"));
                Err(Close::Gracefully)
            }
            Connection::Reset => {
                self.settle().await?;
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
        self.mailbox.take_messages(&mut self.out);
        self.show_identity();
        let mut seen = self.entry.seen.lock();
        (seen.monitors, seen.no_evict) = (false, false);
        drop(seen);
        self.forget_lane();
    }

    /// The next command finds its lane anew.
    pub(super) fn forget_lane(&mut self) {
        self.lane = None;
        self.way = Way::Lane(Purpose::Read);
    }

    /// Tells the registry who the client is now.
    pub(super) fn show_identity(&mut self) {
        let mut seen = self.entry.seen.lock();
        let context = &self.session.context;
        context.identity.user().clone_into(&mut seen.user);
        self.session.name.clone_into(&mut seen.name);
        seen.db = context.db;
        seen.resp = if context.protocol == Protocol::Resp3 { 3 } else { 2 };
        let is_restricted = self.shared.limits.login && context.identity == Identity::Anonymous;
        self.decoder.restrict(is_restricted);
    }

    async fn select(&mut self, request: Request) -> Result<(), Close> {
        let db = request.arg(1).and_then(parse_integer).and_then(|db| u32::try_from(db).ok());
        let (Some(db), 2) = (db, request.len()) else {
            // Not a database number: the server has the words for it.
            return self.pass(request).await;
        };
        self.settle().await?;
        let before = std::mem::replace(&mut self.session.context.db, db);
        self.forget_lane();
        let Some((answer, select)) = self.ask_to_select().await? else {
            self.session.context.db = before;
            return Ok(());
        };
        if answer.starts_with(b"-") {
            self.session.context.db = before;
        } else {
            self.tell_open_session(select).await?;
            self.show_identity();
        }
        self.reply(|out| out.extend_from_slice(&answer));
        Ok(())
    }

    /// Whether the client may go to where it is taken to be now: that there is a lane says nothing of
    /// its rights. On that lane the question changes nothing. With the answer, what was asked; `None`
    /// when the client has been told why nothing was.
    async fn ask_to_select(&mut self) -> Result<Option<(Bytes, Request)>, Close> {
        loop {
            self.current_route().await?;
            let context = match self.upstream_context() {
                Ok(context) => context,
                Err(reason) => {
                    self.refused(&Refusal::Unreachable(reason));
                    return Ok(None);
                }
            };
            let select = Request::new(["SELECT", &context.db.to_string()]);
            match self.try_asking(select.clone()).await? {
                Asked::Answered(answer) => return Ok(Some((answer, select))),
                Asked::Refused => return Ok(None),
                Asked::Held => {}
            }
        }
    }

    /// A session that stays open (`WATCH`, tracking) is told too. One that a flip puts in its place
    /// meanwhile has been opened in the new state.
    async fn tell_open_session(&mut self, request: Request) -> Result<(), Close> {
        let Some(session) = self.own.clone() else { return Ok(()) };
        match Self::ask_on(&session, request).await {
            Some(answer) => answer.map(drop),
            None => self.current_route().await,
        }
    }

    /// A busy server reads nothing on the script's connection, which may be any lane: it is told on a
    /// fresh one.
    async fn interrupt(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        self.current_route().await?;
        let route = self.route.clone();
        let (login, server) =
            (route.pool.setup(&self.session.context, "").login, route.pool.upstream());
        if let Some(reply) = self.ask_server(server, login, &request).await {
            self.reply(|out| out.extend_from_slice(&reply));
        } else {
            let reason = format!("the {} is unreachable", server.name);
            self.refused(&Refusal::Unreachable(reason));
        }
        Ok(())
    }

    async fn auth(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        self.current_route().await?;
        let Some((reply, identity)) = self.decide(&request).await else {
            self.error(NOBODY_ASKED);
            return Ok(());
        };
        if let Some(identity) = identity {
            self.session.log_in(identity);
            self.reopen().await?;
        }
        self.reply(|out| out.extend_from_slice(&reply));
        Ok(())
    }

    /// Goes on as who it is now, on connections that are in that state from the start.
    async fn reopen(&mut self) -> Result<(), Close> {
        self.show_identity();
        self.forget_lane();
        self.move_own().await
    }

    async fn hello(&mut self, request: Request) -> Result<(), Close> {
        self.settle().await?;
        self.current_route().await?;
        let Some((reply, identity)) = self.decide(&request).await else {
            self.error(NOBODY_ASKED);
            return Ok(());
        };
        if reply.first() == Some(&b'-') {
            self.reply(|out| out.extend_from_slice(&reply));
            return Ok(());
        }
        self.session.on_answer(&request, &reply);
        if identity.is_some_and(|identity| self.session.log_in(identity)) {
            self.reopen().await?;
        } else {
            self.show_identity();
            self.forget_lane();
            let version = if self.session.context.protocol == Protocol::Resp3 { "3" } else { "2" };
            self.tell_open_session(Request::new(["HELLO", version])).await?;
        }
        let text = self.greeting().await.unwrap_or(reply);
        self.reply(|out| out.extend_from_slice(&text));
        Ok(())
    }

    /// What the primary says of itself in the client's protocol version, with the client's own ID.
    async fn greeting(&mut self) -> Option<Bytes> {
        let context = self.upstream_context().ok()?;
        let lane = self.route.clone().pool.lane(&context, Purpose::Read).await.ok()?;
        let version = if context.protocol == Protocol::Resp3 { "3" } else { "2" };
        let (sender, receiver) = oneshot::channel();
        let hello = Request::new(["HELLO", version]);
        let mut jobs = vec![Job::read(hello, Sink::Task(sender))];
        if !lane.submit(&mut jobs) {
            return None;
        }
        let reply = receiver.await.ok()?.ok()?.into_iter().next()?;
        Some(with_integer_behind(&reply, b"$2\r\nid\r\n:", self.entry.id))
    }

    /// Has a request about users decided; with it comes the identity that it logs in.
    async fn decide(&self, request: &Request) -> Option<(Bytes, Option<Identity>)> {
        let reply = self.ask_authority(request).await?;
        let identity = claimed(request).filter(|_| reply.first() != Some(&b'-'));
        match identity {
            Some(identity) => Some((reply, Some(self.known_as(identity).await))),
            None => Some((reply, None)),
        }
    }

    /// The identity that other clients of this user have, if what logged them in still does.
    async fn known_as(&self, identity: Identity) -> Identity {
        let logins = &self.shared.logins;
        match logins.known(identity.user()) {
            Some(known) if known == identity || self.still_logs_in(&known).await => known,
            _ => {
                logins.learn(&identity);
                identity
            }
        }
    }

    async fn still_logs_in(&self, identity: &Identity) -> bool {
        let Some((user, password)) = identity.login() else { return false };
        let words = [Some("AUTH"), user.as_deref(), Some(password.reveal())];
        let reply = self.ask_authority(&Request::new(words.into_iter().flatten())).await;
        reply.is_some_and(|reply| reply.as_ref() == b"+OK\r\n")
    }

    /// Has a request about users answered by whoever knows them.
    async fn ask_authority(&self, request: &Request) -> Option<Bytes> {
        let (authority, identity) = (&self.route.authority, &self.session.context.identity);
        let known = authority.known();
        if known.is_none() || logs_in(request) {
            let source = authority.source();
            let asked = self.ask_server(source, identity.login(), request);
            if let Some(reply) = authority.ask(asked).await {
                return Some(reply);
            }
        }
        match known?.judge(request, identity) {
            Decision::Answer(text) => Some(Bytes::from_static(text.as_bytes())),
            Decision::Ask(request, identity) => {
                let pool = &self.route.pool;
                let context = Context { identity, ..self.session.context.clone() };
                let login = pool.setup(&context, "").login;
                self.ask_server(pool.upstream(), login, &request).await
            }
        }
    }

    /// Sends a request about users to a server, on a connection of its own that is in the state
    /// which the client's would be in.
    async fn ask_server(
        &self,
        server: &Upstream,
        login: Option<(Option<String>, Secret)>,
        request: &Request,
    ) -> Option<Bytes> {
        let mut before = Vec::new();
        if let (Some((user, password)), false) = (login, request.is(0, "AUTH")) {
            let user = user.as_deref().unwrap_or("default");
            before.push(Request::new(["AUTH", user, password.reveal()]));
        }
        if self.session.context.protocol == Protocol::Resp3 && request.len() == 1 {
            before.push(Request::new(["HELLO", "3"]));
        }
        let answer = async {
            let mut wire = Wire::new(crate::server::dial(&server.endpoint).await.ok()?);
            before.iter().chain([request]).for_each(|request| wire.push(request.raw()));
            for _ in &before {
                wire.frame().await.ok()?;
            }
            Some(wire.frame().await.ok()?.raw)
        };
        tokio::time::timeout(server.timeout, answer).await.ok()?
    }
}

/// Who an `AUTH` or a `HELLO` says that the client is.
fn claimed(request: &Request) -> Option<Identity> {
    if request.is(0, "AUTH") {
        return match request.len() {
            2 => identity(None, request.arg(1)),
            _ => identity(request.arg(1), request.arg(2)),
        };
    }
    let mut claimed = None;
    let mut index = 2;
    while index < request.len() {
        let logs_in = request.is(index, "AUTH");
        if logs_in {
            claimed = identity(request.arg(index + 1), request.arg(index + 2));
        }
        index += if logs_in { 3 } else { 2 };
    }
    claimed
}

fn identity(user: Option<&[u8]>, password: Option<&[u8]>) -> Option<Identity> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let user = match user {
        // Named, the default user takes any password where it needs none.
        Some(user) => Some(text(user)?),
        None => None,
    };
    Some(Identity::User(user, Secret::new(text(password?)?)))
}

/// The reply with another number behind `marker`.
pub(super) fn with_integer_behind(reply: &Bytes, marker: &[u8], number: u64) -> Bytes {
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
        assert_eq!(with_integer_behind(&reply, b"$2\r\nid\r\n:", 4).as_ref(), expected);
    }
}
