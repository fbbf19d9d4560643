//! How far the backfill has come, and how it is steered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::protocol::payload::Way;

/// Over less time keys are not counted.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Counts and switches, shared by all who copy and all who look.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    scanned: AtomicU64,
    failed: AtomicU64,
    /// Values sent as they were, under a new footer, by commands.
    ways: [AtomicU64; 3],
    estimate: AtomicU64,
    paused: AtomicBool,
    /// Keys a second; 0 is no limit.
    rate: AtomicU64,
    changed: Notify,
    speed: Mutex<Speed>,
}

/// Keys a second, between looks that are not too close together.
#[derive(Debug, Default)]
struct Speed {
    last: Option<(Instant, u64)>,
    keys_per_second: f64,
}

impl Speed {
    fn look(&mut self, copied: u64) -> f64 {
        let now = Instant::now();
        let (then, before) = *self.last.get_or_insert((now, copied));
        let elapsed = now.duration_since(then);
        if elapsed >= BETWEEN_LOOKS {
            self.keys_per_second = copied.saturating_sub(before) as f64 / elapsed.as_secs_f64();
            self.last = Some((now, copied));
        }
        self.keys_per_second
    }
}

impl Progress {
    /// A pass begins over this many keys.
    pub(crate) fn begin(&self, estimate: u64) {
        self.scanned.store(0, Ordering::Relaxed);
        self.estimate.store(estimate, Ordering::Relaxed);
    }

    pub(super) fn scanned_more(&self, keys: usize) {
        self.scanned.fetch_add(keys as u64, Ordering::Relaxed);
    }

    pub(super) fn failed_more(&self, keys: usize) {
        self.failed.fetch_add(keys as u64, Ordering::Relaxed);
    }

    pub(super) fn went(&self, way: Way) {
        let [as_it_is, rewritten, by_commands] = &self.ways;
        let count = match way {
            Way::AsIs => as_it_is,
            Way::Footer(_) => rewritten,
            Way::Commands => by_commands,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Values sent as their payloads were, under a footer written anew, by commands.
    pub(crate) fn ways(&self) -> [u64; 3] {
        self.ways.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Keys seen by the scan.
    pub(crate) fn scanned(&self) -> u64 {
        self.scanned.load(Ordering::Relaxed)
    }

    /// Copies that failed; each is tried again.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Keys that there were when the pass began.
    pub(crate) fn estimate(&self) -> u64 {
        self.estimate.load(Ordering::Relaxed)
    }

    /// How fast keys are copied, when so many have been.
    pub(crate) fn keys_per_second(&self, copied: u64) -> f64 {
        self.speed.lock().look(copied)
    }

    /// Whether the operator has paused it.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Pauses or resumes.
    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// The limit in keys a second.
    pub(crate) fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    /// Sets or lifts the limit.
    pub(crate) fn limit(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Waits until one of the switches is moved.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_speed_is_that_between_the_last_two_looks_that_were_far_enough_apart() {
        let progress = Progress::default();
        let mut speeds = Vec::new();
        for copied in [100, 600, 700, 1_600, 1_600] {
            speeds.push(progress.keys_per_second(copied));
            advance(Duration::from_millis(250)).await;
        }
        assert_eq!(speeds, [0.0, 0.0, 1_200.0, 1_200.0, 1_800.0]);
    }
}
