//! The flip: clients move from one server to the other, and the mirror turns round.
//!
//! Clients are held only when what is left to drain is known to fit: while they go on, a moment is
//! waited for at which no big key is dirty and the secondary answers quickly. A hold that does not drain
//! in a few milliseconds after all is let go, and tried again until the flip's time is over.
//!
//! Up to the moment when the new phase is durable, a failure means that everything goes on as it
//! was (the [`Attempt`] and its [`Hold`] see to it when they are dropped); from then on the new
//! primary serves, and what they say then is too late. The steps are the [phase](super::phase)'s.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{debug, info, warn};

use super::calm::{Bound, Calm, Late, Undrained};
use super::foreign::Foreign;
use super::health::Health;
use super::intent_file::Beginning;
use super::migration::{Event, Migration};
use super::phase::{Facts, Refused};
use super::prepare::{Ready, prepare};
use crate::admin::Refusal;
use crate::engine::Engine;
use crate::engine::ledger::Groups;
use crate::pipeline::{Direction, connect_to_zero, mark};
use crate::server::Connection;
use crate::status::Side;

/// How long a hold may wait for subscribers that hear of keys.
const CUT_WITHIN: Duration = Duration::from_millis(50);
/// After a hold in vain clients go on for so many times as long as it was.
const REST: u32 = 5;
/// How often a wait looks whether it is over.
const LOOK: Duration = Duration::from_micros(200);

/// A flip that was let in; dropped before it is committed, everything is as it was.
pub(super) struct Attempt<'a> {
    migration: &'a Migration,
    health: &'a Health,
    to: Side,
    /// Whether what is only about certainty is passed over.
    force: bool,
    /// What the next secondary holds already.
    beginning: Beginning,
    /// When it is over, however many times clients were held for a moment.
    deadline: Instant,
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

impl<'a> Attempt<'a> {
    /// Begins a flip, or says why it may not be.
    pub(super) fn begin(
        health: &'a Health,
        to: Side,
        force: bool,
        facts: Facts,
        timeout: Duration,
    ) -> Result<Self, Refused> {
        let migration = &*health.migration;
        migration.on(Event::Flip(to, force, facts))?;
        // Clients who are moved because the side that served has lost its keys leave it to be filled.
        let fills = migration.course().standing.fills();
        let beginning = if fills { Beginning::Resumed(Groups::full()) } else { Beginning::Flipped };
        let deadline = Instant::now() + timeout;
        Ok(Self { migration, health, to, force, beginning, deadline })
    }

    /// Hands the clients to the other side; how long they were held, and what is to be passed over then.
    pub(super) async fn run(self) -> Result<(Duration, Beginning), Refusal> {
        let old = self.migration.direction();
        let new = self.ready(&old).await?;
        self.migration.on(Event::Draining)?;
        let calm = Calm::new(self.migration.env.config.max_hold, new.round_trip);
        let hold = self.hold_drained(&old, calm).await?;
        self.part_events().await;
        self.last_look(&old).await?;
        self.commit(new.marker).await?;
        let held = hold.since.elapsed();
        info!(to = self.to.name(), hold_ms = held.as_millis() as u64, "clients have moved");
        self.migration.metrics.cutover_hold.set(held.as_secs_f64());
        Ok((held, self.beginning.clone()))
    }

    /// Waits for the secondary, which may have been left only a moment ago, and prepares.
    async fn ready(&self, old: &Direction) -> Result<Ready, Refusal> {
        let prepared = async {
            old.peer.connected().await;
            prepare(self.migration, old, self.to, &self.beginning).await
        };
        let error = format!("the {} did not answer in time", self.to);
        timeout_at(self.deadline, prepared).await.unwrap_or(Err(Refusal::TimedOut { error }))
    }

    /// Holds the clients once everything is drained, in as many attempts as the time allows.
    async fn hold_drained(&self, old: &Direction, mut calm: Calm) -> Result<Hold<'a>, Refusal> {
        loop {
            let bound = self.wait_for_calm(old, &mut calm).await?;
            let hold = self.hold()?;
            let Some(late) = self.drain(old, bound).await? else {
                return Ok(hold);
            };
            let held = hold.since.elapsed();
            drop(hold);
            let held_ms = held.as_millis() as u64;
            debug!(held_ms, ?late, "the mirror did not drain, clients go on");
            calm.was_in_vain(late);
            sleep_until(self.deadline.min(Instant::now() + REST * held)).await;
        }
    }

    /// Fails when keys are being copied again that the next primary must have.
    fn fail_if_replaced(&self) -> Result<(), Refusal> {
        Ok(self.migration.course().standing.may_go_on()?)
    }

    /// Waits, while clients go on, until what is left to drain is known to fit into a hold.
    async fn wait_for_calm(&self, old: &Direction, calm: &mut Calm) -> Result<Bound, Refusal> {
        loop {
            self.fail_if_replaced()?;
            if Instant::now() >= self.deadline {
                return Err(undrained(old));
            }
            if let Some(bound) = calm.look(Undrained::of(old)) {
                return Ok(bound);
            }
            sleep(LOOK).await;
        }
    }

    fn hold(&self) -> Result<Hold<'a>, Refusal> {
        let since = Instant::now();
        self.migration.on(Event::Held)?;
        Ok(Hold { migration: self.migration, since })
    }

    /// Waits until everything in flight is answered and the secondary has got all of it; what took
    /// longer than it may.
    async fn drain(&self, old: &Direction, bound: Bound) -> Result<Option<Late>, Refusal> {
        let since = Instant::now();
        loop {
            self.fail_if_replaced()?;
            if old.route.pool.is_idle() && old.engine.look(Engine::is_drained) {
                return Ok(None);
            }
            let dirty = old.engine.look(Engine::dirty_keys) > 0;
            if !bound.allows(since.elapsed(), dirty) || Instant::now() >= self.deadline {
                return Ok(Some(if dirty { Late::Copies } else { Late::UnderWay }));
            }
            old.engine.hurry();
            sleep(LOOK).await;
        }
    }

    /// Whoever hears of keys hears of mirrored writes too: what was told up to now is parted from what
    /// comes. Without it some events are told twice, and none is lost.
    async fn part_events(&self) {
        let stage = &self.migration.stage;
        let Some(next) = stage.borrow().next.clone() else { return };
        if !next.begin_cut() {
            return;
        }
        stage.send_modify(|_| {});
        let parted = async {
            while !next.is_cut() {
                sleep(LOOK).await;
            }
        };
        if timeout(CUT_WITHIN, parted).await.is_err() {
            warn!("some subscribers will hear events of keys twice");
        }
    }

    /// Looks once more while nothing is on its way: since the last look one of the servers may have
    /// been replaced, or somebody has written round the proxy.
    async fn last_look(&self, old: &Direction) -> Result<(), Refusal> {
        let upstream = old.route.pool.upstream();
        let looks = async {
            tokio::join!(
                upstream.recognize(),
                self.health.recognize_secondary(old),
                self.health.count_calls(old, true)
            )
        };
        let error = "the servers did not answer in time".to_owned();
        timeout_at(self.deadline, looks).await.map_err(|_| Refusal::TimedOut { error })?;
        self.fail_if_replaced()?;
        let foreign = self.migration.course().seen.foreign.as_ref().map(Foreign::describe);
        match foreign {
            Some(foreign) if self.to == Side::Target && !self.force => {
                Err(Refusal::because(foreign))
            }
            _ => Ok(()),
        }
    }

    /// The point of no return: the marker is set or removed, and the phase is durable.
    async fn commit(&self, mut marker: Connection) -> Result<(), Refusal> {
        let _only_one = self.health.marking.lock().await;
        let is_cut_over = self.to == Side::Target;
        let mut marked = mark(&mut marker, is_cut_over).await;
        if marked.is_err() {
            // The connection was opened some time ago.
            let source = self.migration.env.endpoint(Side::Source);
            marker = connect_to_zero(source).await.map_err(Refusal::because)?;
            marked = mark(&mut marker, is_cut_over).await;
        }
        match marked.map_err(Refusal::because)? {
            // The next start finds the phase without it.
            Err(error) if self.force && self.migration.store.is_some() => {
                warn!(error, "the source bears no marker of the cut-over: it refuses it");
            }
            Err(error) => {
                let what = "the source refuses the marker of a cut-over, or its removal";
                return Err(Refusal::because(format!("{what}: {error}")));
            }
            Ok(()) => {}
        }
        if let Err(refused) = self.migration.on(Event::Committed(self.migration.now())) {
            // The refusal is reported; a marker too many is named by the next start.
            let _ = mark(&mut marker, !is_cut_over).await;
            return Err(refused.into());
        }
        Ok(())
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
