//! Keeping to a rate.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Progress;

/// Spreads keys over time.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the next key may go.
    due: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { due: Instant::now() }
    }

    /// Waits until `keys` more may go, and while the backfill is paused.
    pub(super) async fn wait(&mut self, keys: usize, progress: &Progress) {
        while progress.is_paused() {
            // A timeout, because the switch may be moved between the look and the wait.
            let _ = timeout(Duration::from_millis(100), progress.changed()).await;
        }
        let Some(rate) = progress.rate() else { return };
        let now = Instant::now();
        self.due = self.due.max(now) + Duration::from_secs_f64(keys as f64 / rate as f64);
        while let Some(wait) = self.due.checked_duration_since(Instant::now()) {
            if wait.is_zero() || progress.rate() != Some(rate) {
                return;
            }
            sleep(wait.min(Duration::from_millis(100))).await;
        }
    }
}
