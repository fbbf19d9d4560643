//! What a copy came to, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Keys that the target has now.
    pub(crate) copied: u64,
    /// Keys that it has not, though they were tried again and again.
    pub(crate) failed: u64,
    /// Those of them that the target cannot hold, a line a kind.
    pub(crate) left_out: Vec<String>,
    /// From the first key to the last.
    pub(crate) seconds: f64,
    /// Copied keys a second.
    pub(crate) keys_per_second: f64,
}

impl Summary {
    pub(super) fn new(keys: u64, failed: u64, left_out: Vec<String>, took: Duration) -> Self {
        let copied = keys.saturating_sub(failed);
        let seconds = took.as_secs_f64();
        let keys_per_second = copied as f64 / seconds.max(0.001);
        Self { copied, failed, left_out, seconds, keys_per_second }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { copied, failed, left_out, seconds, keys_per_second } = self;
        for line in left_out {
            writeln!(f, "{line}")?;
        }
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
        let summary = Summary::new(100, 20, vec!["20 keys".to_owned()], Duration::from_secs(2));
        assert_eq!((summary.copied, summary.failed, summary.keys_per_second), (80, 20, 40.0));
        assert_eq!(summary.to_string(), "20 keys\ncopied 80  failed 20  in 2.0 s  (40 keys/s)");
    }
}
