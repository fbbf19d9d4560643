//! What clients' commands were, and how long they took.
//!
//! Each client has a [`Tally`] of its own, which only its task writes: nothing that all threads
//! share is touched on the way of a command. They are added up on demand, as [`Totals`].

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{CommandKind, Label};

/// Upper bounds of the histogram, in nanoseconds: from the fastest round trip on a loopback to the
/// timeout of a patient client.
const BOUNDS: [u64; 16] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

const KINDS: usize = CommandKind::ALL.len();
const NANOSECONDS: f64 = 1e9;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    kinds: [Counts<AtomicU64>; KINDS],
    /// Of all that were answered, in nanoseconds.
    longest: AtomicU64,
}

/// The counts of all clients, those that have left included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    kinds: [Counts<u64>; KINDS],
    longest: u64,
}

#[derive(Clone, Debug, Default)]
struct Counts<N> {
    commands: N,
    /// By bound; the last for what took longer than every bound.
    took: [N; BOUNDS.len() + 1],
    /// In all, in nanoseconds.
    time: N,
}

impl Tally {
    pub(crate) fn came(&self, kind: CommandKind) {
        if let Some(counts) = self.kinds.get(kind.index()) {
            add(&counts.commands, 1);
        }
    }

    pub(crate) fn commands(&self) -> u64 {
        self.kinds.iter().map(|counts| counts.commands.load(Ordering::Relaxed)).sum()
    }

    /// So many commands were answered, so long after they had come.
    pub(crate) fn took(&self, kind: CommandKind, time: Duration, commands: u64) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanoseconds);
        let Some(counts) = self.kinds.get(kind.index()) else { return };
        if let Some(count) = counts.took.get(bucket) {
            add(count, commands);
        }
        add(&counts.time, nanoseconds.saturating_mul(commands));
        if nanoseconds > self.longest.load(Ordering::Relaxed) {
            self.longest.store(nanoseconds, Ordering::Relaxed);
        }
    }
}

/// By the one writer: no other can come between.
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

impl Totals {
    pub(crate) fn add(&mut self, tally: &Tally) {
        self.longest = self.longest.max(tally.longest.load(Ordering::Relaxed));
        for (total, counts) in self.kinds.iter_mut().zip(&tally.kinds) {
            total.commands += counts.commands.load(Ordering::Relaxed);
            total.time = total.time.wrapping_add(counts.time.load(Ordering::Relaxed));
            for (total, count) in total.took.iter_mut().zip(&counts.took) {
                *total += count.load(Ordering::Relaxed);
            }
        }
    }

    /// Commands that have come, of one kind.
    pub(crate) fn commands(&self, kind: CommandKind) -> u64 {
        self.kinds.get(kind.index()).map_or(0, |counts| counts.commands)
    }

    pub(crate) fn all_commands(&self) -> u64 {
        self.kinds.iter().map(|counts| counts.commands).sum()
    }

    /// The longest that a command took, in seconds.
    pub(crate) fn longest(&self) -> f64 {
        self.longest as f64 / NANOSECONDS
    }

    /// Upper ends of [`Self::waits`], in nanoseconds.
    pub(crate) const BOUNDS: [u64; BOUNDS.len()] = BOUNDS;

    /// Commands by how long they took; the last took longer than every bound.
    pub(crate) fn waits(&self) -> Vec<u64> {
        let bucket = |bucket| self.kinds.iter().filter_map(|counts| counts.took.get(bucket)).sum();
        (0..=BOUNDS.len()).map(bucket).collect()
    }

    /// The histogram of durations in Prometheus' text format.
    #[allow(clippy::cast_precision_loss, reason = "a sum of seconds needs no more than 53 bits")]
    pub(super) fn render(&self, name: &str, help: &str, page: &mut String) {
        // Writing to a string does not fail.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (kind, counts) in CommandKind::ALL.iter().zip(&self.kinds) {
            let label = format!("{}=\"{}\"", CommandKind::KEY, kind.name());
            let bounds = BOUNDS.iter().map(|bound| (*bound as f64 / NANOSECONDS).to_string());
            let mut count = 0;
            for (bound, took) in bounds.chain(["+Inf".to_owned()]).zip(counts.took) {
                count += took;
                let _ = writeln!(page, "{name}_bucket{{{label},le=\"{bound}\"}} {count}");
            }
            let seconds = counts.time as f64 / NANOSECONDS;
            let _ = writeln!(page, "{name}_sum{{{label}}} {seconds}");
            let _ = writeln!(page, "{name}_count{{{label}}} {count}");
        }
        page.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(totals: &Totals) -> String {
        let mut page = String::new();
        totals.render("took_seconds", "How long.", &mut page);
        page
    }

    #[test]
    fn buckets_are_cumulative_and_sums_in_seconds() {
        let tally = Tally::default();
        tally.took(CommandKind::Write, Duration::from_micros(40), 3);
        tally.took(CommandKind::Write, Duration::from_millis(2), 2);
        tally.took(CommandKind::Write, Duration::from_secs(60), 1);
        let mut totals = Totals::default();
        totals.add(&tally);
        let page = page(&totals);
        for line in [
            r#"took_seconds_bucket{kind="write",le="0.00005"} 3"#,
            r#"took_seconds_bucket{kind="write",le="0.001"} 3"#,
            r#"took_seconds_bucket{kind="write",le="0.0025"} 5"#,
            r#"took_seconds_bucket{kind="write",le="10"} 5"#,
            r#"took_seconds_bucket{kind="write",le="+Inf"} 6"#,
            r#"took_seconds_count{kind="write"} 6"#,
            r#"took_seconds_sum{kind="write"} 60.00412"#,
            r#"took_seconds_count{kind="read"} 0"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn totals_are_those_of_all_clients() {
        let mut totals = Totals::default();
        for _ in 0..2 {
            let tally = Tally::default();
            tally.came(CommandKind::Read);
            tally.came(CommandKind::Other);
            totals.add(&tally);
        }
        assert_eq!((totals.commands(CommandKind::Read), totals.all_commands()), (2, 4));
    }
}
