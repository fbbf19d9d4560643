//! How much of a pass is left, in words for who waits for it.

use std::time::Duration;

/// How far a pass has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Left {
    pub(in crate::control) scanned: u64,
    /// Of so many, as far as the server knows.
    pub(in crate::control) estimate: u64,
    pub(in crate::control) is_paused: bool,
}

impl Left {
    /// In words, when it has run for so long.
    pub(super) fn after(self, elapsed: Duration) -> String {
        let left = self.estimate.saturating_sub(self.scanned);
        let rate = self.scanned as f64 / elapsed.as_secs_f64().max(0.001);
        match (self.is_paused, left) {
            (true, _) => format!("about {left} keys are left, and it is paused"),
            (false, 0) if self.scanned == 0 => "it has just begun".to_owned(),
            (false, 0) => "the last keys are on their way, in a moment it is done".to_owned(),
            (false, _) if rate < 1.0 => format!("about {left} keys are left"),
            (false, _) => format!("about {left} keys are left, some {:.0} s", left as f64 / rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_with_the_time_that_it_takes() {
        let after = |scanned, estimate, is_paused| {
            Left { scanned, estimate, is_paused }.after(Duration::from_secs(10))
        };
        assert_eq!(after(0, 0, false), "it has just begun");
        assert_eq!(after(100, 300, false), "about 200 keys are left, some 20 s");
        assert_eq!(after(0, 300, false), "about 300 keys are left");
        assert_eq!(after(100, 300, true), "about 200 keys are left, and it is paused");
        assert!(after(301, 300, false).starts_with("the last keys are on their way"));
    }
}
