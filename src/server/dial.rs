//! Connecting and logging in; and, since every connection of ours that lasts is opened again, what has
//! to happen to one that was given up before another writes in its place.

use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::nodes::Node;
use super::{Address, Broken, Endpoint, Place, Secret, Wire};
use crate::net::{self, Stream};
use crate::protocol::resp::{Protocol, Reply, Request};

/// How long connecting and logging in may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that has vanished is noticed after twice this.
const SILENCE: Duration = Duration::from_secs(15);

/// What is said for a server that should take writes and follows another one.
const DEMOTED: &str = "READONLY it is a replica";

/// What a connection is to be before it is used.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The protocol version to speak.
    pub protocol: Protocol,
    /// The database to select.
    pub db: u32,
    /// Whether the URL's user selects it, before the login.
    pub selected_for: bool,
    /// The user to log in as; `None` does not log in.
    pub login: Option<(Option<String>, Secret)>,
    /// The name shown by `CLIENT LIST`, where the endpoint's tag follows it.
    pub name: &'static str,
    /// Leave the eviction clocks of keys alone, where the server can (`CLIENT NO-TOUCH`).
    pub no_touch: bool,
}

impl Setup {
    /// A connection of crossfade's own, as the URL's user.
    pub fn own(endpoint: &Endpoint, db: u32, name: &'static str) -> Self {
        let login = endpoint.password.clone().map(|password| (endpoint.user.clone(), password));
        Self { db, login, name, ..Self::default() }
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("{address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// The system's or TLS's words.
        reason: String,
    },
    /// The server answers, but will not have us: wrong password, no such database.
    #[error("{address}: {reply}")]
    Refused {
        /// Where.
        address: String,
        /// The server's error, code first.
        reply: String,
    },
}

impl ConnectError {
    /// The system's, TLS's or the server's words.
    pub fn reason(&self) -> &str {
        match self {
            Self::Unreachable { reason, .. } => reason,
            Self::Refused { reply, .. } => reply,
        }
    }

    /// Whether it may be otherwise soon: nobody is there, or the server is not ready for anybody.
    pub fn may_pass(&self) -> bool {
        let passing = ["LOADING", "BUSY", "MASTERDOWN", DEMOTED, "ERR max number of clients"];
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { reply, .. } => passing.iter().any(|code| reply.starts_with(code)),
        }
    }
}

impl Endpoint {
    /// A connection that broke before anything came of it is none.
    pub(crate) fn lost(&self, why: &dyn std::fmt::Display) -> ConnectError {
        ConnectError::Unreachable { address: self.address(), reason: why.to_string() }
    }

    /// Connects and logs in.
    pub async fn connect(&self, setup: &Setup) -> Result<Wire, ConnectError> {
        let node = self.serving().await?;
        let connected = self.connect_to(&node, setup).await;
        if connected.as_ref().is_err_and(ConnectError::may_pass) {
            self.doubt_node(&node);
        }
        connected
    }

    pub(super) async fn connect_to(
        &self,
        node: &Node,
        setup: &Setup,
    ) -> Result<Wire, ConnectError> {
        let address = || node.address.to_string();
        let unreachable = |reason: String| ConnectError::Unreachable { address: address(), reason };
        let attempt = async {
            let stream = self.stream(&node.address).await;
            let stream = stream.map_err(|error| unreachable(error.to_string()))?;
            let mut wire = Wire::new(stream, self.tether(node));
            introduce(&mut wire, self.introduction(setup))
                .await
                .map_err(|error| unreachable(error.to_string()))?
                .map_err(|reply| ConnectError::Refused { address: address(), reply })?;
            Ok(wire)
        };
        match timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(result) => result,
            Err(_) => Err(unreachable(format!("no answer for {} s", CONNECT_TIMEOUT.as_secs()))),
        }
    }

    /// What comes of asking this server, unless that takes longer than `patience`.
    ///
    /// # Errors
    /// Those of `asking`, or that there is no answer.
    pub(crate) async fn within<T>(
        &self,
        patience: Duration,
        asking: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let silent = |_| Err(self.lost(&format_args!("no answer for {} s", patience.as_secs())));
        timeout(patience, asking).await.unwrap_or_else(silent)
    }

    /// Connects without saying a word.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn dial(&self) -> Result<Wire, ConnectError> {
        let node = self.serving().await?;
        let stream = self.stream(&node.address).await.map_err(|error| {
            self.doubt_node(&node);
            let (address, reason) = (node.address.to_string(), error.to_string());
            ConnectError::Unreachable { address, reason }
        })?;
        Ok(Wire::new(stream, self.tether(&node)))
    }

    pub(super) async fn stream(&self, address: &Address) -> io::Result<Stream> {
        match address {
            Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
            Address::Tcp(host, port) => {
                let tcp = TcpStream::connect((host.as_str(), *port)).await?;
                net::tune(&tcp, SILENCE)?;
                match &self.tls {
                    None => Ok(Stream::Tcp(tcp)),
                    Some(config) => {
                        let name = self.server_name.as_ref().unwrap_or(host).clone();
                        let name = ServerName::try_from(name).map_err(io::Error::other)?;
                        let tls = TlsConnector::from(config.clone()).connect(name, tcp).await?;
                        Ok(Stream::Tls(Box::new(tls)))
                    }
                }
            }
        }
    }

    /// The requests of the introduction, and what makes the answer to each a refusal of the connection.
    fn introduction(&self, setup: &Setup) -> Vec<(Request, Refusal)> {
        let select = (setup.db != 0).then(|| Request::new(["SELECT", &setup.db.to_string()]));
        let mut requests = Vec::with_capacity(8);
        if setup.selected_for {
            requests
                .extend(Setup::own(self, 0, "").login.iter().map(|login| (auth(login), ANY_ERROR)));
            requests.extend(select.iter().map(|select| (select.clone(), ANY_ERROR)));
        }
        requests.extend(setup.login.iter().map(|login| (auth(login), ANY_ERROR)));
        if setup.protocol == Protocol::Resp3 {
            requests.push((Request::new(["HELLO", "3"]), ANY_ERROR));
        }
        if !setup.name.is_empty() {
            let name = match &self.tag {
                Some(tag) => format!("{}:{tag}", setup.name),
                None => setup.name.to_owned(),
            };
            requests.push((Request::new(["CLIENT", "SETNAME", &name]), NOTHING));
        }
        if setup.no_touch {
            requests.push((Request::new(["CLIENT", "NO-TOUCH", "ON"]), NOTHING));
        }
        if !setup.selected_for {
            requests.extend(select.map(|select| (select, ANY_ERROR)));
        }
        // Without a request above an unauthenticated connection looks fine; a ping tells.
        if setup.login.is_none() && !setup.name.is_empty() {
            requests.push((Request::new(["PING"]), UNWELCOME));
        }
        if matches!(self.place, Place::Sentinels(_)) {
            requests.push((Request::new(["ROLE"]), demoted));
        }
        requests.push((Request::new(["CLIENT", "ID"]), NOTHING));
        requests
    }
}

fn auth((user, password): &(Option<String>, Secret)) -> Request {
    match user {
        Some(user) => Request::new(["AUTH", user, password.reveal()]),
        None => Request::new(["AUTH", password.reveal()]),
    }
}

/// What an answer says against the connection.
type Refusal = fn(&Reply) -> Option<String>;

const NOTHING: Refusal = |_| None;
const ANY_ERROR: Refusal = |reply| match reply {
    Reply::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
    _ => None,
};

/// By the answer to `PING`, which a server that can't save refuses as it does writes: it can be left.
const UNWELCOME: Refusal = |reply| ANY_ERROR(reply).filter(|text| !text.starts_with("MISCONF"));

/// By the answer to `ROLE`; who may not ask it finds out otherwise.
fn demoted(reply: &Reply) -> Option<String> {
    let role = reply.items().and_then(|items| items.first()).and_then(Reply::text)?;
    (role.as_ref() != b"master").then(|| DEMOTED.to_owned())
}

/// Sends the whole introduction at once and reads the answers; the inner error is the server's.
async fn introduce(
    wire: &mut Wire,
    introduction: Vec<(Request, Refusal)>,
) -> Result<Result<(), String>, Broken> {
    for (request, _) in &introduction {
        wire.push(request.raw());
    }
    let mut refusal = None;
    for (_, refuses) in &introduction {
        let reply = Reply::parse(&wire.frame().await?.raw)?;
        // The last question is for the connection's number.
        wire.id = reply.integer();
        refusal = refusal.or_else(|| refuses(&reply));
    }
    Ok(refusal.map_or(Ok(()), Err))
}

/// How soon a lost connection is opened again.
pub(crate) const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// What a server has received on a connection and not executed, it executes within this time.
const DONE_AFTER: Duration = Duration::from_secs(1);

/// What ends a connection that was given up. What the server has received on it, it may still
/// execute: later than what the next connection sends.
pub(crate) fn end_connection(id: i64) -> Request {
    Request::new(["CLIENT", "KILL", "ID", &id.to_string()])
}

/// Waits until the server is done with a connection, given its answer to [`end_connection`], or to
/// the question which connections there are.
pub(crate) async fn ended(reply: &Reply) {
    if reply.is_error() {
        // Not allowed; then time is all that there is.
        sleep(DONE_AFTER).await;
    }
}
