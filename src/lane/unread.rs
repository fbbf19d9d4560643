//! What clients have not read yet: what each has left, and the sum of all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Changes from this size on are added to the sum, in bytes. Most replies are read before that, so
/// clients do not meet at one number for each.
pub(crate) const STEP: usize = 16 * 1024;

/// The sum.
#[derive(Debug)]
pub(crate) struct Unread {
    bytes: AtomicUsize,
    limit: usize,
    grown: Notify,
}

impl Unread {
    /// All clients together may leave so much unread, in bytes.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), limit, grown: Notify::new() })
    }

    /// Waits until it is too much. For one caller.
    pub(crate) async fn overflow(&self) {
        while self.bytes.load(Ordering::Relaxed) <= self.limit {
            self.grown.notified().await;
        }
    }

    fn add(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.limit {
            self.grown.notify_one();
        }
    }
}

/// One client's part of it.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<Unread>,
    /// What the sum knows of it.
    bytes: usize,
}

impl Share {
    pub(super) fn of(all: Arc<Unread>) -> Self {
        Self { all, bytes: 0 }
    }

    /// Nearly what it is.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// It is so much now.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes.abs_diff(self.bytes) < STEP && bytes != 0 {
            return;
        }
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.all.add(bytes - before);
        } else if bytes < before {
            self.all.bytes.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_shares_and_those_that_are_gone_count_no_more() {
        let all = Unread::new(100 * STEP);
        let mut shares = [Share::of(all.clone()), Share::of(all.clone())];
        let sum = || all.bytes.load(Ordering::Relaxed);
        shares[0].set(STEP - 1);
        assert_eq!(sum(), 0, "too little to be told");
        shares[0].set(5 * STEP);
        shares[1].set(7 * STEP + 1);
        assert_eq!((sum(), shares[1].bytes()), (12 * STEP + 1, 7 * STEP + 1));
        shares[1].set(1);
        shares[0].set(0);
        assert_eq!(sum(), 1);
        drop(shares);
        assert_eq!(sum(), 0);
    }

    #[tokio::test]
    async fn an_overflow_is_noticed() {
        let all = Unread::new(STEP);
        let mut share = Share::of(all.clone());
        share.set(STEP + 1);
        all.overflow().await;
    }
}
