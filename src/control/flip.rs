//! The flip: clients move from one server to the other, and the mirror turns round.
//!
//! Clients are held only when what is left to drain is known to fit: while they go on, a moment is
//! waited for at which no big key is dirty and the secondary answers quickly. A hold that does not drain
//! in a few milliseconds after all is let go, and tried again until the flip's time is over.
//!
//! Up to the moment when the new phase is durable, a failure means that everything goes on as it
//! was (the [`Attempt`] and its [`Hold`] see to it when they are dropped); from then on the new
//! primary serves, and what they say then is too late. The steps are the [phase](super::phase)'s.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, info, warn};

use super::calm::{Bound, Calm, Late, Left};
use super::course::Event;
use super::direction::Direction;
use super::foreign::Foreign;
use super::marker::{connect_to_zero, mark};
use super::migration::Migration;
use super::passes::Beginning;
use super::survey::Survey;
use crate::admin::{Flipped, Refusal};
use crate::engine::Engine;
use crate::lane::{Context, Purpose};
use crate::protocol::resp::Request;
use crate::proxy::Route;
use crate::server::Connection;
use crate::status::Side;

/// How long lanes and subscribers' channels may take to be opened on the next primary.
const PATIENCE: Duration = Duration::from_secs(1);
/// For so many users and databases lanes are opened at once.
const TOGETHER: usize = 32;
/// The way to the servers is measured so often.
const PINGS: u32 = 3;
/// How long a hold may wait for subscribers that hear of keys.
const CUT: Duration = Duration::from_millis(50);
/// After a hold in vain clients go on for so many times as long as it was.
const REST: u32 = 5;
/// How often a wait looks whether it is over.
const LOOK: Duration = Duration::from_micros(200);

/// What a flip is to do.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) to: Side,
    /// How long it may take, in attempts that hold clients for a moment each.
    pub(super) timeout: Duration,
    /// What the next secondary holds already.
    pub(super) beginning: Beginning,
    /// Whether what is only about certainty is passed over.
    pub(super) force: bool,
}

/// What a flip needs and takes time to get.
struct Ready {
    /// To the database of the source that bears the marker.
    marker: Connection,
    /// To both servers, one after the other.
    round_trip: Duration,
}

/// A flip that was let in; dropped before it is committed, everything is as it was.
pub(super) struct Attempt<'a> {
    pub(super) migration: &'a Migration,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let _ = self.migration.on(Event::Abandoned);
    }
}

/// New commands wait as long as this lives; dropped before the flip is committed, they go on where
/// they were.
struct Hold<'a> {
    migration: &'a Migration,
    since: Instant,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let _ = self.migration.on(Event::Released);
    }
}

impl Migration {
    /// Hands the clients to the other side.
    pub(super) async fn flip(
        &self,
        wish: &Wish,
        _attempt: Attempt<'_>,
    ) -> Result<Flipped, Refusal> {
        let Wish { to, timeout, beginning, .. } = wish;
        let deadline = Instant::now() + *timeout;
        let old = self.direction();
        let new = self.ready(&old, *to, deadline, beginning).await?;
        self.on(Event::Draining)?;
        let calm = Calm::new(self.world.config.max_hold, new.round_trip);
        let hold = self.hold_drained(&old, calm, deadline).await?;
        self.part_events().await;
        self.last_look(&old, wish, deadline).await?;
        self.commit(wish, new.marker).await?;
        let held = hold.since.elapsed();
        info!(to = to.name(), hold_ms = held.as_millis() as u64, "clients have moved");
        self.metrics.cutover_hold.set(held.as_secs_f64());
        Ok(Flipped { phase: self.phase(), hold: held })
    }

    /// Waits for the secondary, which may have been left only a moment ago, and prepares.
    async fn ready(
        &self,
        old: &Direction,
        to: Side,
        deadline: Instant,
        beginning: &Beginning,
    ) -> Result<Ready, Refusal> {
        let prepared = async {
            old.peer.connected().await;
            self.prepare(old, to, beginning).await
        };
        let error = format!("the {to} did not answer in time");
        timeout_at(deadline, prepared).await.unwrap_or(Err(Refusal::TimedOut { error }))
    }

    /// Everything that takes time and needs no hold.
    async fn prepare(
        &self,
        old: &Direction,
        to: Side,
        beginning: &Beginning,
    ) -> Result<Ready, Refusal> {
        let world = &self.world;
        if to == Side::Target {
            // When clients want to log in there may be no source any more.
            self.learn_default_user().await;
        }
        let survey = Survey::make(world.endpoint(to), world.endpoint(to.other()))
            .await
            .map_err(|error| conflict(&error))?;
        let new = Direction::new(world, to, survey, beginning.doubtful().others(), true);
        new.listen_as(old, world);
        let next = new.offer.clone();
        self.on(Event::Prepared(new.clone()))?;
        let patience = Instant::now() + PATIENCE;
        if timeout_at(patience, open_lanes(old, &new)).await.is_err() {
            warn!("some lanes could not be opened before the flip");
        }
        while self.registry().is_some_and(|registry| next.ready() < registry.subscribers()) {
            if Instant::now() > patience {
                warn!("some subscribers could not open their channels before the flip");
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        let source = world.endpoint(Side::Source);
        let marker = connect_to_zero(source).await.map_err(|error| conflict(&error))?;
        Ok(Ready { marker, round_trip: self.round_trip().await })
    }

    /// The least of some times that a question to both servers takes; 0 when one does not answer.
    async fn round_trip(&self) -> Duration {
        let ping = [Request::new(["PING"])];
        let mut least = Duration::MAX;
        for _ in 0..PINGS {
            let since = Instant::now();
            for side in [Side::Source, Side::Target] {
                if self.ask_side(side, &ping).await.is_none() {
                    return Duration::ZERO;
                }
            }
            least = least.min(since.elapsed());
        }
        least
    }

    /// Holds the clients once everything is drained, in as many attempts as the time allows.
    async fn hold_drained<'a>(
        &'a self,
        old: &'a Direction,
        mut calm: Calm,
        deadline: Instant,
    ) -> Result<Hold<'a>, Refusal> {
        loop {
            let bound = self.wait_for_calm(old, &mut calm, deadline).await?;
            let hold = self.hold()?;
            let Some(late) = self.drain(old, bound, deadline).await? else {
                return Ok(hold);
            };
            let held = hold.since.elapsed();
            drop(hold);
            let held_ms = held.as_millis() as u64;
            debug!(held_ms, ?late, "the mirror did not drain, clients go on");
            calm.was_in_vain(late);
            sleep_until(deadline.min(Instant::now() + REST * held)).await;
        }
    }

    /// Fails when keys are being copied again that the next primary must have.
    fn fail_if_replaced(&self) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        self.notice(&mut inner);
        Ok(inner.standing.may_go_on()?)
    }

    /// Waits, while clients go on, until what is left to drain is known to fit into a hold.
    async fn wait_for_calm(
        &self,
        old: &Direction,
        calm: &mut Calm,
        deadline: Instant,
    ) -> Result<Bound, Refusal> {
        loop {
            self.fail_if_replaced()?;
            if Instant::now() >= deadline {
                return Err(undrained(old));
            }
            if let Some(bound) = calm.look(Left::of(old)) {
                return Ok(bound);
            }
            sleep(LOOK).await;
        }
    }

    fn hold(&self) -> Result<Hold<'_>, Refusal> {
        let since = Instant::now();
        self.on(Event::Held)?;
        Ok(Hold { migration: self, since })
    }

    /// Waits until everything in flight is answered and the secondary has got all of it; what took
    /// longer than it may.
    async fn drain(
        &self,
        old: &Direction,
        bound: Bound,
        deadline: Instant,
    ) -> Result<Option<Late>, Refusal> {
        let since = Instant::now();
        loop {
            self.fail_if_replaced()?;
            if old.route.pool.is_idle() && old.engine.look(Engine::is_drained) {
                return Ok(None);
            }
            let dirty = old.engine.look(Engine::dirty_keys) > 0;
            if !bound.allows(since.elapsed(), dirty) || Instant::now() >= deadline {
                return Ok(Some(if dirty { Late::Copies } else { Late::UnderWay }));
            }
            old.engine.hurry();
            sleep(LOOK).await;
        }
    }

    /// Whoever hears of keys hears of mirrored writes too: what was told up to now is parted from what
    /// comes. Without it some events are told twice, and none is lost.
    async fn part_events(&self) {
        let Some(next) = self.stage.borrow().next.clone() else { return };
        if !next.begin_cut() {
            return;
        }
        self.stage.send_modify(|_| {});
        let patience = Instant::now() + CUT;
        while !next.is_cut() {
            if Instant::now() > patience {
                warn!("some subscribers will hear events of keys twice");
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Looks once more while nothing is on its way: since the last look one of the servers may have
    /// been replaced, or somebody has written round the proxy.
    async fn last_look(
        &self,
        old: &Direction,
        wish: &Wish,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let upstream = old.route.pool.upstream();
        let looks = async {
            tokio::join!(
                upstream.recognize(),
                self.recognize_secondary(old),
                self.count_calls(old, true)
            )
        };
        let error = "the servers did not answer in time".to_owned();
        timeout_at(deadline, looks).await.map_err(|_| Refusal::TimedOut { error })?;
        self.fail_if_replaced()?;
        let foreign = self.inner.lock().foreign.as_ref().map(Foreign::describe);
        match foreign {
            Some(foreign) if wish.to == Side::Target && !wish.force => Err(conflict(&foreign)),
            _ => Ok(()),
        }
    }

    /// The point of no return: the marker is set or removed, and the phase is durable.
    async fn commit(&self, wish: &Wish, mut marker: Connection) -> Result<(), Refusal> {
        let _only_one = self.marking.lock().await;
        let is_cut_over = wish.to == Side::Target;
        let mut marked = mark(&mut marker, is_cut_over).await;
        if marked.is_err() {
            // The connection was opened some time ago.
            let source = self.world.endpoint(Side::Source);
            marker = connect_to_zero(source).await.map_err(|error| conflict(&error))?;
            marked = mark(&mut marker, is_cut_over).await;
        }
        match marked.map_err(|error| conflict(&error))? {
            // The next start finds the phase without it.
            Err(error) if wish.force && self.store.is_some() => {
                warn!(error, "the source bears no marker of the cut-over: it refuses it");
            }
            Err(error) => {
                let what = "the source refuses the marker of a cut-over, or its removal";
                return Err(conflict(&format!("{what}: {error}")));
            }
            Ok(()) => {}
        }
        if let Err(refused) = self.on(Event::Committed(self.now())) {
            // The refusal is reported; a marker too many is named by the next start.
            let _ = mark(&mut marker, !is_cut_over).await;
            return Err(refused.into());
        }
        Ok(())
    }

    /// Starts what keeps the new direction equal.
    pub(super) fn follow(self: &Arc<Self>, beginning: Beginning) {
        let direction = self.direction();
        self.world.tasks.spawn(self.clone().supervise(direction, beginning));
    }
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

/// The flip's time is over; what was in the way.
fn undrained(old: &Direction) -> Refusal {
    let (queued, dirty, in_flight) =
        old.engine.look(|engine| (engine.queued().0, engine.dirty_keys(), engine.in_flight()));
    let error = format!(
        "the mirror did not drain in time: {queued} effects, {dirty} dirty keys, \
         {in_flight} writes in flight"
    );
    let restless = old.restless();
    let lines = std::iter::once(error).chain(restless);
    Refusal::TimedOut { error: lines.collect::<Vec<_>>().join("; ") }
}

fn conflict(reason: &dyn std::fmt::Display) -> Refusal {
    Refusal::Conflict { error: reason.to_string(), blockers: vec![reason.to_string()] }
}
