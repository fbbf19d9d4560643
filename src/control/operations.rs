//! What operators ask for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};
use tracing::warn;

use super::chronicle::Chronicle;
use super::flip::Attempt;
use super::halting::start_over;
use super::health::Health;
use super::migration::{Event, Migration};
use super::phase::{Blocker, Facts, Halt};
use super::supervise::supervise;
use super::users::learn_default;
use super::verifying::verify;
use super::{picture, rehearsing};
use crate::admin::audit::{Audit, unix_now};
use crate::admin::report::Report;
use crate::admin::{Control, Flipped, Rate, Refusal};
use crate::check;
use crate::config::{Servers, TargetPolicy};
use crate::control::hooks::{Hook, News};
use crate::metrics::history::Point;
use crate::status::{Cutover, Phase, Side, Status};

/// Why no read is asked of the secondary after the end.
const NOBODY: &str = "the source is let go: there is no other server to ask";

/// A migration as the admin API holds it.
#[derive(Debug)]
pub(super) struct Operations {
    migration: Arc<Migration>,
    health: Arc<Health>,
    chronicle: Arc<Chronicle>,
    /// One flip at a time.
    flipping: Mutex<()>,
}

impl Control for Operations {
    fn status(&self) -> Status {
        picture::status(&self.migration)
    }

    fn news(&self) -> watch::Receiver<Arc<Status>> {
        self.chronicle.news.subscribe()
    }

    fn history(&self, after: f64) -> Vec<Point> {
        self.chronicle.history.lock().after(after)
    }

    async fn check(&self) -> Result<check::Report, Refusal> {
        let (phase, servers) = (self.migration.phase(), &self.migration.env.config.servers);
        if !matches!(phase, Phase::Backfilling | Phase::Mirroring) {
            let why = format!("check looks ahead to a cut-over, and the phase is {phase}");
            return Err(Refusal::because(why));
        }
        let Servers { source, target, databases, .. } = servers.clone();
        // What the target holds now is what has been copied.
        let target_policy = TargetPolicy::Overwrite;
        let options = check::Options { source, target, databases, target_policy };
        let report = check::run(options).await.map_err(Refusal::because)?;
        Ok(report.without_keys())
    }

    fn report(&self) -> Report {
        self.chronicle.report()
    }

    fn audit(&self) -> &Audit {
        &self.chronicle.audit
    }

    fn metrics(&self) -> String {
        self.migration.metrics.render(&picture::reading(&self.migration))
    }

    fn ready(&self) -> Result<(), String> {
        let direction = self.migration.direction();
        let primary = direction.primary;
        if !self.migration.course().seen.primary_answers {
            return Err(format!("the {primary} is unreachable"));
        }
        if direction.route.pool.upstream().identity.is_replica() {
            return Err(Halt::Replica.describe(primary));
        }
        Ok(())
    }

    fn verify(&self) -> Result<(), Refusal> {
        self.migration.on(Event::Verify(picture::facts(&self.migration)))?;
        self.migration.env.tasks.spawn(verify(self.health.clone()));
        Ok(())
    }

    async fn cutover(&self, timeout: Duration, force: bool) -> Result<Flipped, Refusal> {
        let _one = self.only_one()?;
        let gaps = rehearsing::find_gaps(&self.migration, rehearsing::HASTE);
        tokio::join!(self.health.look(), gaps);
        let refused = self.ask_before_cutover(force).await;
        let mut facts = picture::facts(&self.migration);
        facts.found.extend(refused.map(Blocker::Hook));
        self.flip(Side::Target, timeout, force, facts).await
    }

    async fn rollback(&self, timeout: Duration, force: bool) -> Result<Flipped, Refusal> {
        let _one = self.only_one()?;
        self.health.look().await;
        self.flip(Side::Source, timeout, force, picture::facts(&self.migration)).await
    }

    async fn resync(&self, accept_empty: bool) -> Result<(), Refusal> {
        let _one = self.only_one()?;
        self.health.look().await;
        Ok(start_over(&self.migration, accept_empty).await?)
    }

    async fn finalize(&self) -> Result<(), Refusal> {
        let _one = self.only_one()?;
        if self.migration.phase() == Phase::CutOver {
            learn_default(&self.migration).await;
        }
        self.migration.on(Event::Finalize)?;
        // Nobody follows any more who could be asked.
        self.migration.env.shadow.set(0.0);
        Ok(())
    }

    fn shadow(&self, percent: f64) -> Result<(), Refusal> {
        if self.migration.phase() == Phase::Finalized {
            return Err(Refusal::Conflict { error: NOBODY.to_owned(), blockers: Vec::new() });
        }
        self.migration.env.shadow.set(percent);
        Ok(())
    }

    fn backfill(&self, paused: Option<bool>, rate: Option<Rate>) -> Result<(), Refusal> {
        let progress = &self.migration.env.progress;
        if let Some(paused) = paused {
            progress.pause(paused);
        }
        if let Some(rate) = rate {
            progress.limit(rate.limit());
        }
        Ok(())
    }
}

impl Operations {
    pub(super) fn new(health: Arc<Health>, chronicle: Arc<Chronicle>) -> Self {
        let migration = health.migration.clone();
        Self { migration, health, chronicle, flipping: Mutex::default() }
    }

    /// What the program says that is asked before a cut-over; one that is forced it is told of only.
    /// It is not asked about what is refused anyway.
    async fn ask_before_cutover(&self, force: bool) -> Option<String> {
        if self.is_blocked(force) {
            return None;
        }
        let facts = vec![("FORCE", if force { "yes" } else { "no" }.to_owned())];
        let (hook, status) = (Hook::BeforeCutover, Arc::new(self.status()));
        let answer = self.chronicle.hooks.ask(News { hook, facts, status }).await;
        // While it thought about it something may have happened.
        self.health.look().await;
        let reason = answer.err()?;
        warn!(reason, force, "the hook before-cutover refuses");
        (!force).then_some(reason)
    }

    fn is_blocked(&self, force: bool) -> bool {
        let (_, blockers) = picture::look(&self.migration);
        !blockers.iter().all(|blocker| force && blocker.yields_to_force())
    }

    fn only_one(&self) -> Result<MutexGuard<'_, ()>, Refusal> {
        self.flipping.try_lock().map_err(|_| Refusal::because("a flip is under way"))
    }

    async fn flip(
        &self,
        to: Side,
        timeout: Duration,
        force: bool,
        facts: Facts,
    ) -> Result<Flipped, Refusal> {
        let attempt = Attempt::begin(&self.health, to, force, facts, timeout)?;
        let flipped = attempt.run().await;
        let (hold, beginning) = flipped.inspect_err(|refusal| self.note_failure(to, refusal))?;
        let hold_ms = u64::try_from(hold.as_millis()).ok();
        let at = Some(unix_now());
        self.migration.flipped(Cutover { hold_ms, at, to: Some(to), last_error: None });
        supervise(&self.migration, beginning);
        Ok(Flipped { phase: self.migration.phase(), hold })
    }

    fn note_failure(&self, to: Side, refusal: &Refusal) {
        let (Refusal::Conflict { error, .. } | Refusal::TimedOut { error }) = refusal;
        warn!(%error, to = to.name(), "clients stay where they are");
        self.migration.course().cutover.last_error = Some(error.clone());
    }
}
