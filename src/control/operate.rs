//! What operators ask for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use super::flip::Wish;
use super::halting::Halt;
use super::migration::{Migration, unix_now};
use super::passes::Beginning;
use crate::admin::{Control, Flipped, Refusal};
use crate::audit::Audit;
use crate::check;
use crate::config::{Servers, TargetPolicy};
use crate::engine::Engine;
use crate::history::Point;
use crate::hooks::{Event, News};
use crate::ledger::Groups;
use crate::report::Report;
use crate::status::{self, Phase, Side, Status, VerifyState};

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
        if direction.route.pool.upstream().process.is_replica() {
            return Err(Halt::Replica.describe(primary));
        }
        Ok(())
    }

    fn verify(&self) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        let phase = inner.phase;
        if !matches!(phase, Phase::Backfilling | Phase::Mirroring | Phase::CutOver) {
            return Err(refuse(format!("verify runs in mirroring and cut_over, not in {phase}")));
        }
        if inner.direction.hub.look(Engine::is_halted) {
            let halt = inner.halt.unwrap_or(Halt::Unsure).describe(inner.direction.primary);
            return Err(refuse(halt));
        }
        if inner.passing || phase == Phase::Backfilling {
            return Err(refuse(format!("keys are still being copied: {}", self.left(&inner))));
        }
        if inner.verify.state == VerifyState::Running {
            return Err(refuse("a verify is running already".to_owned()));
        }
        inner.verify = status::Verify { state: VerifyState::Running, ..Default::default() };
        drop(inner);
        self.world.tasks.spawn(self.clone().run_verify());
        Ok(())
    }

    async fn cutover(&self, timeout: Duration, force: bool) -> Result<Flipped, Refusal> {
        let _one = self.only_one()?;
        self.look().await;
        let refused = self.ask_before_cutover(force).await;
        let mut blockers = if force { self.obstacles() } else { self.blockers() };
        blockers.extend(refused);
        if !blockers.is_empty() {
            let error = format!("not ready to cut over: {}", blockers.join("; "));
            return Err(Refusal::Conflict { error, blockers });
        }
        self.flip_and_follow(Side::Target, timeout, force).await
    }

    async fn rollback(&self, timeout: Duration, force: bool) -> Result<Flipped, Refusal> {
        let _one = self.only_one()?;
        self.look().await;
        let (phase, passing) = {
            let inner = self.inner.lock();
            (inner.phase, inner.passing)
        };
        if phase != Phase::CutOver {
            return Err(refuse(format!("rollback leads from cut_over, and the phase is {phase}")));
        }
        let halt = self.halt();
        match halt {
            Some(Halt::Emptied(..)) if force => {}
            Some(halt) => return Err(refuse(halt.describe(Side::Target))),
            None if passing => {
                let left = self.left(&self.inner.lock());
                return Err(refuse(format!("keys are being copied again to the source: {left}")));
            }
            None => {}
        }
        let blockers = self.direction().left_out();
        if !blockers.is_empty() && halt.is_none() {
            let error = format!("a rollback would lose keys: {}", blockers.join("; "));
            return Err(Refusal::Conflict { error, blockers });
        }
        self.flip_and_follow(Side::Source, timeout, force).await
    }

    async fn resync(&self, accept_empty: bool) -> Result<(), Refusal> {
        let _one = self.only_one()?;
        self.look().await;
        self.start_over(accept_empty).await
    }

    async fn finalize(&self) -> Result<(), Refusal> {
        let _one = self.only_one()?;
        let phase = self.phase();
        if phase != Phase::CutOver {
            return Err(refuse(format!("finalize leads from cut_over, and the phase is {phase}")));
        }
        if let Some(halt) = self.halt() {
            return Err(refuse(halt.describe(Side::Target)));
        }
        let direction = self.direction();
        self.learn_default_user().await;
        self.persist(Phase::Finalized).map_err(refuse)?;
        direction.route.authority.let_go();
        direction.stop.cancel();
        direction.hub.with(Engine::let_go);
        if let Some(record) = direction.hub.take_record() {
            record.discard();
        }
        self.show(Phase::Finalized);
        info!("the source has been let go");
        Ok(())
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
        let blockers = if force { self.obstacles() } else { self.blockers() };
        if !blockers.is_empty() {
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

    fn only_one(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Refusal> {
        self.flipping.try_lock().map_err(|_| refuse("a flip is under way".to_owned()))
    }

    async fn flip_and_follow(
        self: &Arc<Self>,
        to: Side,
        timeout: Duration,
        force: bool,
    ) -> Result<Flipped, Refusal> {
        // Clients who are moved because the side that served has lost its keys leave it to be filled.
        let beginning =
            if self.is_emptied() { Beginning::Resumed(Groups::full()) } else { Beginning::Flipped };
        let wish = Wish { to, timeout, beginning, force };
        let result = self.flip(&wish).await;
        let mut inner = self.inner.lock();
        match &result {
            Ok(flipped) => {
                // All at once: who looks at it takes them for those of one flip.
                let hold_ms = u64::try_from(flipped.hold.as_millis()).ok();
                inner.cutover = status::Cutover { hold_ms, at: Some(unix_now()), last_error: None };
            }
            Err(Refusal::Conflict { error, .. } | Refusal::TimedOut { error }) => {
                warn!(%error, to = to.name(), "clients stay where they are");
                inner.cutover.last_error = Some(error.clone());
                self.stage.send_if_modified(|stage| stage.next.take().is_some());
            }
        }
        drop(inner);
        if result.is_ok() {
            self.follow(wish.beginning);
        }
        result
    }
}

/// A verify that says nothing of now.
pub(super) fn stale(verify: &mut status::Verify) {
    if matches!(verify.state, VerifyState::Clean | VerifyState::Different) {
        verify.state = VerifyState::Stale;
    }
}

pub(super) fn refuse(error: String) -> Refusal {
    Refusal::Conflict { blockers: vec![error.clone()], error }
}
