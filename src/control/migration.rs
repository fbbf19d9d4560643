//! The state of a migration, and how it looks from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::advice;
use super::chronicle::Chronicle;
use super::direction::{Direction, World};
use super::foreign::{Books, Foreign};
use super::phase::Standing;
use super::state::{State, StateDir};
use super::watch::Baseline;
use crate::engine::Cause;
use crate::lane::ControlConnection;
use crate::metrics::{Metrics, Reading};
use crate::proxy::{Registry, Stage};
use crate::status::{self, BackfillState, Phase, Side, Status, VerifyState};

/// A server that does not answer for so long counts as unreachable.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// One migration.
#[derive(Debug)]
pub(crate) struct Migration {
    pub(super) world: Arc<World>,
    pub(super) store: Option<StateDir>,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) chronicle: Chronicle,
    pub(super) inner: Mutex<Inner>,
    /// One flip at a time.
    pub(super) flipping: tokio::sync::Mutex<()>,
    /// Held while the marker is set or removed.
    pub(super) marking: tokio::sync::Mutex<()>,
    /// Whether the primary answered when it was asked last.
    pub(super) primary_connected: AtomicBool,
    /// The same of the secondary.
    pub(super) secondary_answers: AtomicBool,
    /// Who was connected to the primary when the watch began. Locked behind `inner`, like the books, and
    /// `inner` never behind them.
    pub(super) baseline: Mutex<Option<Baseline>>,
    /// What the primary has counted, and we have sent; with the primary whose calls they are.
    pub(super) books: Mutex<Books>,
    /// For questions beside everything else, to the source and to the target.
    pub(super) control_connections: (ControlConnection, ControlConnection),
    pub(super) clients: std::sync::OnceLock<Arc<crate::proxy::Shared>>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) state: State,
    pub(super) standing: Standing<Arc<Direction>>,
    pub(super) verify: status::Verify,
    /// When the last one ended. Its time in the status is for people: that clock may be set.
    pub(super) verified: Option<Instant>,
    pub(super) cutover: status::Cutover,
    /// What makes a flip impossible or unwise besides the obvious.
    pub(super) findings: Vec<String>,
    /// What others wrote round the proxy since the last clean verify.
    pub(super) foreign: Option<Foreign>,
    /// When it was last seen that somebody writes round the proxy.
    pub(super) foreign_seen: Option<Instant>,
    /// Function libraries that the secondary cannot be given.
    pub(super) code: Vec<String>,
    pub(super) speed: Speed,
}

/// Keys a second, smoothed over looks.
#[derive(Debug, Default)]
pub(super) struct Speed {
    last: Option<(Instant, u64)>,
    keys_per_second: f64,
}

impl Speed {
    fn look(&mut self, copied: u64) -> f64 {
        let now = Instant::now();
        match self.last {
            Some((then, before)) => {
                let seconds = now.duration_since(then).as_secs_f64();
                if seconds >= 0.5 {
                    self.keys_per_second = copied.saturating_sub(before) as f64 / seconds;
                    self.last = Some((now, copied));
                }
            }
            None => self.last = Some((now, copied)),
        }
        self.keys_per_second
    }
}

impl Migration {
    /// The direction that serves now.
    pub(super) fn direction(&self) -> Arc<Direction> {
        self.inner.lock().standing.route().clone()
    }

    /// The phase now.
    pub(crate) fn phase(&self) -> Phase {
        let mut inner = self.inner.lock();
        self.notice(&mut inner);
        inner.standing.phase()
    }

    /// Makes a change of the state durable.
    ///
    /// # Errors
    /// The state directory does not take it; then it must not take effect.
    pub(super) fn keep(&self, change: impl FnOnce(&mut State)) -> Result<(), String> {
        self.keep_in(&mut self.inner.lock(), change)
    }

    pub(super) fn keep_in(
        &self,
        inner: &mut Inner,
        change: impl FnOnce(&mut State),
    ) -> Result<(), String> {
        let mut state = inner.state.clone();
        change(&mut state);
        if let Some(store) = &self.store {
            store.save(&state).map_err(|error| error.to_string())?;
        }
        inner.state = state;
        Ok(())
    }

    pub(super) fn registry(&self) -> Option<&Registry> {
        self.clients.get().map(|shared| &shared.registry)
    }

    /// Everything, now.
    pub(crate) fn status(&self) -> Status {
        let mut inner = self.inner.lock();
        self.notice(&mut inner);
        let facts = self.facts(&mut inner);
        let blockers = inner.standing.blockers(&facts);
        let blockers: Vec<String> = blockers.iter().map(ToString::to_string).collect();
        let (phase, direction) = (inner.standing.phase(), inner.standing.route().clone());
        let engine = &direction.engine;
        let now = engine.now();
        let (counters, queued, dirty, lag, left_out, marks) = engine.look(|engine| {
            let marks = (engine.marks(), engine.is_halted());
            let (queued, dirty) = (engine.queued(), engine.dirty_keys());
            (*engine.counters(), queued, dirty, engine.lag(now), engine.left_out(), marks)
        });
        // A pass stands for keys that may differ; before the flip the phase says so.
        let copying = inner.standing.copying_since().filter(|_| phase != Phase::Backfilling);
        let (dirty, lag) = match copying {
            None => (dirty, lag),
            Some(began) => {
                let since = self.now().saturating_sub(began).as_millis();
                (dirty.max(1), lag.max(u64::try_from(since).unwrap_or(u64::MAX)).max(1))
            }
        };
        let connected = direction.peer.is_connected();
        let reached = self.primary_connected.load(Ordering::Relaxed);
        let primary = direction.primary;
        let server = |side: Side| {
            let serves = side == primary;
            let survey = &direction.survey;
            let info = if serves { &survey.primary } else { &survey.secondary };
            status::Server {
                address: self.world.endpoint(side).address.to_string(),
                version: info.version.clone(),
                connected: if serves { reached } else { connected },
            }
        };
        let registry = self.registry();
        Status {
            phase,
            primary,
            uptime_seconds: self.world.started.elapsed().as_secs_f64(),
            source: server(Side::Source),
            target: server(Side::Target),
            backfill: backfill(&mut inner, &self.world, marks, &counters, left_out),
            mirror: status::Mirror {
                lag_seconds: lag as f64 / 1000.0,
                queued: queued.0 as u64,
                queued_bytes: queued.1 as u64,
                applied: counters.applied,
                mismatched: counters.mismatched,
                failed: counters.failed,
                recopies: recopies(&counters),
                dirty_keys: (dirty + left_out) as u64,
                degraded: engine.acks().is_some_and(crate::lane::Acks::is_degraded),
            },
            verify: inner.verify.clone(),
            record: super::recording::status(engine),
            cutover: inner.cutover.clone(),
            clients: status::Clients {
                connected: registry.map_or(0, Registry::connected) as u64,
                commands: registry.map_or(0, |registry| registry.totals().all_commands()),
            },
            ready: blockers.is_empty(),
            advice: blockers.iter().map(|blocker| advice::on(blocker)).collect(),
            blockers,
            ..Status::default()
        }
    }

    /// What the metrics show.
    pub(super) fn reading(&self) -> Reading {
        let (counters, ledger) =
            self.direction().engine.look(|engine| (*engine.counters(), engine.marks()));
        let clients = self.registry().map(Registry::totals).unwrap_or_default();
        Reading { status: self.status(), counters, ledger, clients }
    }

    /// A verify is worth something only for a while.
    pub(super) fn age(&self, inner: &mut Inner) {
        let max = self.world.config.verify_max_age;
        let is_old = inner.verified.is_none_or(|verified| verified.elapsed() > max);
        if inner.verify.state == VerifyState::Clean && is_old {
            inner.verify.state = VerifyState::Stale;
        }
    }
}

fn backfill(
    inner: &mut Inner,
    world: &World,
    ((marks, bytes), is_halted): ((usize, usize), bool),
    counters: &crate::engine::Counters,
    left_out: usize,
) -> status::Backfill {
    let progress = &world.progress;
    let (scanned, estimate) = (progress.scanned(), progress.estimate());
    let done = inner.standing.copying_since().is_none() && !is_halted;
    let recopied = counters.recopies.iter().sum();
    let keys_per_second = inner.speed.look(counters.copied + recopied);
    let left = estimate.saturating_sub(scanned) as f64;
    let [as_it_is, rewritten, by_commands] = progress.ways();
    status::Backfill {
        state: match (done, progress.is_paused() || is_halted) {
            (true, _) => BackfillState::Done,
            (false, true) => BackfillState::Paused,
            (false, false) => BackfillState::Running,
        },
        scanned,
        copied: counters.copied,
        recopied,
        failed: progress.failed(),
        left_out: left_out as u64,
        ways: status::Ways { as_it_is, rewritten, by_commands },
        total_estimate: estimate,
        percent: match estimate {
            _ if done => 100.0,
            0 => 0.0,
            estimate => (scanned as f64 / estimate as f64 * 100.0).min(99.9),
        },
        keys_per_second,
        eta_seconds: (!done && keys_per_second > 0.0).then(|| left / keys_per_second),
        bytes_per_mark: if marks == 0 { 0.0 } else { bytes as f64 / marks as f64 },
        rate: progress.rate(),
        held_by: if done { None } else { held_by(inner, world) },
        cause: inner.standing.cause().cloned(),
    }
}

/// What holds the copy back.
fn held_by(inner: &Inner, world: &World) -> Option<String> {
    let (progress, engine) = (&world.progress, &inner.standing.route().engine);
    let (halted, may_copy) = engine.with(|engine| (engine.is_halted(), engine.may_copy()));
    let reason = match progress.rate() {
        _ if halted => "nothing is carried over now: see what stands in the way".to_owned(),
        _ if progress.is_paused() => "it is paused".to_owned(),
        _ if !inner.standing.route().peer.is_connected() => {
            "the other server is not reached".to_owned()
        }
        _ if !may_copy => "the other server takes no more for now".to_owned(),
        Some(rate) => format!("the limit of {rate} keys a second"),
        None if world.courtesy.clients_are_served() => "clients go first".to_owned(),
        None => return None,
    };
    Some(reason)
}

pub(super) fn recopies(counters: &crate::engine::Counters) -> BTreeMap<String, u64> {
    let causes = Cause::ALL.iter().map(|cause| cause.label().to_owned());
    causes.zip(counters.recopies.iter().copied()).collect()
}

/// Unix time in seconds.
pub(super) fn unix_now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
