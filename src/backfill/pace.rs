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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keys_are_spread_over_the_time_that_the_rate_gives_them() {
        let (mut pace, progress, began) = (Pace::new(), Progress::default(), Instant::now());
        pace.wait(1_000_000, &progress).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "there is no limit");
        progress.limit(Some(100));
        for _ in 0..3 {
            pace.wait(50, &progress).await;
        }
        assert_eq!(began.elapsed().as_millis() / 10, 150);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_lifted_ends_the_wait_and_a_pause_lasts_until_it_is_over() {
        let (mut pace, progress, began) =
            (Pace::new(), Arc::new(Progress::default()), Instant::now());
        progress.limit(Some(1));
        let told = progress.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(2)).await;
            told.limit(None);
            told.pause(true);
            sleep(Duration::from_secs(3)).await;
            told.pause(false);
        });
        pace.wait(1_000, &progress).await;
        assert_eq!(began.elapsed().as_secs(), 2);
        pace.wait(1_000, &progress).await;
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}
