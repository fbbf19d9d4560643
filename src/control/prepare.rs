//! What a flip needs and takes time to get, while clients go on.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::intent_file::Beginning;
use super::migration::{Event, Migration};
use super::users::learn_default;
use crate::admin::Refusal;
use crate::lane::{Context, Purpose};
use crate::pipeline::{Direction, Environment, Survey, connect_to_zero};
use crate::protocol::reserved_keys::MARKER;
use crate::protocol::resp::{Reply, Request};
use crate::proxy::{Registry, Route};
use crate::server::Connection;
use crate::status::Side;

/// How long lanes and subscribers' channels may take to be opened on the next primary.
const OPENS_WITHIN: Duration = Duration::from_secs(1);
/// For so many users and databases lanes are opened at once.
const TOGETHER: usize = 32;
/// The way to the servers is measured so often.
const PINGS: u32 = 3;
/// What a server's errors start with that refuses every write.
const REFUSES_ALL: [&[u8]; 3] = [b"MISCONF", b"NOREPLICAS", b"READONLY"];

/// What it has got.
pub(super) struct Ready {
    /// To the database of the source that bears the marker.
    pub(super) marker: Connection,
    /// To both servers, one after the other.
    pub(super) round_trip: Duration,
}

/// Builds the direction that `to` will serve, with its lanes and channels open.
pub(super) async fn prepare(
    migration: &Migration,
    old: &Direction,
    to: Side,
    beginning: &Beginning,
) -> Result<Ready, Refusal> {
    let env = &migration.env;
    if to == Side::Target {
        // When clients want to log in there may be no source any more.
        learn_default(migration).await;
    }
    let survey = Survey::make(env.endpoint(to), env.endpoint(to.other()));
    let survey = survey.await.map_err(Refusal::because)?;
    takes_writes(env, to).await?;
    let new = Direction::new(env, to, survey, beginning.doubtful().others(), true);
    new.listen_as(old, env);
    migration.on(Event::Prepared(new.clone()))?;
    let soon = Instant::now() + OPENS_WITHIN;
    if timeout_at(soon, open_lanes(old, &new)).await.is_err() {
        warn!("some lanes could not be opened before the flip");
    }
    if timeout_at(soon, until_subscribed(migration, &new)).await.is_err() {
        warn!("some subscribers could not open their channels before the flip");
    }
    let marker = connect_to_zero(env.endpoint(Side::Source)).await.map_err(Refusal::because)?;
    Ok(Ready { marker, round_trip: round_trip(env).await })
}

/// A server that takes no write serves nobody, so that not even an operator who insists gets there.
/// Asked with a command that counts as a write, and writes nothing. One that is only full takes some.
async fn takes_writes(env: &Environment, to: Side) -> Result<(), Refusal> {
    let question = Request::new([b"SORT".as_ref(), MARKER]);
    let replies = env.ask(to, &[question]).await;
    let Some(Reply::Error(error)) = replies.as_ref().and_then(|replies| replies.first()) else {
        return Ok(());
    };
    if REFUSES_ALL.iter().any(|code| error.starts_with(code)) {
        let error = String::from_utf8_lossy(error);
        return Err(Refusal::because(format!("the {to} refuses writes: {error}")));
    }
    Ok(())
}

async fn until_subscribed(migration: &Migration, new: &Direction) {
    let all = || migration.registry().map_or(0, Registry::subscribers);
    while new.offer.ready() < all() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// The least of some times that a question to both servers takes; 0 when one does not answer.
async fn round_trip(env: &Environment) -> Duration {
    let ping = [Request::new(["PING"])];
    let mut least = Duration::MAX;
    for _ in 0..PINGS {
        let since = Instant::now();
        for side in [Side::Source, Side::Target] {
            if env.ask(side, &ping).await.is_none() {
                return Duration::ZERO;
            }
        }
        least = least.min(since.elapsed());
    }
    least
}

/// Opens lanes on the next primary for everyone who has some on this one: no client that was held
/// waits for them too.
async fn open_lanes(old: &Direction, new: &Direction) {
    let back = old.route.databases.reversed();
    let there = |context: Context| {
        let db = new.route.databases.to(back.to(context.db)?)?;
        Some(Context { db, ..context })
    };
    let contexts: Vec<_> = old.route.pool.contexts().into_iter().filter_map(there).collect();
    for some in contexts.chunks(TOGETHER) {
        let mut opening = JoinSet::new();
        for context in some.iter().cloned() {
            opening.spawn(open_lane(new.route.clone(), context));
        }
        opening.join_all().await;
    }
}

async fn open_lane(route: Arc<Route>, context: Context) {
    if let Err(refusal) = route.pool.lane(&context, Purpose::Write).await {
        let (user, db) = (context.identity.user(), context.db);
        warn!(user, db, %refusal, "clients of this user will be refused by the next primary");
    }
}
