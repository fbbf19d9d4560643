//! Measuring the last hour: what clients wait, and what both servers take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::migration::{Migration, unix_now};
use crate::lane::SharedEngine;
use crate::metrics::Totals;
use crate::metrics::history::{Point, STEP, Times};
use crate::metrics::latency::{self, Histogram};
use crate::proxy::Registry;
use crate::status::Side;

/// What was counted at the end of the last point.
struct Counted {
    at: Instant,
    clients: Totals,
    engine: Arc<SharedEngine>,
    primary: Vec<u64>,
    secondary: Vec<u64>,
}

impl Migration {
    /// Adds a point every [`STEP`] seconds until the process ends.
    pub(super) async fn keep_history(self: Arc<Self>) {
        let mut last = self.count();
        loop {
            sleep(Duration::from_secs(STEP)).await;
            let now = self.count();
            let point = self.point(&last, &now);
            self.chronicle.history.lock().add(point);
            last = now;
        }
    }

    fn count(&self) -> Counted {
        let engine = self.direction().engine.clone();
        Counted {
            at: Instant::now(),
            clients: self.registry().map(Registry::totals).unwrap_or_default(),
            primary: engine.primary_took.counts(),
            secondary: engine.secondary_took.counts(),
            engine,
        }
    }

    fn point(&self, last: &Counted, now: &Counted) -> Point {
        // After a flip both have begun anew, with the sides swapped.
        let same = Arc::ptr_eq(&last.engine, &now.engine);
        let since = |before: &[u64], counts: &[u64]| {
            let before = if same { before } else { &[] };
            times(|share| Histogram::quantile(counts, before, share))
        };
        let primary = since(&last.primary, &now.primary);
        let secondary = since(&last.secondary, &now.secondary);
        let (source, target) = match self.direction().primary {
            Side::Source => (primary, secondary),
            Side::Target => (secondary, primary),
        };
        let new = now.clients.all_commands().saturating_sub(last.clients.all_commands());
        let waited = latency::since(&now.clients.waits(), &last.clients.waits());
        Point {
            at: unix_now(),
            lag: now.engine.with(|engine| engine.lag(now.engine.now())) as f64 / 1000.0,
            commands: new as f64 / now.at.duration_since(last.at).as_secs_f64(),
            clients: times(|share| latency::quantile(&Totals::BOUNDS, &waited, share)),
            source,
            target,
        }
    }
}

fn times(quantile: impl Fn(f64) -> Option<f64>) -> Times {
    Times { p50: quantile(0.5), p99: quantile(0.99) }
}
