//! Measuring the last hour: what clients wait, and what both servers take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::chronicle::Chronicle;
use super::migration::Migration;
use super::shadowing::times;
use crate::admin::audit::unix_now;
use crate::lane::SharedEngine;
use crate::metrics::Totals;
use crate::metrics::history::{Point, STEP};
use crate::metrics::latency::{self, Histogram};
use crate::status::Side;

/// What was counted at the end of the last point.
struct Counted {
    at: Instant,
    clients: Totals,
    engine: Arc<SharedEngine>,
    primary: Vec<u64>,
    secondary: Vec<u64>,
    /// Reads that both were asked: the source, the target.
    reads: [Vec<u64>; 2],
}

/// Adds a point every [`STEP`] seconds until the process ends.
pub(super) async fn keep(chronicle: Arc<Chronicle>) {
    let migration = &chronicle.migration;
    let mut last = Counted::now(migration);
    loop {
        sleep(Duration::from_secs(STEP)).await;
        let now = Counted::now(migration);
        let point = now.since(&last, migration.direction().primary);
        chronicle.history.lock().add(point);
        last = now;
    }
}

impl Counted {
    fn now(migration: &Migration) -> Self {
        let engine = migration.direction().engine.clone();
        Self {
            at: Instant::now(),
            clients: migration.totals(),
            primary: engine.primary_took.counts(),
            secondary: engine.secondary_took.counts(),
            reads: [&migration.env.reads.source, &migration.env.reads.target]
                .map(Histogram::counts),
            engine,
        }
    }

    fn since(&self, last: &Self, primary: Side) -> Point {
        // After a flip both have begun anew, with the sides swapped.
        let same = Arc::ptr_eq(&last.engine, &self.engine);
        let since = |before: &[u64], counts: &[u64]| {
            let before = if same { before } else { &[] };
            times(|share| Histogram::quantile(counts, before, share))
        };
        let first = since(&last.primary, &self.primary);
        let second = since(&last.secondary, &self.secondary);
        let (source, target) = match primary {
            Side::Source => (first, second),
            Side::Target => (second, first),
        };
        let [source_reads, target_reads] = [0, 1].map(|side: usize| {
            let counts = self.reads.get(side).zip(last.reads.get(side));
            times(|share| counts.and_then(|(now, last)| Histogram::quantile(now, last, share)))
        });
        let new = self.clients.all_commands().saturating_sub(last.clients.all_commands());
        let waited = latency::since(&self.clients.waits(), &last.clients.waits());
        Point {
            at: unix_now(),
            lag: self.engine.look(|engine| engine.lag(self.engine.now())) as f64 / 1000.0,
            commands: new as f64 / self.at.duration_since(last.at).as_secs_f64(),
            clients: times(|share| latency::quantile(&Totals::BOUNDS, &waited, share)),
            source,
            target,
            source_reads,
            target_reads,
        }
    }
}
