//! What clients have given to a lane and it has not taken yet.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::yield_now;

use super::Job;

/// A lane that has answered nothing for so long may have a script in front.
const STUCK_AFTER: Duration = Duration::from_millis(50);

/// So many jobs are worth a system call by themselves.
const JOBS_WORTH_A_CALL: usize = 64;
/// So many looks that found nobody else end the wait. With one instead of five, reads of 50 clients
/// cost up to an eighth more here and three tenths more on the server; a client that is alone waits
/// as long as with one (2026-11-25).
const LOOKS_IN_VAIN: u8 = 5;

/// Between the clients and the lane's task.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: VecDeque<Job>,
    /// Jobs given and not yet answered, those with the lane's task included.
    outstanding: usize,
    /// When the last answer came, or what is outstanding was given to an idle lane.
    moved: Option<Instant>,
    held: bool,
    closed: bool,
    /// Whether the server will not have the lane any more.
    ended: bool,
    waker: Option<Waker>,
}

impl Queue {
    /// Gives jobs; false when the lane is held, or has ended, and none was taken.
    pub(super) fn push(&self, jobs: &mut Vec<Job>) -> bool {
        let mut inner = self.inner.lock();
        if inner.held || inner.ended {
            return false;
        }
        if inner.outstanding == 0 {
            inner.moved = Some(Instant::now());
        }
        inner.outstanding += jobs.len();
        inner.jobs.extend(jobs.drain(..));
        wake(inner);
        true
    }

    /// Takes all jobs; pending when there is none, ready with false when there will be none.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>, jobs: &mut VecDeque<Job>) -> Poll<bool> {
        let mut inner = self.inner.lock();
        if !inner.jobs.is_empty() {
            if jobs.is_empty() {
                std::mem::swap(jobs, &mut inner.jobs);
            } else {
                jobs.append(&mut inner.jobs);
            }
            return Poll::Ready(true);
        }
        if inner.closed && inner.outstanding == 0 {
            return Poll::Ready(false);
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Jobs that wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.inner.lock().jobs.len()
    }

    /// `count` jobs have been answered.
    pub(super) fn answered(&self, count: usize) {
        let mut inner = self.inner.lock();
        inner.outstanding -= count;
        if inner.outstanding > 0 {
            inner.moved = Some(Instant::now());
        }
    }

    /// Whether jobs are outstanding and none has been answered for long.
    pub(super) fn is_stuck(&self) -> bool {
        let inner = self.inner.lock();
        inner.outstanding > 0 && inner.moved.is_some_and(|moved| moved.elapsed() > STUCK_AFTER)
    }

    /// Jobs given and not yet answered.
    pub(super) fn outstanding(&self) -> usize {
        self.inner.lock().outstanding
    }

    /// Takes no more jobs until released.
    pub(super) fn hold(&self, held: bool) {
        self.inner.lock().held = held;
    }

    /// The lane's task ends once everything is answered.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        wake(inner);
    }

    /// Takes no job any more; gives those that nobody has taken.
    pub(super) fn end(&self) -> VecDeque<Job> {
        let mut inner = self.inner.lock();
        inner.ended = true;
        std::mem::take(&mut inner.jobs)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.inner.lock().ended
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }
}

fn wake(mut inner: parking_lot::MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Waiting for the jobs of other clients, for as long as more of them come.
///
/// Clients become ready in batches, and the first one's job wakes the lane's task at once. A system
/// call for each would cost more than all else that is done for it, here and on the server; what
/// comes together costs one write and one read. Nothing is waited for that is not on its way: with
/// nobody else ready it costs a few looks at the sockets. This is how far it has come.
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
        if jobs == 0 || jobs >= JOBS_WORTH_A_CALL || in_vain >= LOOKS_IN_VAIN {
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
        assert_eq!(looks(|| 1).await, 1 + 2 * usize::from(LOOKS_IN_VAIN));
    }

    #[tokio::test]
    async fn jobs_are_waited_for_while_they_come_and_until_they_are_enough() {
        let mut jobs = 0;
        let come = || {
            jobs += 1;
            jobs
        };
        assert!((JOBS_WORTH_A_CALL..=JOBS_WORTH_A_CALL + 1).contains(&looks(come).await));
        assert_eq!(looks(|| JOBS_WORTH_A_CALL).await, 1);
        assert_eq!(looks(|| 0).await, 1);
    }
}
