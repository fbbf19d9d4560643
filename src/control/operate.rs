//! What operators ask for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use super::course;
use super::flip::{Attempt, Wish};
use super::migration::{Migration, unix_now};
use super::passes::Beginning;
use super::phase::{Blocker, Facts, Halt};
use crate::admin::audit::Audit;
use crate::admin::report::Report;
use crate::admin::{Control, Flipped, Refusal};
use crate::check;
use crate::config::{Servers, TargetPolicy};
use crate::control::hooks::{Event, News};
use crate::engine::ledger::Groups;
use crate::metrics::history::Point;
use crate::status::{self, Phase, Side, Status};

/// A migration as the admin API holds it.
impl Control for Arc<Migration> {
    fn status(&self) -> Status {
        Migration::status(self)
    }

    fn news(&self) -> watch::Receiver<Arc<Status>> {
        self.chronicle.news.subscribe()
    }

    fn history(&self, after: f64) -> Vec<Point> {
        self.chronicle.history.lock().after(after)
    }

    async fn check(&self) -> Result<check::Report, Refusal> {
        let (phase, servers) = (self.phase(), &self.world.config.servers);
        if !matches!(phase, Phase::Backfilling | Phase::Mirroring) {
            return Err(refuse(format!(
                "check looks ahead to a cut-over, and the phase is {phase}"
            )));
        }
        let Servers { source, target, databases, .. } = servers.clone();
        // What the target holds now is what has been copied.
        let target_policy = TargetPolicy::Overwrite;
        let options = check::Options { source, target, databases, target_policy };
        let report = check::run(options).await.map_err(|error| refuse(error.to_string()))?;
        Ok(report.without_keys())
    }

    fn report(&self) -> Report {
        self.report_now()
    }

    fn audit(&self) -> &Audit {
        &self.chronicle.audit
    }

    fn metrics(&self) -> String {
        self.metrics.render(&self.reading())
    }

    fn ready(&self) -> Result<(), String> {
        let direction = self.direction();
        let primary = direction.primary;
        if !self.primary_connected.load(Ordering::Relaxed) {
            return Err(format!("the {primary} is unreachable"));
        }
        if direction.route.pool.upstream().identity.is_replica() {
            return Err(Halt::Replica.describe(primary));
        }
        Ok(())
    }

    fn verify(&self) -> Result<(), Refusal> {
        let facts = self.facts_now();
        self.on(course::Event::Verify(facts))?;
        self.world.tasks.spawn(self.clone().run_verify());
        Ok(())
    }

    async fn cutover(&self, timeout: Duration, force: bool) -> Result<Flipped, Refusal> {
        let _one = self.only_one()?;
        self.look().await;
        let refused = self.ask_before_cutover(force).await;
        let mut facts = self.facts_now();
        facts.found.extend(refused.map(Blocker::Hook));
        self.flip_and_follow(Side::Target, timeout, force, facts).await
    }

    async fn rollback(&self, timeout: Duration, force: bool) -> Result<Flipped, Refusal> {
        let _one = self.only_one()?;
        self.look().await;
        let facts = self.facts_now();
        self.flip_and_follow(Side::Source, timeout, force, facts).await
    }

    async fn resync(&self, accept_empty: bool) -> Result<(), Refusal> {
        let _one = self.only_one()?;
        self.look().await;
        Ok(self.start_over(accept_empty).await?)
    }

    async fn finalize(&self) -> Result<(), Refusal> {
        let _one = self.only_one()?;
        if self.phase() == Phase::CutOver {
            self.learn_default_user().await;
        }
        Ok(self.on(course::Event::Finalize)?)
    }

    fn backfill(&self, paused: Option<bool>, rate: Option<Option<u64>>) -> Result<(), Refusal> {
        if let Some(paused) = paused {
            self.world.progress.pause(paused);
        }
        if let Some(rate) = rate {
            self.world.progress.limit(rate);
        }
        Ok(())
    }
}

impl Migration {
    /// What the program says that is asked before a cut-over; one that is forced it is told of only.
    /// It is not asked about what is refused anyway.
    async fn ask_before_cutover(&self, force: bool) -> Option<String> {
        if self.is_blocked(force) {
            return None;
        }
        let facts = vec![("FORCE", if force { "yes" } else { "no" }.to_owned())];
        let (event, status) = (Event::BeforeCutover, Arc::new(self.status()));
        let answer = self.chronicle.hooks.ask(News { event, facts, status }).await;
        // While it thought about it something may have happened.
        self.look().await;
        let reason = answer.err()?;
        warn!(reason, force, "the hook before-cutover refuses");
        (!force).then(|| format!("the hook before-cutover refuses: {reason}"))
    }

    fn facts_now(&self) -> Facts {
        let mut inner = self.inner.lock();
        self.notice(&mut inner);
        self.facts(&mut inner)
    }

    fn is_blocked(&self, force: bool) -> bool {
        let mut inner = self.inner.lock();
        self.notice(&mut inner);
        let facts = self.facts(&mut inner);
        let blockers = inner.standing.blockers(&facts);
        !blockers.iter().all(|blocker| force && blocker.yields_to_force())
    }

    fn only_one(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Refusal> {
        self.flipping.try_lock().map_err(|_| refuse("a flip is under way".to_owned()))
    }

    async fn flip_and_follow(
        self: &Arc<Self>,
        to: Side,
        timeout: Duration,
        force: bool,
        facts: Facts,
    ) -> Result<Flipped, Refusal> {
        self.on(course::Event::Flip(to, force, facts))?;
        let attempt = Attempt { migration: self };
        // Clients who are moved because the side that served has lost its keys leave it to be filled.
        let beginning =
            if self.fills() { Beginning::Resumed(Groups::full()) } else { Beginning::Flipped };
        let wish = Wish { to, timeout, beginning, force };
        let result = self.flip(&wish, attempt).await;
        let mut inner = self.inner.lock();
        match &result {
            Ok(flipped) => {
                // All at once: who looks at it takes them for those of one flip.
                let hold_ms = u64::try_from(flipped.hold.as_millis()).ok();
                let at = Some(unix_now());
                inner.cutover = status::Cutover { hold_ms, at, to: Some(to), last_error: None };
                self.chronicle.stirred.notify_one();
            }
            Err(Refusal::Conflict { error, .. } | Refusal::TimedOut { error }) => {
                warn!(%error, to = to.name(), "clients stay where they are");
                inner.cutover.last_error = Some(error.clone());
            }
        }
        drop(inner);
        if result.is_ok() {
            self.follow(wish.beginning);
        }
        result
    }
}

pub(super) fn refuse(error: String) -> Refusal {
    Refusal::Conflict { blockers: vec![error.clone()], error }
}
