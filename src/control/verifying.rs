//! Running a verify in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::warn;

use super::health::Health;
use super::migration::Migration;
use crate::admin::audit::unix_now;
use crate::engine::Engine;
use crate::pipeline::Direction;
use crate::status::{self, VerifyState};
use crate::value::diff::Leeway;
use crate::verify::{Alike, Sample, Tally, Verify};

/// How often it is told how far it has come.
const PULSE: Duration = Duration::from_millis(100);

/// Compares everything and keeps the result.
pub(super) async fn verify(health: Arc<Health>) {
    let migration = &health.migration;
    let direction = migration.direction();
    // What was written round the proxy until now is compared with the rest.
    health.look().await;
    let began = Instant::now();
    let tally = Arc::new(Tally::default());
    let verify = prepared(migration, &direction, &tally);
    let run = verify.run();
    tokio::pin!(run);
    let result = loop {
        tokio::select! {
            result = &mut run => break result,
            () = direction.stop.cancelled() => break Ok(false),
            () = sleep(PULSE) => publish(migration, &tally),
        }
        if direction.engine.look(Engine::is_halted) {
            break Ok(false);
        }
    };
    publish(migration, &tally);
    health.look().await;
    let state = match result {
        _ if direction.stop.is_cancelled() => VerifyState::Stale,
        _ if direction.engine.look(Engine::is_halted) => VerifyState::Stale,
        Ok(true) if !health.nobody_wrote_since(began) => VerifyState::Stale,
        Ok(true) => VerifyState::Clean,
        Ok(false) => VerifyState::Different,
        Err(error) => {
            warn!(%error, "verify could not be finished");
            VerifyState::Stale
        }
    };
    let mut course = migration.course();
    course.verify.state = state;
    course.verify.finished_at = Some(unix_now());
    course.verified = Some(Instant::now());
}

fn prepared(migration: &Migration, direction: &Direction, tally: &Arc<Tally>) -> Verify {
    let env = &migration.env;
    let (primary, secondary) = (direction.primary, direction.primary.other());
    let (survey, tolerance) = (&direction.survey, env.config.expiry_tolerance.as_millis());
    Verify {
        engine: direction.engine.clone(),
        primary: (env.endpoint(primary).clone(), survey.primary.capabilities),
        secondary: (env.endpoint(secondary).clone(), survey.secondary.capabilities),
        databases: env.databases_from(primary),
        leeway: Leeway {
            clock_offset: direction.engine.look(|engine| engine.settings().clock_offset),
            tolerance: i64::try_from(tolerance).unwrap_or(i64::MAX),
        },
        keeps_extras: env.keeps_extras(secondary),
        throttle: env.throttle.clone(),
        tally: tally.clone(),
    }
}

fn publish(migration: &Migration, tally: &Tally) {
    let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let verify = &mut migration.course().verify;
    verify.checked = now(&tally.checked);
    verify.missing = now(&tally.missing);
    verify.extra = now(&tally.extra);
    verify.different = now(&tally.different);
    verify.repaired = now(&tally.repaired);
    let found = tally.found.lock();
    verify.patterns = found.patterns().into_iter().map(pattern).collect();
    verify.samples = found.samples().iter().map(sample).collect();
}

fn pattern((pattern, Alike { missing, extra, different }): (String, Alike)) -> status::Pattern {
    status::Pattern { pattern, missing, extra, different }
}

fn sample(sample: &Sample) -> status::Sample {
    let difference = sample.difference.name().to_owned();
    status::Sample { db: sample.db, key: sample.key.clone(), difference }
}
