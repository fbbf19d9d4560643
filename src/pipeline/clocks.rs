//! Watching the difference of the two servers' clocks, which changes when one of them is set.
//!
//! The end of each key stands on the secondary in its own time. When a clock is set, all of them are
//! wrong at once, so everything is copied again. What clocks drift apart without being set is left
//! alone until it amounts to as much.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::survey::connect;
use crate::lane::SharedEngine;
use crate::server::{ClockGap, Connection, Endpoint, OneBroke};

/// How often the clocks are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A difference that changes by so much, in milliseconds, is a step.
const STEP: i64 = 1000;

/// The clocks of one direction's servers.
pub(super) struct Clocks {
    pub(super) engine: Arc<SharedEngine>,
    pub(super) primary: Endpoint,
    pub(super) secondary: Endpoint,
}

impl Clocks {
    /// Watches until `stop`.
    pub(super) async fn watch(self, stop: CancellationToken) {
        let looking = async {
            loop {
                // That a server is away is for others to tell.
                if let (Ok(mut primary), Ok(mut secondary)) =
                    (connect(&self.primary).await, connect(&self.secondary).await)
                {
                    let _ = self.look(&mut primary, &mut secondary).await;
                }
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = stop.cancelled() => {}
        }
    }

    /// Looks until a connection breaks.
    async fn look(
        &self,
        primary: &mut Connection,
        secondary: &mut Connection,
    ) -> Result<(), OneBroke> {
        loop {
            let gap = ClockGap::measure(primary, secondary).await?;
            let known = self.engine.look(|engine| engine.settings().clock_offset);
            if is_step(known, gap) {
                self.engine.with(|engine| engine.set_clock_offset(gap.offset));
                let milliseconds = gap.offset - known;
                warn!(milliseconds, "a server's clock was set: keys are copied again");
            }
            sleep(LOOK).await;
        }
    }
}

/// Whether the clocks are surely not as far apart as they were.
fn is_step(known: i64, gap: ClockGap) -> bool {
    gap.offset.abs_diff(known) >= (STEP + gap.uncertainty).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_from_drift_and_from_a_server_that_answers_late() {
        let gap = |offset, uncertainty| ClockGap { offset, uncertainty };
        assert!(is_step(0, gap(-3_600_000, 40)));
        assert!(is_step(3_600_000, gap(0, 0)));
        assert!(!is_step(0, gap(400, 1)));
        assert!(!is_step(2_000, gap(4_900, 2_000)));
    }
}
