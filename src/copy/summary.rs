//! What a copy came to, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Counts and time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Keys that the target has now.
    pub copied: u64,
    /// Keys that it has not, though they were tried again and again.
    pub failed: u64,
    /// From the first key to the last.
    pub seconds: f64,
    /// Copied keys a second.
    pub keys_per_second: f64,
}

impl Summary {
    pub(super) fn new(keys: u64, failed: u64, took: Duration) -> Self {
        let copied = keys.saturating_sub(failed);
        let seconds = took.as_secs_f64();
        Self { copied, failed, seconds, keys_per_second: copied as f64 / seconds.max(0.001) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { copied, failed, seconds, keys_per_second } = self;
        write!(
            f,
            "copied {copied}  failed {failed}  in {seconds:.1} s  ({keys_per_second:.0} keys/s)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_not_counted_as_copied() {
        let summary = Summary::new(100, 20, Duration::from_secs(2));
        assert_eq!((summary.copied, summary.failed, summary.keys_per_second), (80, 20, 40.0));
        assert_eq!(summary.to_string(), "copied 80  failed 20  in 2.0 s  (40 keys/s)");
    }
}
