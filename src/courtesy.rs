//! Giving way to clients: background work takes small steps and rests between them while clients are
//! served, and goes at full speed while none is.
//!
//! *What it is:* whoever knows how many commands clients have sent says so every [`LOOK`]; whoever
//! works through all keys asks how large a step may be, and rests after each.
//!
//! *Guarantees:* a command waits for one small step of each worker at most, and most commands for
//! none; work is slowed down, never stopped.
//!
//! *Must not know:* what the work is, who the clients are.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

/// How often commands are to be counted.
pub const LOOK: Duration = Duration::from_millis(25);
/// So many commands between two looks are clients to give way to; fewer are a health check.
const TRAFFIC: u64 = 3;
/// Clients count as served for so many looks after their last traffic.
const PATIENCE: u32 = 80;
/// Keys in a step while clients are served: some tens of microseconds of a server's time.
const SMALL_STEP: usize = 16;
/// A rest is so many times as long as the step was, and never much longer than [`LONGEST`].
const REST: u32 = 3;
const LONGEST: Duration = Duration::from_millis(50);

/// What background work knows of clients.
#[derive(Debug, Default)]
pub struct Courtesy {
    /// Commands until the last look.
    seen: AtomicU64,
    /// Looks for which clients still count as served.
    left: AtomicU32,
}

impl Courtesy {
    /// Clients have sent so many commands in all. By one caller, every [`LOOK`].
    pub fn look(&self, commands: u64) {
        let new = commands.saturating_sub(self.seen.swap(commands, Ordering::Relaxed));
        let left = match new {
            TRAFFIC.. => PATIENCE,
            _ => self.left.load(Ordering::Relaxed).saturating_sub(1),
        };
        self.left.store(left, Ordering::Relaxed);
    }

    fn clients_are_served(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Keys to take in the next step, `most` when there is nobody to give way to.
    pub fn step(&self, most: usize) -> usize {
        if self.clients_are_served() { most.min(SMALL_STEP) } else { most }
    }

    /// Rests after a step that took so long.
    pub async fn rest(&self, worked: Duration) {
        if self.clients_are_served() {
            sleep((worked * REST).min(LONGEST)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_small_from_the_first_traffic_until_a_while_after_the_last() {
        let courtesy = Courtesy::default();
        courtesy.look(TRAFFIC - 1);
        assert_eq!(courtesy.step(500), 500);
        courtesy.look(3 * TRAFFIC);
        assert_eq!((courtesy.step(500), courtesy.step(8)), (SMALL_STEP, 8));
        for _ in 1..PATIENCE {
            courtesy.look(3 * TRAFFIC);
        }
        assert_eq!(courtesy.step(500), SMALL_STEP);
        courtesy.look(3 * TRAFFIC + 1);
        assert_eq!(courtesy.step(500), 500);
    }
}
