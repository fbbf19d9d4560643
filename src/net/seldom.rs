//! What may happen a thousand times a second is worth a log line now and then.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Decides whether an event is told, and counts those that were not.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// To be asked at each event. `Some`: tell it, and that so many before it went untold.
    pub fn ask(&self) -> Option<u64> {
        let mut inner = self.0.lock();
        let (told, untold) = &mut *inner;
        if told.is_some_and(|told| told.elapsed() < PAUSE) {
            *untold += 1;
            return None;
        }
        *told = Some(Instant::now());
        Some(std::mem::take(untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_events_is_told() {
        let seldom = Seldom::default();
        assert_eq!(seldom.ask(), Some(0));
        assert_eq!((seldom.ask(), seldom.ask()), (None, None));
        assert_eq!(seldom.0.lock().1, 2);
    }
}
