//! Running a verify in the background.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::warn;

use super::migration::{Migration, unix_now};
use crate::engine::Engine;
use crate::status::{self, VerifyState};
use crate::value::diff::Leeway;
use crate::verify::{Alike, Sample, Tally, Verify};

impl Migration {
    /// Compares everything and keeps the result.
    pub(super) async fn run_verify(self: Arc<Self>) {
        let direction = self.direction();
        // Whoever wrote round the proxy until now is compared with.
        self.look().await;
        let began = Instant::now();
        let tally = Arc::new(Tally::default());
        let (primary, secondary) = (direction.primary, direction.primary.other());
        let survey = &direction.survey;
        let config = &self.world.config;
        let verify = Verify {
            engine: direction.engine.clone(),
            primary: (self.world.endpoint(primary).clone(), survey.primary.capabilities),
            secondary: (self.world.endpoint(secondary).clone(), survey.secondary.capabilities),
            databases: self.world.databases_from(primary),
            leeway: Leeway {
                clock_offset: direction.engine.look(|engine| engine.settings().clock_offset),
                tolerance: i64::try_from(config.expiry_tolerance.as_millis()).unwrap_or(i64::MAX),
            },
            keeps_extras: self.world.keeps_extras(secondary),
            courtesy: self.world.courtesy.clone(),
            tally: tally.clone(),
        };
        let run = verify.run();
        tokio::pin!(run);
        let result = loop {
            tokio::select! {
                result = &mut run => break result,
                () = direction.stop.cancelled() => break Ok(false),
                () = sleep(Duration::from_millis(100)) => self.publish(&tally),
            }
            if direction.engine.look(Engine::is_halted) {
                break Ok(false);
            }
        };
        self.publish(&tally);
        self.look().await;
        let state = match result {
            _ if direction.stop.is_cancelled() => VerifyState::Stale,
            _ if direction.engine.look(Engine::is_halted) => VerifyState::Stale,
            Ok(true) if !self.nobody_wrote_since(began) => VerifyState::Stale,
            Ok(true) => VerifyState::Clean,
            Ok(false) => VerifyState::Different,
            Err(error) => {
                warn!(%error, "verify could not be finished");
                VerifyState::Stale
            }
        };
        let mut inner = self.inner.lock();
        inner.verify.state = state;
        inner.verify.finished_at = Some(unix_now());
        inner.verified = Some(Instant::now());
    }

    fn publish(&self, tally: &Tally) {
        let verify = &mut self.inner.lock().verify;
        verify.checked = tally.checked.load(Ordering::Relaxed);
        verify.missing = tally.missing.load(Ordering::Relaxed);
        verify.extra = tally.extra.load(Ordering::Relaxed);
        verify.different = tally.different.load(Ordering::Relaxed);
        verify.repaired = tally.repaired.load(Ordering::Relaxed);
        let found = tally.found.lock();
        verify.patterns = found.patterns().into_iter().map(pattern).collect();
        verify.samples = found.samples().iter().map(sample).collect();
    }
}

fn pattern((pattern, Alike { missing, extra, different }): (String, Alike)) -> status::Pattern {
    status::Pattern { pattern, missing, extra, different }
}

fn sample(sample: &Sample) -> status::Sample {
    let difference = sample.difference.name().to_owned();
    status::Sample { db: sample.db, key: sample.key.clone(), difference }
}
