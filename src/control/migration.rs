//! The state of a migration, and how it looks from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::advice;
use super::chronicle::Chronicle;
use super::direction::{Direction, World};
use super::foreign::{Books, Foreign};
use super::halting::Halt;
use super::state::{State, StateDir};
use super::watch::Baseline;
use crate::engine::{Cause, Engine};
use crate::lane::SideLine;
use crate::metrics::{Metrics, Reading};
use crate::proxy::{Registry, Stage};
use crate::status::{self, BackfillState, Phase, Side, Status, VerifyState};

/// One migration.
#[derive(Debug)]
pub struct Migration {
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
    /// Who was connected to the primary when the watch began.
    pub(super) baseline: Mutex<Option<Baseline>>,
    /// What the primary has counted, and we have sent; with the primary whose calls they are.
    pub(super) books: Mutex<Books>,
    /// For questions beside everything else, to the source and to the target.
    pub(super) side_lines: (SideLine, SideLine),
    pub(super) clients: std::sync::OnceLock<Arc<crate::proxy::Shared>>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) state: State,
    pub(super) phase: Phase,
    pub(super) direction: Arc<Direction>,
    /// Whether a pass is under way.
    pub(super) passing: bool,
    /// When the last one began.
    pub(super) pass_began: Instant,
    pub(super) cause: Option<String>,
    /// Why nothing is mirrored, as far as it has been found out.
    pub(super) halt: Option<Halt>,
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
        self.inner.lock().direction.clone()
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        self.inner.lock().phase
    }

    /// Enters a phase that needs no durability.
    pub(super) fn show(&self, phase: Phase) {
        self.inner.lock().phase = phase;
        self.chronicle.stirred.notify_one();
    }

    /// Makes a phase durable.
    ///
    /// # Errors
    /// The state directory does not take it; then it must not take effect.
    pub(super) fn persist(&self, phase: Phase) -> Result<(), String> {
        self.keep(|state| state.phase = phase)
    }

    /// Makes a change of the state durable.
    ///
    /// # Errors
    /// As [`Self::persist`].
    pub(super) fn keep(&self, change: impl FnOnce(&mut State)) -> Result<(), String> {
        let mut inner = self.inner.lock();
        let mut state = inner.state.clone();
        change(&mut state);
        if let Some(store) = &self.store {
            store.save(&state).map_err(|error| error.to_string())?;
        }
        inner.state = state;
        Ok(())
    }

    /// Whether keys are being copied, so that nobody knows how many may differ.
    pub(super) fn is_copying_again(&self) -> bool {
        let inner = self.inner.lock();
        inner.passing || inner.direction.hub.look(Engine::is_halted)
    }

    pub(super) fn registry(&self) -> Option<&Registry> {
        self.clients.get().map(|shared| &shared.registry)
    }

    /// Everything, now.
    pub fn status(&self) -> Status {
        let blockers = self.blockers();
        let mut inner = self.inner.lock();
        let direction = inner.direction.clone();
        let hub = &direction.hub;
        let now = hub.now();
        let (counters, queued, dirty, lag, left_out, marks) = hub.look(|engine| {
            let marks = (engine.marks(), engine.is_halted());
            let (queued, dirty) = (engine.queued(), engine.dirty_keys());
            (*engine.counters(), queued, dirty, engine.lag(now), engine.left_out(), marks)
        });
        // A pass stands for keys that may differ; before the flip the phase says so.
        let unsure = inner.passing && inner.phase != Phase::Backfilling;
        let (dirty, lag) = if unsure {
            let since = u64::try_from(inner.pass_began.elapsed().as_millis()).unwrap_or(u64::MAX);
            (dirty.max(1), lag.max(since).max(1))
        } else {
            (dirty, lag)
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
            phase: inner.phase,
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
                degraded: hub.acks().is_some_and(crate::lane::Acks::is_degraded),
            },
            verify: inner.verify.clone(),
            record: super::recording::status(hub),
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
            self.direction().hub.look(|engine| (*engine.counters(), engine.marks()));
        let clients = self.registry().map(Registry::totals).unwrap_or_default();
        Reading { status: self.status(), counters, ledger, clients }
    }

    /// Why a flip would be refused now.
    pub(super) fn blockers(&self) -> Vec<String> {
        let mut blockers = self.obstacles();
        let halt = self.halt();
        let mut inner = self.inner.lock();
        self.age(&mut inner);
        if let Some(halt @ Halt::Emptied(..)) = halt {
            blockers.push(halt.describe(inner.direction.primary));
        }
        match inner.verify.state {
            VerifyState::Never => blockers.push("verify has not run".to_owned()),
            VerifyState::Running => blockers.push("verify is running".to_owned()),
            VerifyState::Different => blockers.push("the last verify found differences".to_owned()),
            VerifyState::Stale => blockers.push("the last verify is stale".to_owned()),
            VerifyState::Clean => {}
        }
        if self.store.is_none() {
            blockers
                .push("no --state-dir: a crash after the flip could not be survived".to_owned());
        }
        if let Some(fault) = super::recording::status(&inner.direction.hub).error {
            blockers.push(format!("the write-intent record can't be written: {fault}"));
        }
        blockers.extend(inner.direction.left_out());
        blockers.extend(inner.direction.restless());
        blockers.extend(inner.code.iter().cloned());
        blockers.extend(inner.foreign.iter().map(Foreign::describe));
        blockers.extend(inner.findings.iter().cloned());
        blockers
    }

    /// A verify is worth something only for a while.
    fn age(&self, inner: &mut Inner) {
        let max = self.world.config.verify_max_age;
        let is_old = inner.verified.is_none_or(|verified| verified.elapsed() > max);
        if inner.verify.state == VerifyState::Clean && is_old {
            inner.verify.state = VerifyState::Stale;
        }
    }

    /// How much of the pass that is under way is left.
    pub(super) fn left(&self, inner: &Inner) -> String {
        let progress = &self.world.progress;
        let (scanned, estimate) = (progress.scanned(), progress.estimate());
        let left = estimate.saturating_sub(scanned);
        let seconds = inner.pass_began.elapsed().as_secs_f64();
        let rate = scanned as f64 / seconds.max(0.001);
        match (progress.is_paused(), left) {
            (true, _) => format!("about {left} keys are left, and it is paused"),
            (false, 0) if scanned == 0 => "it has just begun".to_owned(),
            (false, 0) => "the last keys are on their way, in a moment it is done".to_owned(),
            (false, _) if rate < 1.0 => format!("about {left} keys are left"),
            (false, _) => format!("about {left} keys are left, some {:.0} s", left as f64 / rate),
        }
    }

    /// What no force passes over.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let halt = self.halt();
        let inner = self.inner.lock();
        let (primary, secondary) = (inner.direction.primary, inner.direction.primary.other());
        let mut obstacles = Vec::new();
        match inner.phase {
            // The operator may choose the side that holds the keys.
            Phase::Backfilling | Phase::Mirroring if matches!(halt, Some(Halt::Emptied(..))) => {}
            Phase::Backfilling | Phase::Mirroring if halt.is_some() => {
                obstacles.extend(halt.map(|halt| halt.describe(primary)));
            }
            Phase::Backfilling => {
                obstacles.push(format!("the backfill has not finished: {}", self.left(&inner)));
            }
            Phase::Mirroring if inner.passing => {
                obstacles.push(format!("keys are being copied again: {}", self.left(&inner)));
            }
            Phase::Mirroring => {}
            phase => obstacles.push(format!("the phase is {phase}")),
        }
        if inner.direction.peer.is_replica() {
            obstacles
                .push(format!("the {secondary} is a replica now: nothing can be written to it"));
        } else if !inner.direction.peer.is_connected() {
            obstacles.push(format!("the {secondary} is unreachable"));
        }
        obstacles
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
    let done = inner.phase != Phase::Backfilling && !inner.passing && !is_halted;
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
        cause: inner.cause.clone(),
    }
}

/// What holds the copy back.
fn held_by(inner: &Inner, world: &World) -> Option<String> {
    let (progress, hub) = (&world.progress, &inner.direction.hub);
    let (halted, may_copy) = hub.with(|engine| (engine.is_halted(), engine.may_copy()));
    let reason = match progress.rate() {
        _ if halted => "nothing is carried over now: see what stands in the way".to_owned(),
        _ if progress.is_paused() => "it is paused".to_owned(),
        _ if !inner.direction.peer.is_connected() => "the other server is not reached".to_owned(),
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
