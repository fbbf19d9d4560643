//! Who a client is: `AUTH` and `HELLO`, decided by whoever knows the users.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::authority::{Decision, logs_in};
use super::client::{Client, Close};
use super::connection::with_id;
use crate::lane::{Context, Identity, Purpose, Upstream};
use crate::protocol::resp::{Protocol, Request};
use crate::server::Secret;

/// Neither the source nor whoever stands in for it has answered.
const NOBODY_ASKED: &str = "ERR crossfade: no server can be asked for this user";

/// What logs each user in, as far as it has been seen: a user may have several passwords, or take any,
/// and lanes are opened for users. As many as there are users.
#[derive(Debug, Default)]
pub(crate) struct Logins(Mutex<HashMap<String, Identity>>);

impl Logins {
    /// The identity that clients of this user have.
    pub(super) fn known(&self, user: &str) -> Option<Identity> {
        self.0.lock().get(user).cloned()
    }

    /// From now on they have this one.
    pub(super) fn learn(&self, identity: &Identity) {
        self.0.lock().insert(identity.user().to_owned(), identity.clone());
    }
}

impl Client {
    pub(super) async fn auth(&mut self, request: Request) -> Result<(), Close> {
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

    pub(super) async fn hello(&mut self, request: Request) -> Result<(), Close> {
        let Some((reply, identity)) = self.decide(&request).await else {
            self.error(NOBODY_ASKED);
            return Ok(());
        };
        if reply.first() == Some(&b'-') {
            self.reply(|out| out.extend_from_slice(&reply));
            return Ok(());
        }
        self.session.on_answer(&request, &reply);
        let version = if self.session.context.protocol == Protocol::Resp3 { "3" } else { "2" };
        let hello = Request::new(["HELLO", version]);
        if identity.is_some_and(|identity| self.session.log_in(identity)) {
            self.reopen().await?;
        } else {
            self.show_identity();
            self.forget_lane();
            self.tell_own(&hello).await?;
        }
        // What the primary says of itself in the client's protocol version, with the client's own ID.
        let greeting = self.try_to_ask(Purpose::Read, |_| hello.clone()).await?;
        let greeting =
            greeting.map_or(reply, |text| with_id(&text, b"$2\r\nid\r\n:", self.entry.id));
        self.reply(|out| out.extend_from_slice(&greeting));
        Ok(())
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
            let asked = self.ask_as(source, identity.login(), request);
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
                self.ask_as(pool.upstream(), login, &request).await
            }
        }
    }

    /// Asks a server on a connection that is in the state which the client's would be in.
    pub(super) async fn ask_as(
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
        server.ask_behind(&before, request).await
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
