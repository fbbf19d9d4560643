//! All lanes towards one server, opened as they are needed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::lanes::KeptLanes;
use super::reach::RETRY;
use super::{Context, Identity, Lane, Lanes, Purpose, Refusal, ReplyQueue, StandIn, Upstream};
use crate::protocol::resp::Request;
use crate::server::{Setup, Wire};

/// The lanes to one server, and who may have some.
#[derive(Debug)]
pub(crate) struct Pool {
    upstream: Arc<Upstream>,
    stand_in: Option<StandIn>,
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lanes: KeptLanes,
    /// Contexts whose lanes are being opened, and what came of it.
    opening: HashMap<Context, watch::Receiver<Outcome>>,
    /// Connections of clients' own.
    sessions: Vec<Weak<Lane>>,
    held: bool,
}

/// `None` until it is known.
type Outcome = Option<Result<(), Refusal>>;

/// Whose turn it is to open the lanes of a context.
enum Turn<'a> {
    There(Arc<Lanes>),
    Full,
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
    /// A pool without lanes, for `most` contexts. `stand_in` is who the default user is here, when
    /// this is not the server that knows the clients.
    pub(crate) fn new(upstream: Arc<Upstream>, stand_in: Option<StandIn>, most: usize) -> Self {
        Self { upstream, stand_in, most, inner: Mutex::default() }
    }

    /// The server behind.
    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The lane of a context for a purpose.
    ///
    /// # Errors
    /// As [`Self::lanes`].
    pub(crate) async fn lane(
        &self,
        context: &Context,
        purpose: Purpose,
    ) -> Result<Arc<Lane>, Refusal> {
        Ok(self.lanes(context).await?.pick(purpose))
    }

    /// The lanes for a context.
    ///
    /// # Errors
    /// The server refuses the context or can't be reached in time; there are too many.
    pub(crate) async fn lanes(&self, context: &Context) -> Result<Arc<Lanes>, Refusal> {
        loop {
            match self.turn(context) {
                Turn::There(lanes) => return Ok(lanes),
                Turn::Full => return Err(Refusal::TooMany(self.most)),
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

    /// The lanes for a context, if they are open.
    pub(crate) fn open_lanes(&self, context: &Context) -> Option<Arc<Lanes>> {
        self.inner.lock().lanes.find(context)
    }

    /// The lanes, or who opens them: the first to want some. After a flip hundreds of clients want the
    /// same at once.
    fn turn<'a>(&'a self, context: &'a Context) -> Turn<'a> {
        let mut inner = self.inner.lock();
        if let Some(lanes) = inner.lanes.find(context) {
            return Turn::There(lanes);
        }
        if let Some(outcome) = inner.opening.get(context) {
            return Turn::Theirs(outcome.clone());
        }
        if inner.lanes.len() + inner.opening.len() >= self.most && !inner.lanes.make_room() {
            return Turn::Full;
        }
        let (sender, receiver) = watch::channel(None);
        inner.opening.insert(context.clone(), receiver);
        Turn::Ours(Opening { pool: self, context, outcome: sender })
    }

    /// Closes lanes that nobody has held for a while. To be called now and then.
    pub(crate) fn close_vacant(&self) {
        self.inner.lock().lanes.close_vacant(Instant::now());
    }

    async fn open(&self, context: &Context) -> Result<(), Refusal> {
        self.admit(context)?;
        let mut setup = self.setup(context, "crossfade-lane");
        let mut write = self.connect(&mut setup).await?;
        let read = self.connect(&mut setup).await?;
        let long_read = self.connect(&mut setup).await?;
        let transacts = may_transact(&mut write).await;
        let mut inner = self.inner.lock();
        let held = inner.held;
        let [write, read, long_read] = [write, read, long_read].map(|wire| {
            let lane = Lane::shared(&self.upstream, setup.clone(), wire);
            lane.hold(held);
            lane
        });
        inner.lanes.keep(Lanes { context: context.clone(), transacts, write, read, long_read });
        Ok(())
    }

    /// For whom there are lanes.
    pub(crate) fn contexts(&self) -> Vec<Context> {
        self.inner.lock().lanes.contexts()
    }

    /// A connection of a client's own, with the same rights.
    ///
    /// # Errors
    /// As [`Self::lane`].
    pub(crate) async fn session(
        &self,
        context: &Context,
        client: Arc<ReplyQueue>,
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
    pub(crate) fn setup(&self, context: &Context, name: &'static str) -> Setup {
        let identity = match (&context.identity, &self.stand_in) {
            (identity, Some(stand_in)) if identity.user() == "default" => &stand_in.identity,
            (identity, _) => identity,
        };
        let login = identity.login();
        Setup { protocol: context.protocol, db: context.db, login, name, ..Setup::default() }
    }

    /// Connects, waiting for a server that is away. A user who may not `SELECT` can be in a database
    /// all the same: it was there before it logged in, or its own has another number here.
    async fn connect(&self, setup: &mut Setup) -> Result<Wire, Refusal> {
        let started = Instant::now();
        let mut refused = None;
        loop {
            match self.upstream.connect(setup).await {
                Ok(wire) => return Ok(wire),
                Err(error)
                    if setup.db != 0
                        && !setup.selected_for
                        && error.reason().starts_with("NOPERM") =>
                {
                    setup.selected_for = true;
                    refused = Some(error.reason().to_owned());
                }
                Err(error) if !error.may_pass() => {
                    let reply = refused.unwrap_or_else(|| error.reason().to_owned());
                    return Err(Refusal::Server(reply));
                }
                Err(error) if started.elapsed() >= self.upstream.timeout => {
                    let name = self.upstream.name;
                    let reason = format!("the {name} is unreachable: {error}");
                    return Err(Refusal::Unreachable(reason));
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    /// Takes no more jobs on any lane, or takes them again.
    pub(crate) fn hold(&self, held: bool) {
        let mut inner = self.inner.lock();
        inner.held = held;
        for lane in inner.all() {
            lane.hold(held);
        }
    }

    /// Whether every job on every lane has been answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.inner.lock().all().all(|lane| lane.is_idle())
    }
}

impl Inner {
    fn all(&self) -> impl Iterator<Item = Arc<Lane>> + '_ {
        self.lanes.all().chain(self.sessions.iter().filter_map(Weak::upgrade))
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
