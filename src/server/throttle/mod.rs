//! Giving way to clients: background work takes small steps and rests between them while clients are
//! served, and goes at full speed while none is.
//!
//! *What it is:* the proxy, or a look at the server, tells every [`LOOK`] how many commands clients
//! have sent, and at once when a client comes; what works through all keys asks how large a step may be,
//! and rests after each.
//!
//! *Guarantees:* a command waits for one small step of each worker at most, and most commands for
//! none; work is slowed down, never stopped: where clients keep a server so busy that small steps
//! take long, steps grow, and rests go, until each worker gets `FLOOR` keys a second done. Keys in
//! doubt are no background work: their copying is in a hurry, and its floor is higher.
//!
//! *Must not know:* what the work is, who the clients are.

pub(crate) mod foreign_load;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

/// How often commands are to be counted.
pub(crate) const LOOK: Duration = Duration::from_millis(25);
/// So many commands between two looks are clients to give way to; fewer are a health check.
const TRAFFIC: u64 = 3;
/// Clients count as served for so many looks after their last traffic.
const PATIENCE: u32 = 80;
/// … and for so many after one has come, which may be about to send.
const EXPECTANT: u32 = 10;
/// Keys in a step while clients are served: some tens of microseconds of a server's time.
pub(crate) const SMALL_STEP: usize = 16;
/// A rest is so many times as long as the step was, unless the floor forbids it.
const REST: u32 = 3;
/// Keys a second that a worker gets done however busy the servers are.
const FLOOR: u32 = 8000;
/// … and while there is a hurry.
const HURRIED_FLOOR: u32 = 64_000;
/// So many of the largest steps in one then, at most.
const HURRIED_STEPS: usize = 4;

/// What background work knows of clients.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// Commands until the last look.
    seen: AtomicU64,
    /// Looks for which clients still count as served.
    left: AtomicU32,
    /// Keys that the floor asks for in the time that the last step took.
    due: AtomicUsize,
    /// How many are in a hurry.
    hurried: AtomicUsize,
}

/// Work is done in a hurry as long as this lives.
#[derive(Debug)]
pub(crate) struct Hurry<'a>(&'a Throttle);

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.hurried.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Throttle {
    /// Clients have sent so many commands in all. By one caller, every [`LOOK`].
    pub(crate) fn look(&self, commands: u64) {
        let new = commands.saturating_sub(self.seen.swap(commands, Ordering::Relaxed));
        let left = match new {
            TRAFFIC.. => PATIENCE,
            _ => self.left.load(Ordering::Relaxed).saturating_sub(1),
        };
        self.left.store(left, Ordering::Relaxed);
    }

    pub(crate) fn expect(&self) {
        self.left.fetch_max(EXPECTANT, Ordering::Relaxed);
    }

    /// Something waits for the work to be done.
    pub(crate) fn hurry(&self) -> Hurry<'_> {
        self.hurried.fetch_add(1, Ordering::Relaxed);
        Hurry(self)
    }

    fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed) > 0
    }

    fn floor(&self) -> u32 {
        if self.is_hurried() { HURRIED_FLOOR } else { FLOOR }
    }

    /// Whether there is somebody to give way to.
    pub(crate) fn clients_are_served(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Keys to take in the next step, `most` when there is nobody to give way to. Where there is a
    /// hurry and answers take long it may be some times as many: each way back and forth costs more.
    pub(crate) fn step(&self, most: usize) -> usize {
        let due = self.due.load(Ordering::Relaxed);
        match (self.clients_are_served(), self.is_hurried()) {
            (false, _) => most,
            (true, false) => most.min(due.max(SMALL_STEP)),
            (true, true) => due.clamp(SMALL_STEP, HURRIED_STEPS * most.max(SMALL_STEP)),
        }
    }

    /// Rests after a step over so many keys that took so long. A part of a big value counts as
    /// [`SMALL_STEP`] keys.
    pub(crate) async fn rest(&self, keys: usize, worked: Duration) {
        let floor = self.floor();
        let due = worked.as_micros() * u128::from(floor) / 1_000_000;
        self.due.store(usize::try_from(due).unwrap_or(usize::MAX), Ordering::Relaxed);
        if self.clients_are_served() {
            sleep(length(keys, worked, floor)).await;
        }
    }
}

/// How long to rest after a step.
fn length(keys: usize, worked: Duration, floor: u32) -> Duration {
    let allowed = Duration::from_secs(1) / floor * u32::try_from(keys).unwrap_or(u32::MAX);
    (worked * REST).min(allowed.saturating_sub(worked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_small_from_the_first_traffic_until_a_while_after_the_last() {
        let throttle = Throttle::default();
        throttle.look(TRAFFIC - 1);
        assert_eq!(throttle.step(500), 500);
        throttle.expect();
        assert_eq!(throttle.step(500), SMALL_STEP);
        throttle.look(3 * TRAFFIC);
        assert_eq!((throttle.step(500), throttle.step(8)), (SMALL_STEP, 8));
        for _ in 1..PATIENCE {
            throttle.look(3 * TRAFFIC);
        }
        assert_eq!(throttle.step(500), SMALL_STEP);
        throttle.look(3 * TRAFFIC + 1);
        assert_eq!(throttle.step(500), 500);
    }

    #[test]
    fn rests_are_long_after_quick_steps_and_short_after_slow_ones() {
        let milliseconds = Duration::from_millis;
        assert_eq!(length(16, Duration::from_micros(300), FLOOR), Duration::from_micros(900));
        assert_eq!(length(16, milliseconds(1), FLOOR), milliseconds(1));
        assert_eq!(length(16, milliseconds(3), FLOOR), Duration::ZERO);
    }

    #[tokio::test]
    async fn who_is_in_a_hurry_takes_larger_steps_and_hardly_rests() {
        let throttle = Throttle::default();
        throttle.look(TRAFFIC);
        let hurry = throttle.hurry();
        assert_eq!(throttle.step(500), SMALL_STEP);
        throttle.rest(16, Duration::from_millis(1)).await;
        assert_eq!((throttle.step(500), throttle.floor()), (64, HURRIED_FLOOR));
        assert_eq!(length(16, Duration::from_millis(1), throttle.floor()), Duration::ZERO);
        throttle.rest(64, Duration::from_millis(10)).await;
        assert_eq!((throttle.step(128), throttle.step(500)), (512, 640));
        drop(hurry);
        throttle.rest(16, Duration::from_millis(1)).await;
        assert_eq!(throttle.step(500), SMALL_STEP);
    }

    #[tokio::test]
    async fn steps_grow_where_small_ones_take_long() {
        let throttle = Throttle::default();
        throttle.look(TRAFFIC);
        throttle.rest(16, Duration::from_millis(10)).await;
        assert_eq!((throttle.step(500), throttle.step(20)), (80, 20));
        throttle.rest(80, Duration::from_millis(1)).await;
        assert_eq!(throttle.step(500), SMALL_STEP);
    }
}
