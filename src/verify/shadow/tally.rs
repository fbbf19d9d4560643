//! What has come of shadow reads.
//!
//! *Guarantees:* it does not grow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::lane::Sample;
use crate::metrics::latency::Histogram;

/// Reads that are named.
const NAMED: usize = 20;
/// Letters of a key's name.
const LETTERS: usize = 200;

/// What came of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Equal,
    Different,
    /// The secondary would not answer.
    Refused,
    /// Nothing could be learnt.
    Discarded,
}

/// A read that was answered otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unlike {
    /// The primary's database.
    pub db: u32,
    /// The first key, with what can't be shown escaped.
    pub key: String,
    /// The command.
    pub command: String,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct ReadTally {
    equal: AtomicU64,
    different: AtomicU64,
    refused: AtomicU64,
    discarded: AtomicU64,
    unlike: Mutex<Vec<Unlike>>,
    /// How long the source took.
    pub source: Histogram,
    /// How long the target took.
    pub target: Histogram,
}

impl Unlike {
    pub(super) fn of(sample: &Sample) -> Self {
        let letters = |text: &[u8]| text.escape_ascii().take(LETTERS).map(char::from).collect();
        let key = sample.witness.keys().next().map_or_else(String::new, |key| letters(key));
        let command = letters(&sample.request.name().to_ascii_uppercase());
        Self { db: sample.db, key, command }
    }
}

impl ReadTally {
    pub(super) fn count(&self, outcome: Outcome, reads: usize) {
        let counter = match outcome {
            Outcome::Equal => &self.equal,
            Outcome::Different => &self.different,
            Outcome::Refused => &self.refused,
            Outcome::Discarded => &self.discarded,
        };
        counter.fetch_add(reads as u64, Ordering::Relaxed);
    }

    pub(super) fn took(&self, from_source: bool, primary: Duration, secondary: Duration) {
        let (of_primary, of_secondary) =
            if from_source { (&self.source, &self.target) } else { (&self.target, &self.source) };
        of_primary.add(primary);
        of_secondary.add(secondary);
    }

    pub(super) fn keep(&self, unlike: Unlike) {
        let mut kept = self.unlike.lock();
        if kept.len() < NAMED && !kept.contains(&unlike) {
            kept.push(unlike);
        }
    }

    /// Reads that both servers answered alike.
    pub(crate) fn equal(&self) -> u64 {
        self.equal.load(Ordering::Relaxed)
    }

    /// Reads that they did not.
    pub(crate) fn different(&self) -> u64 {
        self.different.load(Ordering::Relaxed)
    }

    /// Reads that the secondary would not answer.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Reads of which nothing could be learnt.
    pub(crate) fn discarded(&self) -> u64 {
        self.discarded.load(Ordering::Relaxed)
    }

    /// Some of those that were answered otherwise.
    pub(crate) fn unlike(&self) -> Vec<Unlike> {
        self.unlike.lock().clone()
    }
}
