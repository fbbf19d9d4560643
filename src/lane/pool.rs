//! The lanes towards one server: one write lane and a few read lanes for each context.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Lane, Mailbox, Upstream};
use crate::backend::{ConnectError, Secret, Setup, Wire};
use crate::resp::{Protocol, Request};

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Identity {
    /// It has not logged in: the default user, where that needs no password.
    #[default]
    Anonymous,
    /// It has, with this name (`None` is the default user) and password.
    User(Option<String>, Secret),
}

impl Identity {
    /// The name, as the server has it.
    pub fn user(&self) -> &str {
        match self {
            Self::User(Some(user), _) => user,
            Self::Anonymous | Self::User(None, _) => "default",
        }
    }
}

/// What a connection must be to serve a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context {
    /// Who.
    pub identity: Identity,
    /// In which protocol version.
    pub protocol: Protocol,
    /// In which of the server's databases.
    pub db: u32,
}

/// Why there is no lane for a context.
#[derive(Clone, Debug, Error)]
pub enum Refusal {
    /// The server's own error reply, code first.
    #[error("{0}")]
    Server(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
}

/// Who the source's default user is on another server.
#[derive(Clone, Debug)]
pub struct StandIn {
    /// Who it is there.
    pub identity: Identity,
    /// Whether the source lets clients be the default user without logging in.
    pub for_anonymous: bool,
}

/// The lanes of one context.
#[derive(Clone, Debug)]
struct Lanes {
    /// Whether the user may use transactions.
    transacts: bool,
    write: Arc<Lane>,
    reads: Vec<Arc<Lane>>,
}

/// All lanes towards one server, opened as they are needed.
#[derive(Debug)]
pub struct Pool {
    upstream: Arc<Upstream>,
    stand_in: Option<StandIn>,
    read_lanes: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lanes: HashMap<Context, Lanes>,
    /// Contexts whose lanes are being opened, and what came of it.
    opening: HashMap<Context, watch::Receiver<Outcome>>,
    sessions: Vec<Weak<Lane>>,
    held: bool,
}

/// `None` until it is known.
type Outcome = Option<Result<(), Refusal>>;

/// Whose turn it is to open the lanes of a context.
enum Turn<'a> {
    There(Arc<Lane>),
    Ours(Opening<'a>),
    Theirs(watch::Receiver<Outcome>),
}

/// Lanes being opened; when it ends, however it does, the next to want them may try.
struct Opening<'a> {
    pool: &'a Pool,
    context: &'a Context,
    outcome: watch::Sender<Outcome>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.pool.inner.lock().opening.remove(self.context);
    }
}

impl Pool {
    /// A pool without lanes. `stand_in` is who the default user is here, when this is not the
    /// server that knows the clients.
    pub fn new(upstream: Arc<Upstream>, stand_in: Option<StandIn>, read_lanes: usize) -> Self {
        Self { upstream, stand_in, read_lanes, inner: Mutex::default() }
    }

    /// The server behind.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The lane for a context: the one for writes, or one for reads chosen by `spread`.
    ///
    /// # Errors
    /// The server refuses the context or can't be reached in time.
    pub async fn lane(&self, context: &Context, read: Option<usize>) -> Result<Arc<Lane>, Refusal> {
        loop {
            match self.turn(context, read) {
                Turn::There(lane) => return Ok(lane),
                Turn::Ours(opening) => {
                    let opened = self.open(context).await;
                    let _ = opening.outcome.send(Some(opened.clone()));
                    opened?;
                }
                Turn::Theirs(mut outcome) => {
                    // When whoever opens is gone without one, somebody else does.
                    if let Ok(opened) = outcome.wait_for(Option::is_some).await {
                        opened.clone().transpose()?;
                    }
                }
            }
        }
    }

    /// The lane, or who opens the lanes of its context: the first to want one. After a flip hundreds of clients
    /// want the same at once.
    fn turn<'a>(&'a self, context: &'a Context, read: Option<usize>) -> Turn<'a> {
        let mut inner = self.inner.lock();
        if let Some(lanes) = inner.lanes.get(context) {
            return Turn::There(lanes.pick(read));
        }
        if let Some(outcome) = inner.opening.get(context) {
            return Turn::Theirs(outcome.clone());
        }
        let (sender, receiver) = watch::channel(None);
        inner.opening.insert(context.clone(), receiver);
        Turn::Ours(Opening { pool: self, context, outcome: sender })
    }

    async fn open(&self, context: &Context) -> Result<(), Refusal> {
        self.admit(context)?;
        let mut setup = self.setup(context, "crossfade-lane");
        let mut wires = Vec::with_capacity(1 + self.read_lanes);
        for _ in 0..=self.read_lanes {
            wires.push(self.connect(&mut setup).await?);
        }
        let transacts = match wires.first_mut() {
            Some(wire) => may_transact(wire).await,
            None => false,
        };
        let mut inner = self.inner.lock();
        let held = inner.held;
        let mut lanes = wires.into_iter().map(|wire| {
            let lane = Lane::shared(&self.upstream, setup.clone(), wire);
            lane.hold(held);
            lane
        });
        // The loop above made at least one wire.
        let write = lanes.next().unwrap_or_else(|| unreachable!());
        let lanes = Lanes { transacts, write, reads: lanes.collect() };
        inner.lanes.insert(context.clone(), lanes);
        Ok(())
    }

    /// For whom there are lanes.
    pub fn contexts(&self) -> Vec<Context> {
        self.inner.lock().lanes.keys().cloned().collect()
    }

    /// Whether the user of a context that has lanes may use transactions.
    pub fn may_transact(&self, context: &Context) -> bool {
        self.inner.lock().lanes.get(context).is_some_and(|lanes| lanes.transacts)
    }

    /// A connection of a client's own, with the same rights.
    ///
    /// # Errors
    /// As [`Self::lane`].
    pub async fn session(
        &self,
        context: &Context,
        client: Arc<Mailbox>,
    ) -> Result<Arc<Lane>, Refusal> {
        self.admit(context)?;
        let mut setup = self.setup(context, "crossfade-session");
        let wire = self.connect(&mut setup).await?;
        let lane = Arc::new(Lane::session(&self.upstream, wire, client));
        let mut inner = self.inner.lock();
        lane.hold(inner.held);
        inner.sessions.retain(|session| session.strong_count() > 0);
        inner.sessions.push(Arc::downgrade(&lane));
        Ok(lane)
    }

    /// A server that does not know the clients must not let in whom the one that does would not.
    fn admit(&self, context: &Context) -> Result<(), Refusal> {
        let closed = self.stand_in.as_ref().is_some_and(|stand_in| !stand_in.for_anonymous);
        if closed && context.identity == Identity::Anonymous {
            return Err(Refusal::Server("NOAUTH Authentication required.".to_owned()));
        }
        Ok(())
    }

    /// How to connect for a context.
    pub fn setup(&self, context: &Context, name: &'static str) -> Setup {
        let identity = match (&context.identity, &self.stand_in) {
            (identity, Some(stand_in)) if identity.user() == "default" => &stand_in.identity,
            (identity, _) => identity,
        };
        let login = match identity {
            Identity::Anonymous => None,
            Identity::User(user, password) => Some((user.clone(), password.clone())),
        };
        Setup { protocol: context.protocol, db: context.db, login, name, ..Setup::default() }
    }

    /// Connects, waiting for a server that is away. A user who may not `SELECT` can be in a database
    /// all the same: it was there before it logged in, or its own has another number here.
    async fn connect(&self, setup: &mut Setup) -> Result<Wire, Refusal> {
        let started = Instant::now();
        let mut refused = None;
        loop {
            match self.upstream.endpoint.connect(setup).await {
                Ok(wire) => return Ok(wire),
                Err(ConnectError::Refused { reply, .. })
                    if reply.starts_with("NOPERM") && setup.db != 0 && !setup.selected_for =>
                {
                    setup.selected_for = true;
                    refused = Some(reply);
                }
                Err(ConnectError::Refused { reply, .. }) if !reply.starts_with("LOADING") => {
                    return Err(Refusal::Server(refused.unwrap_or(reply)));
                }
                Err(error) if started.elapsed() >= self.upstream.timeout => {
                    let name = self.upstream.name;
                    let reason = format!("the {name} is unreachable: {error}");
                    return Err(Refusal::Unreachable(reason));
                }
                Err(_) => sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }

    /// Takes no more jobs on any lane, or takes them again.
    pub fn hold(&self, held: bool) {
        let mut inner = self.inner.lock();
        inner.held = held;
        for lane in inner.all() {
            lane.hold(held);
        }
    }

    /// Whether every job on every lane has been answered.
    pub fn is_idle(&self) -> bool {
        self.inner.lock().all().all(|lane| lane.is_idle())
    }
}

impl Inner {
    fn all(&self) -> impl Iterator<Item = Arc<Lane>> + '_ {
        let shared = self.lanes.values().flat_map(|lanes| {
            std::iter::once(lanes.write.clone()).chain(lanes.reads.iter().cloned())
        });
        shared.chain(self.sessions.iter().filter_map(Weak::upgrade))
    }
}

impl Lanes {
    fn pick(&self, read: Option<usize>) -> Arc<Lane> {
        read.and_then(|spread| self.reads.get(spread % self.reads.len().max(1)))
            .unwrap_or(&self.write)
            .clone()
    }
}

/// Tries an empty transaction.
async fn may_transact(wire: &mut Wire) -> bool {
    for name in ["MULTI", "EXEC"] {
        wire.push(Request::new([name]).raw());
    }
    let (multi, exec) = (wire.frame().await, wire.frame().await);
    [multi, exec].iter().all(|reply| reply.as_ref().is_ok_and(|frame| !frame.is_error()))
}
