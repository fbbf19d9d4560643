//! Log lines about what may happen a thousand times a second: one now and then, with a count.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Decides whether an event is logged, and counts those that were not.
#[derive(Debug, Default)]
pub(crate) struct RateLimited(Mutex<(Option<Instant>, u64)>);

impl RateLimited {
    /// To be asked at each event. `Some`: log it, and that so many before it were not logged.
    pub(crate) fn ask(&self) -> Option<u64> {
        let mut inner = self.0.lock();
        let (logged, skipped) = &mut *inner;
        if logged.is_some_and(|logged| logged.elapsed() < PAUSE) {
            *skipped += 1;
            return None;
        }
        *logged = Some(Instant::now());
        Some(std::mem::take(skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_events_is_logged() {
        let limited = RateLimited::default();
        assert_eq!(limited.ask(), Some(0));
        assert_eq!((limited.ask(), limited.ask()), (None, None));
        assert_eq!(limited.0.lock().1, 2);
    }
}
