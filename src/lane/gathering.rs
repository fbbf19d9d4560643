//! Waiting for the jobs of other clients, for as long as more of them come.
//!
//! Clients become ready in batches, and the first one's job wakes the lane's task at once. A system
//! call for each would cost more than all else that is done for it, here and on the server; what
//! comes together costs one write and one read. Nothing is waited for that is not on its way: with
//! nobody else ready it costs a few looks at the sockets.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::task::yield_now;

/// So many jobs are worth a system call by themselves.
const ENOUGH: usize = 64;
/// So many looks that found nobody else end the wait. With one instead of five, reads of 50 clients
/// cost up to an eighth more here and three tenths more on the server; a client that is alone waits
/// as long as with one (2026-11-25).
const PATIENCE: u8 = 5;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Jobs that were there at the last look.
    jobs: usize,
    /// Looks since that found nobody else.
    in_vain: u8,
    /// Whether the sockets have been asked since; who is ready there comes before this task.
    asked: bool,
}

impl Gathering {
    /// Ready when there is nothing to wait with, when `jobs` that wait are enough, or when no more
    /// come.
    pub(super) fn poll(&mut self, jobs: usize, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.asked) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let in_vain = if jobs > self.jobs { 0 } else { self.in_vain + 1 };
        if jobs == 0 || jobs >= ENOUGH || in_vain >= PATIENCE {
            *self = Self::default();
            return Poll::Ready(());
        }
        *self = Self { jobs, in_vain, asked: true };
        // The runtime asks the sockets before it goes on with who yields.
        pin!(yield_now()).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn looks(mut jobs: impl FnMut() -> usize) -> usize {
        let (mut gathering, mut looks) = (Gathering::default(), 0);
        std::future::poll_fn(|cx| {
            looks += 1;
            gathering.poll(jobs(), cx)
        })
        .await;
        looks
    }

    #[tokio::test]
    async fn a_job_that_stays_alone_waits_for_no_more_than_a_few_looks_at_the_sockets() {
        assert_eq!(looks(|| 1).await, 1 + 2 * usize::from(PATIENCE));
    }

    #[tokio::test]
    async fn jobs_are_waited_for_while_they_come_and_until_they_are_enough() {
        let mut jobs = 0;
        let come = || {
            jobs += 1;
            jobs
        };
        assert!((ENOUGH..=ENOUGH + 1).contains(&looks(come).await));
        assert_eq!(looks(|| ENOUGH).await, 1);
        assert_eq!(looks(|| 0).await, 1);
    }
}
