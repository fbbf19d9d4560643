//! What clients have given to a lane and it has not taken yet.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Job;

/// A lane that has answered nothing for so long may have a script in front.
const STUCK: Duration = Duration::from_millis(50);

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
        inner.outstanding > 0 && inner.moved.is_some_and(|moved| moved.elapsed() > STUCK)
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
