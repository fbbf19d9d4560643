//! Memory that clients share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What transactions may have queued before their `EXEC`, of all clients together, in bytes. A server
/// disconnects a client that alone queues four times as much.
const ROOM: usize = 256 * 1024 * 1024;

/// So many bytes, for all together.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    taken: AtomicUsize,
}

impl Budget {
    /// What transactions may have queued.
    pub(crate) fn of_queues() -> Arc<Self> {
        Self::new(ROOM)
    }

    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }
}

/// What one of them has taken; it is given back at the latest when this is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Nothing yet.
    pub(in crate::proxy) fn of(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Takes so much more; false, and nothing is taken, when there is no room.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let before = self.budget.taken.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.limit {
            self.budget.taken.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }

    pub(super) fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.budget.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_by_one_is_not_there_for_others_until_it_is_given_back() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (Share::of(budget.clone()), Share::of(budget));
        assert!(one.take(60) && !other.take(60) && other.take(40) && !one.take(1));
        drop(one);
        assert!(other.take(60));
        other.give_back();
        assert!(other.take(100));
    }
}
