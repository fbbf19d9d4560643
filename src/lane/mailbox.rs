//! Where lanes put the replies of one client, in order.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::net::Outgoing;
use crate::resp;

/// The replies that wait for a client's task.
#[derive(Debug, Default)]
pub struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    replies: Outgoing,
    news: News,
    waker: Option<Waker>,
}

/// What has happened since the client's task looked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Steps answered.
    pub answered: u64,
    /// A blocking command found nothing and would wait.
    pub would_block: bool,
    /// A step in flight was lost; the client must be disconnected.
    pub doomed: bool,
}

impl Mailbox {
    /// One step has been answered.
    pub fn answer<'a>(&self, replies: impl IntoIterator<Item = &'a Bytes>) {
        self.update(|inner| {
            for reply in replies {
                inner.replies.push(reply);
            }
            inner.news.answered += 1;
        });
    }

    /// One step is done whose client asked for silence.
    pub fn done(&self) {
        self.update(|inner| inner.news.answered += 1);
    }

    /// One step was refused by us.
    pub fn refuse(&self, reason: &str) {
        self.update(|inner| {
            inner.replies.write(|out| resp::error(out, &format!("ERR crossfade: {reason}")));
            inner.news.answered += 1;
        });
    }

    /// A message that answers no request.
    pub fn push(&self, message: &Bytes) {
        self.update(|inner| inner.replies.push(message));
    }

    /// The blocking command that was tried would wait.
    pub fn would_block(&self) {
        self.update(|inner| {
            inner.news.would_block = true;
            inner.news.answered += 1;
        });
    }

    /// The client must be disconnected.
    pub fn doom(&self) {
        self.update(|inner| inner.news.doomed = true);
    }

    fn update(&self, act: impl FnOnce(&mut Inner)) {
        let mut inner = self.inner.lock();
        act(&mut inner);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes what is there; pending when there is nothing.
    pub fn poll_take(&self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<News> {
        let mut inner = self.inner.lock();
        if inner.replies.is_empty() && inner.news == News::default() {
            match &mut inner.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        out.append(&mut inner.replies);
        Poll::Ready(std::mem::take(&mut inner.news))
    }
}
