//! Reads of clients that the secondary is to be asked too, on their way from a lane to who asks it.
//!
//! *Guarantees:* no client waits for them; they take no more than a fixed room: what finds none is
//! counted and forgotten. While none is wanted, a read costs one look at a number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::engine::Witness;
use crate::protocol::command::{Likeness, likeness, lookup};
use crate::protocol::resp::{Protocol, Request};

/// Reads that wait at once.
const WAITING: usize = 1024;
/// Requests and replies that are larger are let go, in bytes.
const LARGEST: usize = 16 * 1024;
/// Which share of the reads is wanted.
#[derive(Debug, Default)]
pub(crate) struct SampleRate {
    /// So many of a hundred, as the bits of a float.
    percent: AtomicU64,
    reads: AtomicU32,
    /// Reads that were wanted and could not be kept.
    dropped: AtomicU64,
}

impl SampleRate {
    /// So many of a hundred.
    pub(crate) fn set(&self, percent: f64) {
        self.percent.store(percent.max(0.0).to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn percent(&self) -> f64 {
        f64::from_bits(self.percent.load(Ordering::Relaxed))
    }

    /// Whether any is wanted.
    pub(crate) fn is_on(&self) -> bool {
        self.percent.load(Ordering::Relaxed) != 0
    }

    /// Reads that were wanted and of which nothing can be learnt.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the next one is. Steps of the golden ratio: evenly spread, and in time with nobody.
    fn takes(&self) -> bool {
        const STEP: u32 = 0x9e37_79b9;
        let place = self.reads.fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP);
        f64::from(place) / f64::from(u32::MAX) * 100.0 < self.percent() || self.percent() >= 100.0
    }
}

/// A read, and what the primary answered.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) request: Request,
    pub(crate) likeness: Likeness,
    /// The primary's number.
    pub(crate) db: u32,
    /// The client's.
    pub(crate) protocol: Protocol,
    /// From before the primary was asked.
    pub(crate) witness: Witness,
    pub(crate) reply: Bytes,
    /// How long the primary took.
    pub(crate) took: Duration,
    sent: Instant,
}

impl Sample {
    /// It is sent to the primary now.
    pub(super) fn sent(&mut self) {
        self.sent = Instant::now();
    }
}

/// Those that wait for the secondary to be asked, in one direction.
#[derive(Debug)]
pub(crate) struct Shadow {
    pub(crate) rate: Arc<SampleRate>,
    waiting: Mutex<VecDeque<Sample>>,
    came: Notify,
}

impl Shadow {
    pub(super) fn new(rate: Arc<SampleRate>) -> Self {
        Self { rate, waiting: Mutex::default(), came: Notify::new() }
    }

    /// A read that is about to be sent to the primary's `db`, if it is wanted and says anything. Its
    /// keys may not be at rest, and have no witness: then nothing can be learnt from it.
    pub(super) fn sample(
        &self,
        request: &Request,
        db: u32,
        protocol: Protocol,
        witness: impl FnOnce(SmallVec<[Bytes; 2]>) -> Option<Witness>,
    ) -> Option<Box<Sample>> {
        let command = lookup(request)?;
        let likeness = likeness(command.name, request)?;
        let keys = command.keys(request).ok()?;
        if !self.rate.takes() {
            return None;
        }
        // A copy of its own, and the keys lie in that.
        let copy = (request.raw().len() <= LARGEST).then(|| Request::new(request.args()));
        let witness = copy.as_ref().and_then(|copy| {
            witness(keys.iter().filter_map(|key| copy.arg_bytes(key.index)).collect())
        });
        let Some((request, witness)) = copy.zip(witness) else {
            self.rate.drop_one();
            return None;
        };
        let (reply, took, sent) = (Bytes::new(), Duration::ZERO, Instant::now());
        let sample = Sample { request, likeness, db, protocol, witness, reply, took, sent };
        Some(Box::new(sample))
    }

    /// The primary has answered. An error may be the client's own, who has other rights than we.
    pub(super) fn answered(&self, mut sample: Box<Sample>, reply: Option<&Bytes>) {
        let Some(reply) = reply.filter(|reply| reply.len() <= LARGEST && !reply.starts_with(b"-"))
        else {
            return self.rate.drop_one();
        };
        sample.took = sample.sent.elapsed();
        // A copy: the reply is a piece of a much larger buffer.
        sample.reply = Bytes::copy_from_slice(reply);
        let mut waiting = self.waiting.lock();
        if waiting.len() < WAITING {
            waiting.push_back(*sample);
            self.came.notify_one();
        } else {
            self.rate.drop_one();
        }
    }

    /// Waits for some, and takes at most `most`.
    pub(crate) async fn take(&self, most: usize) -> Vec<Sample> {
        loop {
            let taken: Vec<Sample> = {
                let mut waiting = self.waiting.lock();
                let some = waiting.len().min(most);
                waiting.drain(..some).collect()
            };
            if !taken.is_empty() {
                return taken;
            }
            self.came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_wanted_is_taken() {
        let rate = SampleRate::default();
        assert!(!rate.is_on());
        for percent in [0.1, 5.0, 50.0, 100.0, 0.0] {
            rate.set(percent);
            assert_eq!(rate.is_on(), percent > 0.0);
            assert!((rate.percent() - percent).abs() < 1e-9);
            let taken = (0..100_000).filter(|_| rate.takes()).count() as f64;
            assert!((taken / 1000.0 - percent).abs() < 0.01, "{taken} of 100,000 for {percent} %");
        }
    }
}
