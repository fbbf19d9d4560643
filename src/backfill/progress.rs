//! How far the backfill has come, and how it is steered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::protocol::payload::Way;

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
