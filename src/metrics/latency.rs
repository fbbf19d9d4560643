//! How long a server takes: a histogram that many may write to, and quantiles of histograms.
//!
//! *Guarantees:* a clock is asked twice for each answer that is waited for at a time, however many
//! commands are under way; memory is fixed.
//!
//! *Must not know:* whose time it is.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Four bounds an octave, from a microsecond to a minute, and one for what takes longer.
const BOUNDS: [u64; 105] = bounds();

#[allow(clippy::indexing_slicing, reason = "it is done when this is compiled, or not at all")]
const fn bounds() -> [u64; 105] {
    let (mut bounds, mut place) = ([u64::MAX; 105], 0);
    while place < 104 {
        bounds[place] = (1_000_u64 << (place / 4)) / 4 * (4 + place as u64 % 4);
        place += 1;
    }
    bounds
}

/// Counts by how long it took.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BOUNDS.len()],
    /// In all, in nanoseconds.
    time: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BOUNDS.len()], time: AtomicU64::new(0) }
    }
}

/// What was counted, and how long all of it took, in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Took {
    counts: Vec<u64>,
    seconds: f64,
}

impl Histogram {
    pub(crate) fn add(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanoseconds);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.time.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// The same for [`render`].
    pub(crate) fn took(&self) -> Took {
        let nanoseconds = self.time.load(Ordering::Relaxed);
        Took { counts: self.counts(), seconds: nanoseconds as f64 / 1e9 }
    }

    /// Below which time so large a share of what was counted since `before` lies, in seconds.
    pub(crate) fn quantile(counts: &[u64], before: &[u64], share: f64) -> Option<f64> {
        quantile(&BOUNDS, &since(counts, before), share)
    }
}

/// A family of histograms in Prometheus' text format, with a bound an octave.
pub(crate) fn render(
    (name, help): (&str, &str),
    label: &str,
    family: &[(&str, Took)],
    page: &mut String,
) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} histogram");
    for (value, took) in family {
        let all: u64 = took.counts.iter().sum();
        let below = |end: usize| took.counts.iter().take(end).sum::<u64>();
        let octaves =
            BOUNDS.iter().enumerate().filter(|(place, bound)| place % 4 == 0 && **bound < u64::MAX);
        for (place, bound) in octaves {
            let (bound, count) = (*bound as f64 / 1e9, below(place + 1));
            let _ = writeln!(page, "{name}_bucket{{{label}=\"{value}\",le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(page, "{name}_bucket{{{label}=\"{value}\",le=\"+Inf\"}} {all}");
        let _ = writeln!(page, "{name}_sum{{{label}=\"{value}\"}} {}", took.seconds);
        let _ = writeln!(page, "{name}_count{{{label}=\"{value}\"}} {all}");
    }
    page.push('\n');
}

/// What was counted after `before`; all of it, if that is empty.
pub(crate) fn since(counts: &[u64], before: &[u64]) -> Vec<u64> {
    let before = before.iter().chain(std::iter::repeat(&0));
    counts.iter().zip(before).map(|(now, then)| now.saturating_sub(*then)).collect()
}

/// Below which time so large a share lies, in seconds, taking what is in a bucket to be spread evenly
/// over it. `bounds` are the buckets' upper ends in nanoseconds.
pub(crate) fn quantile(bounds: &[u64], counts: &[u64], share: f64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    let wanted = share * all as f64;
    let (mut below, mut lower) = (0.0, 0.0);
    for (bound, count) in bounds.iter().map(|bound| *bound as f64 / 1e9).zip(counts) {
        let count = *count as f64;
        // Beyond the last bound nobody knows how far.
        if count > 0.0 && below + count >= wanted {
            let upper = if bound > 1e9 { lower } else { bound };
            return Some(lower + (upper - lower) * (wanted - below) / count);
        }
        (below, lower) = (below + count, bound);
    }
    (all > 0).then_some(lower)
}

/// Times one of a row of things that are answered in the order in which they were sent, then another.
#[derive(Debug, Default)]
pub(crate) struct Sampler(Option<(Instant, usize)>);

impl Sampler {
    /// Something is sent behind so many that are not answered.
    pub(crate) fn sent(&mut self, ahead: usize) {
        self.0.get_or_insert_with(|| (Instant::now(), ahead));
    }

    /// The oldest that was not answered is.
    pub(crate) fn answered(&mut self, histogram: &Histogram) {
        match &mut self.0 {
            Some((since, 0)) => {
                histogram.add(since.elapsed());
                self.0 = None;
            }
            Some((_, ahead)) => *ahead -= 1,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_a_bucket_of_the_truth() {
        let histogram = Histogram::default();
        for microseconds in 1..=1000 {
            histogram.add(Duration::from_micros(microseconds));
        }
        let counts = histogram.counts();
        for (share, truth) in [(0.5, 500e-6), (0.99, 990e-6)] {
            let found = Histogram::quantile(&counts, &[], share).unwrap();
            assert!((found / truth - 1.0).abs() < 0.2, "{found} for {truth}");
        }
        assert_eq!(Histogram::quantile(&counts, &counts, 0.5), None);
    }

    #[test]
    fn what_takes_longer_than_every_bound_is_as_long_as_the_last() {
        let histogram = Histogram::default();
        histogram.add(Duration::from_secs(3600));
        let found = Histogram::quantile(&histogram.counts(), &[], 0.99).unwrap();
        assert!((50.0..70.0).contains(&found), "{found}");
    }

    #[test]
    fn a_page_has_a_bucket_an_octave_and_the_sum_of_all() {
        let histogram = Histogram::default();
        histogram.add(Duration::from_micros(3));
        histogram.add(Duration::from_secs(2));
        let mut page = String::new();
        render(("took", "How long."), "side", &[("source", histogram.took())], &mut page);
        for line in [
            "# TYPE took histogram",
            r#"took_bucket{side="source",le="0.000002"} 0"#,
            r#"took_bucket{side="source",le="0.000004"} 1"#,
            r#"took_bucket{side="source",le="+Inf"} 2"#,
            r#"took_sum{side="source"} 2.000003"#,
            r#"took_count{side="source"} 2"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(page.lines().count() < 40);
    }

    #[test]
    fn one_at_a_time_is_timed() {
        let (mut sampler, histogram) = (Sampler::default(), Histogram::default());
        let counted = || histogram.counts().iter().sum::<u64>();
        sampler.sent(1);
        sampler.sent(2);
        sampler.answered(&histogram);
        assert_eq!(counted(), 0);
        sampler.answered(&histogram);
        assert_eq!(counted(), 1);
        sampler.answered(&histogram);
        assert_eq!(counted(), 1);
    }
}
