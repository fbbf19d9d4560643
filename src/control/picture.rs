//! How a migration looks from outside: what stands around its phase, and its status.

use std::collections::BTreeMap;

use super::foreign::Foreign;
use super::intent_file;
use super::migration::{Course, Migration};
use super::nodes;
use super::phase::{Blocker, Facts, Remaining, Secondary};
use super::{rehearsing, shadowing};
use crate::engine::{Cause, Counters};
use crate::lane::Acks;
use crate::metrics::Reading;
use crate::pipeline::{Direction, Environment};
use crate::proxy::Registry;
use crate::status::{
    Advice, Backfill, BackfillState, Clients, Mirror, Phase, Side, Status, VerifyState, Ways,
};

/// What an engine holds now.
struct Held {
    counters: Counters,
    is_halted: bool,
    /// Keys that the ledger has a mark for, and its bytes.
    marks: (usize, usize),
    /// Effects and their bytes.
    queued: (usize, usize),
    dirty: usize,
    /// In milliseconds.
    lag: u64,
    left_out: usize,
}

impl Held {
    fn by(direction: &Direction) -> Self {
        let now = direction.engine.now();
        direction.engine.look(|engine| Self {
            counters: *engine.counters(),
            is_halted: engine.is_halted(),
            marks: engine.marks(),
            queued: engine.queued(),
            dirty: engine.dirty_keys(),
            lag: engine.lag(now),
            left_out: engine.left_out(),
        })
    }

    /// A pass stands for keys that may differ; before the flip the phase says so.
    fn with_pass(self, migration: &Migration, course: &Course) -> Self {
        let copying = course.standing.copying_since();
        let Some(began) = copying.filter(|_| course.standing.phase() != Phase::Backfilling) else {
            return self;
        };
        let since = migration.now().saturating_sub(began).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        Self { dirty: self.dirty.max(1), lag: self.lag.max(since).max(1), ..self }
    }
}

/// Everything, now.
pub(super) fn status(migration: &Migration) -> Status {
    look(migration).0
}

/// Everything, now, and what stands in the way of a cut-over.
pub(super) fn look(migration: &Migration) -> (Status, Vec<Blocker>) {
    let mut course = migration.course();
    let facts = facts_of(migration, &mut course);
    let blockers = course.standing.blockers(&facts);
    let direction = course.standing.route();
    let held = Held::by(direction).with_pass(migration, &course);
    let lag_seconds = held.lag as f64 / 1000.0;
    let registry = migration.registry();
    let status = Status {
        phase: course.standing.phase(),
        primary: direction.primary,
        uptime_seconds: migration.now().as_secs_f64(),
        source: nodes::server(migration, &course, Side::Source, lag_seconds),
        target: nodes::server(migration, &course, Side::Target, lag_seconds),
        backfill: backfill(&course, &migration.env, &held),
        mirror: mirror(direction, &held),
        verify: course.verify.clone(),
        record: intent_file::status(&direction.engine),
        cutover: course.cutover.clone(),
        shadow: shadowing::status(&migration.env),
        clients: Clients {
            connected: registry.map_or(0, Registry::connected) as u64,
            commands: registry.map_or(0, |registry| registry.totals().all_commands()),
        },
        rehearsal: rehearsing::status(migration),
        ready: blockers.is_empty(),
        advice: blockers.iter().map(advice).collect(),
        blockers: blockers.iter().map(ToString::to_string).collect(),
        ..Status::default()
    };
    drop(course);
    (status, blockers)
}

fn advice(blocker: &Blocker) -> Advice {
    Advice { blocker: blocker.to_string(), todo: blocker.remedy().to_owned() }
}

/// What the metrics show.
pub(super) fn reading(migration: &Migration) -> Reading {
    let direction = migration.direction();
    let (counters, ledger) = direction.engine.look(|engine| (*engine.counters(), engine.marks()));
    let reads = (migration.env.reads.source.took(), migration.env.reads.target.took());
    Reading { status: status(migration), counters, ledger, clients: migration.totals(), reads }
}

fn mirror(direction: &Direction, held: &Held) -> Mirror {
    let counters = &held.counters;
    Mirror {
        lag_seconds: held.lag as f64 / 1000.0,
        queued: held.queued.0 as u64,
        queued_bytes: held.queued.1 as u64,
        applied: counters.applied,
        mismatched: counters.mismatched,
        failed: counters.failed,
        recopies: recopies(counters),
        dirty_keys: (held.dirty + held.left_out) as u64,
        degraded: direction.engine.acks().is_some_and(Acks::is_degraded),
    }
}

fn backfill(course: &Course, env: &Environment, held: &Held) -> Backfill {
    let (progress, counters) = (&env.progress, &held.counters);
    let (scanned, estimate) = (progress.scanned(), progress.estimate());
    let done = course.standing.copying_since().is_none() && !held.is_halted;
    let recopied = counters.recopies.iter().sum();
    let keys_per_second = progress.keys_per_second(counters.copied + recopied);
    let left = estimate.saturating_sub(scanned) as f64;
    let [as_it_is, rewritten, by_commands] = progress.ways();
    let (marks, bytes) = held.marks;
    Backfill {
        state: match (done, progress.is_paused() || held.is_halted) {
            (true, _) => BackfillState::Done,
            (false, true) => BackfillState::Paused,
            (false, false) => BackfillState::Running,
        },
        scanned,
        copied: counters.copied,
        recopied,
        failed: progress.failed(),
        left_out: held.left_out as u64,
        ways: Ways { as_it_is, rewritten, by_commands },
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
        held_by: if done { None } else { held_by(course.standing.route(), env) },
        cause: course.standing.cause().cloned(),
    }
}

/// What holds the copy back.
fn held_by(direction: &Direction, env: &Environment) -> Option<String> {
    let progress = &env.progress;
    let (halted, may_copy) =
        direction.engine.with(|engine| (engine.is_halted(), engine.may_copy()));
    let reason = match progress.rate() {
        _ if halted => "nothing is carried over now: see what stands in the way".to_owned(),
        _ if progress.is_paused() => "it is paused".to_owned(),
        _ if !direction.peer.is_connected() => "the other server is not reached".to_owned(),
        _ if !may_copy => "the other server takes no more for now".to_owned(),
        Some(rate) => format!("the limit of {rate} keys a second"),
        None if env.throttle.clients_are_served() => "clients go first".to_owned(),
        None => return None,
    };
    Some(reason)
}

pub(super) fn recopies(counters: &Counters) -> BTreeMap<String, u64> {
    let causes = Cause::ALL.iter().map(|cause| cause.label().to_owned());
    causes.zip(counters.recopies.iter().copied()).collect()
}

/// What stands around the phase now.
pub(super) fn facts(migration: &Migration) -> Facts {
    facts_of(migration, &mut migration.course())
}

fn facts_of(migration: &Migration, course: &mut Course) -> Facts {
    age_verify(course, migration);
    let progress = &migration.env.progress;
    let mut found = found(course);
    if course.standing.route().primary == Side::Source {
        found.extend(rehearsing::blockers(migration));
    }
    Facts {
        now: migration.now(),
        secondary: secondary(course),
        left: Remaining {
            scanned: progress.scanned(),
            estimate: progress.estimate(),
            is_paused: progress.is_paused(),
        },
        verify: course.verify.state,
        is_durable: migration.store.is_some(),
        found,
    }
}

/// A verify is worth something only for a while.
fn age_verify(course: &mut Course, migration: &Migration) {
    let max = migration.env.config.verify_max_age;
    let is_old = course.verified.is_none_or(|verified| verified.elapsed() > max);
    if course.verify.state == VerifyState::Clean && is_old {
        course.verify.state = VerifyState::Stale;
    }
}

fn secondary(course: &Course) -> Secondary {
    let peer = &course.standing.route().peer;
    match peer.is_connected() {
        _ if peer.is_replica() => Secondary::Replica,
        true => Secondary::Connected,
        false if course.seen.secondary_answers => Secondary::Connecting,
        false => Secondary::Away,
    }
}

fn found(course: &Course) -> Vec<Blocker> {
    let (direction, seen) = (course.standing.route(), &course.seen);
    let mut found: Vec<Blocker> = Vec::new();
    found.extend(intent_file::status(&direction.engine).error.map(Blocker::Record));
    found.extend(direction.left_out().into_iter().map(Blocker::LeftOut));
    found.extend(direction.restless().into_iter().map(Blocker::Restless));
    found.extend(seen.code.iter().cloned().map(Blocker::Code));
    found.extend(seen.foreign.iter().map(Foreign::describe).map(Blocker::ForeignCalls));
    found.extend(seen.blockers.iter().cloned());
    found
}
