//! Giving way to clients: background work takes small steps and rests between them while clients are
//! served, and goes at full speed while none is.
//!
//! *What it is:* whoever knows how many commands clients have sent says so every [`LOOK`], and at
//! once when a client comes; whoever works through all keys asks how large a step may be, and rests
//! after each.
//!
//! *Guarantees:* a command waits for one small step of each worker at most, and most commands for
//! none; work is slowed down, never stopped: where clients keep a server so busy that small steps
//! take long, steps grow, and rests go, until each worker gets `FLOOR` keys a second done.
//!
//! *Must not know:* what the work is, who the clients are.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

/// How often commands are to be counted.
pub const LOOK: Duration = Duration::from_millis(25);
/// So many commands between two looks are clients to give way to; fewer are a health check.
const TRAFFIC: u64 = 3;
/// Clients count as served for so many looks after their last traffic.
const PATIENCE: u32 = 80;
/// … and for so many after one has come, who may be about to send.
const EXPECTANT: u32 = 10;
/// Keys in a step while clients are served: some tens of microseconds of a server's time.
pub const SMALL_STEP: usize = 16;
/// A rest is so many times as long as the step was, unless the floor forbids it.
const REST: u32 = 3;
/// Keys a second that a worker gets done however busy the servers are.
const FLOOR: u32 = 8000;

/// What background work knows of clients.
#[derive(Debug, Default)]
pub struct Courtesy {
    /// Commands until the last look.
    seen: AtomicU64,
    /// Looks for which clients still count as served.
    left: AtomicU32,
    /// Keys that the floor asks for in the time that the last step took.
    due: AtomicUsize,
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

    /// A client has come.
    pub fn expect(&self) {
        self.left.fetch_max(EXPECTANT, Ordering::Relaxed);
    }

    fn clients_are_served(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Keys to take in the next step, `most` when there is nobody to give way to.
    pub fn step(&self, most: usize) -> usize {
        let small = self.due.load(Ordering::Relaxed).max(SMALL_STEP);
        if self.clients_are_served() { most.min(small) } else { most }
    }

    /// Rests after a step over so many keys that took so long. A part of a big value counts as
    /// [`SMALL_STEP`] keys.
    pub async fn rest(&self, keys: usize, worked: Duration) {
        let due = worked.as_millis() * u128::from(FLOOR) / 1000;
        self.due.store(usize::try_from(due).unwrap_or(usize::MAX), Ordering::Relaxed);
        if self.clients_are_served() {
            sleep(length(keys, worked)).await;
        }
    }
}

/// How long to rest after a step.
fn length(keys: usize, worked: Duration) -> Duration {
    let allowed = Duration::from_secs(1) / FLOOR * u32::try_from(keys).unwrap_or(u32::MAX);
    (worked * REST).min(allowed.saturating_sub(worked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_small_from_the_first_traffic_until_a_while_after_the_last() {
        let courtesy = Courtesy::default();
        courtesy.look(TRAFFIC - 1);
        assert_eq!(courtesy.step(500), 500);
        courtesy.expect();
        assert_eq!(courtesy.step(500), SMALL_STEP);
        courtesy.look(3 * TRAFFIC);
        assert_eq!((courtesy.step(500), courtesy.step(8)), (SMALL_STEP, 8));
        for _ in 1..PATIENCE {
            courtesy.look(3 * TRAFFIC);
        }
        assert_eq!(courtesy.step(500), SMALL_STEP);
        courtesy.look(3 * TRAFFIC + 1);
        assert_eq!(courtesy.step(500), 500);
    }

    #[test]
    fn rests_are_long_after_quick_steps_and_short_after_slow_ones() {
        let milliseconds = Duration::from_millis;
        assert_eq!(length(16, Duration::from_micros(300)), Duration::from_micros(900));
        assert_eq!(length(16, milliseconds(1)), milliseconds(1));
        assert_eq!(length(16, milliseconds(3)), Duration::ZERO);
    }

    #[tokio::test]
    async fn steps_grow_where_small_ones_take_long() {
        let courtesy = Courtesy::default();
        courtesy.look(TRAFFIC);
        courtesy.rest(16, Duration::from_millis(10)).await;
        assert_eq!((courtesy.step(500), courtesy.step(20)), (80, 20));
        courtesy.rest(80, Duration::from_millis(1)).await;
        assert_eq!(courtesy.step(500), SMALL_STEP);
    }
}
