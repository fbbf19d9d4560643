//! The lanes towards one server: three for each context.
//!
//! A client that is served holds the lanes of its context. Those that nobody holds are closed: after a
//! while, sooner when there are many of them, at once when another context needs the room.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::reach::RETRY;
use super::{Lane, ReplyQueue, Upstream};
use crate::protocol::resp::{Protocol, Request};
use crate::server::{Secret, Setup, Wire};

/// How long lanes are kept that nobody holds.
const VACANCY: Duration = Duration::from_secs(60);
/// How many contexts may keep them so long; of more, those that were left first are closed.
const SPARE: usize = 64;
/// But not those that were left, or opened ahead, only just now.
const GRACE: Duration = Duration::from_secs(5);

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// It has not logged in: the default user, where that needs no password.
    #[default]
    Anonymous,
    /// It has, with this name (`None` is the default user) and password.
    User(Option<String>, Secret),
}

impl Identity {
    /// The name, as the server has it.
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::User(Some(user), _) => user,
            Self::Anonymous | Self::User(None, _) => "default",
        }
    }

    /// What logs it in.
    pub(crate) fn login(&self) -> Option<(Option<String>, Secret)> {
        match self {
            Self::Anonymous => None,
            Self::User(user, password) => Some((user.clone(), password.clone())),
        }
    }
}

/// What a connection must be to serve a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    /// Who.
    pub identity: Identity,
    /// In which protocol version.
    pub protocol: Protocol,
    /// In which of the server's databases.
    pub db: u32,
}

/// Why there is no lane for a context.
#[derive(Clone, Debug, Error)]
pub(crate) enum Refusal {
    /// The server's own error reply, code first.
    #[error("{0}")]
    Server(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// Too many contexts have clients.
    #[error(
        "{0} combinations of user, database and protocol version are in use: see --max-contexts"
    )]
    TooMany(usize),
    /// The server has no counterpart of the client's database.
    #[error("database {0} is not migrated")]
    Unmigrated(u32),
}

/// Who the source's default user is on another server.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    /// Who it is there.
    pub identity: Identity,
    /// Whether the source lets clients be the default user without logging in.
    pub for_anonymous: bool,
}

/// What a lane is for. The more clients share one, the more requests share a system call, here and on
/// the server; so there are no more than keep each from waiting behind what takes much longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Writes.
    Write,
    /// Reads whose replies are short.
    Read,
    /// Reads whose replies may be long.
    LongRead,
}

/// The lanes of one context. Whoever holds them keeps them open.
#[derive(Debug)]
pub(crate) struct Lanes {
    context: Context,
    transacts: bool,
    write: Arc<Lane>,
    read: Arc<Lane>,
    long_read: Arc<Lane>,
}

/// All lanes towards one server, opened as they are needed.
#[derive(Debug)]
pub(crate) struct Pool {
    upstream: Arc<Upstream>,
    stand_in: Option<StandIn>,
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lanes: HashMap<Context, Kept>,
    /// Lanes that are not for anybody new, while somebody holds them.
    left: Vec<Weak<Lanes>>,
    /// Contexts whose lanes are being opened, and what came of it.
    opening: HashMap<Context, watch::Receiver<Outcome>>,
    sessions: Vec<Weak<Lane>>,
    held: bool,
}

/// Lanes in the pool.
#[derive(Debug)]
struct Kept {
    lanes: Arc<Lanes>,
    /// When somebody was last seen to hold them.
    held: Instant,
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
        self.inner.lock().find(context)
    }

    /// The lanes, or who opens them: the first to want some. After a flip hundreds of clients want the
    /// same at once.
    fn turn<'a>(&'a self, context: &'a Context) -> Turn<'a> {
        let mut inner = self.inner.lock();
        if let Some(lanes) = inner.find(context) {
            return Turn::There(lanes);
        }
        if let Some(outcome) = inner.opening.get(context) {
            return Turn::Theirs(outcome.clone());
        }
        if inner.lanes.len() + inner.opening.len() >= self.most && !inner.make_room() {
            return Turn::Full;
        }
        let (sender, receiver) = watch::channel(None);
        inner.opening.insert(context.clone(), receiver);
        Turn::Ours(Opening { pool: self, context, outcome: sender })
    }

    /// Closes lanes that nobody has held for a while. To be called now and then.
    pub(crate) fn close_vacant(&self) {
        self.inner.lock().close_vacant(Instant::now());
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
        let lanes = Lanes { context: context.clone(), transacts, write, read, long_read };
        let lanes = Arc::new(lanes);
        inner.lanes.insert(context.clone(), Kept { lanes, held: Instant::now() });
        Ok(())
    }

    /// For whom there are lanes.
    pub(crate) fn contexts(&self) -> Vec<Context> {
        self.inner.lock().lanes.keys().cloned().collect()
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
        let kept = self.lanes.values().map(|kept| kept.lanes.clone());
        let left = self.left.iter().filter_map(Weak::upgrade);
        let shared = kept.chain(left).flat_map(|lanes| lanes.all().map(Arc::clone));
        shared.chain(self.sessions.iter().filter_map(Weak::upgrade))
    }

    /// The lanes of a context, to be held by whoever asks.
    fn find(&mut self, context: &Context) -> Option<Arc<Lanes>> {
        let kept = self.lanes.get_mut(context)?;
        if !kept.lanes.have_ended() {
            kept.held = Instant::now();
            return Some(kept.lanes.clone());
        }
        self.leave(context);
        None
    }

    /// Takes lanes out of the pool; they close when nobody holds them.
    fn leave(&mut self, context: &Context) {
        self.left.retain(|lanes| lanes.strong_count() > 0);
        if let Some(kept) = self.lanes.remove(context) {
            self.left.push(Arc::downgrade(&kept.lanes));
        }
    }

    /// Contexts whose lanes nobody holds or uses, those that were left first in front.
    fn vacant(&self) -> Vec<(Instant, Context)> {
        let vacant = self.lanes.values().filter(|kept| !kept.is_held() && kept.lanes.are_idle());
        let mut vacant: Vec<_> =
            vacant.map(|kept| (kept.held, kept.lanes.context.clone())).collect();
        vacant.sort_by_key(|(held, _)| *held);
        vacant
    }

    /// Closes the lanes that were left first; false when somebody holds each of them.
    fn make_room(&mut self) -> bool {
        let first = self.vacant().into_iter().next();
        first.is_some_and(|(_, context)| self.lanes.remove(&context).is_some())
    }

    fn close_vacant(&mut self, now: Instant) {
        for kept in self.lanes.values_mut().filter(|kept| kept.is_held()) {
            kept.held = now;
        }
        let vacant = self.vacant();
        let surplus = vacant.len().saturating_sub(SPARE);
        for (place, (held, context)) in vacant.into_iter().enumerate() {
            let stay = if place < surplus { GRACE } else { VACANCY };
            if now.duration_since(held) >= stay {
                self.lanes.remove(&context);
            }
        }
    }
}

impl Kept {
    /// Whether anybody but the pool has them; nobody gets them without the pool's lock.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.lanes) > 1
    }
}

impl Lanes {
    /// The lane for a purpose.
    pub(crate) fn pick(&self, purpose: Purpose) -> Arc<Lane> {
        let lane = match purpose {
            Purpose::Write => &self.write,
            Purpose::Read => &self.read,
            Purpose::LongRead => &self.long_read,
        };
        lane.clone()
    }

    /// Whether they are for clients in this context, and the server has them.
    pub(crate) fn serve(&self, context: &Context) -> bool {
        self.context == *context && !self.have_ended()
    }

    /// Whether the user may use transactions.
    pub(crate) fn may_transact(&self) -> bool {
        self.transacts
    }

    fn all(&self) -> [&Arc<Lane>; 3] {
        [&self.write, &self.read, &self.long_read]
    }

    fn have_ended(&self) -> bool {
        self.all().iter().any(|lane| lane.has_ended())
    }

    fn are_idle(&self) -> bool {
        self.all().iter().all(|lane| lane.is_idle())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Job, Sink};

    fn context(db: u32) -> Context {
        Context { db, ..Context::default() }
    }

    /// Lanes for so many databases, that of the first opened first.
    fn opened(databases: u32, now: Instant) -> Inner {
        let mut inner = Inner::default();
        for db in 0..databases {
            let [write, read, long_read] = [(); 3].map(|()| Lane::to_nowhere());
            let lanes = Lanes { context: context(db), transacts: true, write, read, long_read };
            let lanes = Arc::new(lanes);
            let held = now + Duration::from_millis(db.into());
            inner.lanes.insert(context(db), Kept { lanes, held });
        }
        inner
    }

    #[tokio::test]
    async fn lanes_that_nobody_holds_are_closed_after_a_while() {
        let now = Instant::now();
        let mut inner = opened(3, now);
        let held = inner.find(&context(1)).unwrap();
        let used = inner.find(&context(2)).unwrap();
        let (sender, _waiting) = tokio::sync::oneshot::channel();
        let job = Job::read(Request::new(["GET", "a"]), Sink::Task(sender));
        assert!(used.pick(Purpose::Write).submit(&mut vec![job]));
        drop(used);
        inner.close_vacant(now + VACANCY / 2);
        assert_eq!(inner.lanes.len(), 3);
        inner.close_vacant(now + VACANCY * 2);
        let mut left: Vec<u32> = inner.lanes.keys().map(|context| context.db).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 2], "one is held, one has a job in flight");
        drop(held);
        inner.close_vacant(now + VACANCY * 2 + VACANCY / 2);
        assert!(inner.lanes.contains_key(&context(1)), "it was left only just now");
        inner.close_vacant(now + VACANCY * 4);
        assert!(!inner.lanes.contains_key(&context(1)));
    }

    #[tokio::test]
    async fn of_many_that_nobody_holds_those_left_first_are_closed_earlier() {
        let now = Instant::now();
        let mut inner = opened(SPARE as u32 + 10, now);
        inner.close_vacant(now + Duration::from_secs(1));
        assert_eq!(inner.lanes.len(), SPARE + 10, "clients may be on their way");
        inner.close_vacant(now + GRACE * 2);
        assert_eq!(inner.lanes.len(), SPARE);
        assert!(inner.lanes.keys().all(|context| context.db >= 10));
        assert!(inner.make_room() && !inner.lanes.contains_key(&context(10)));
    }

    #[tokio::test]
    async fn there_is_no_room_where_everybody_is_held() {
        let mut inner = opened(2, Instant::now());
        let _held = [inner.find(&context(0)), inner.find(&context(1))];
        assert!(!inner.make_room());
    }
}
