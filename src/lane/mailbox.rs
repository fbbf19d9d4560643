//! Where lanes put the replies of one client, in order.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::engine::Gate;
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
    /// Replies that wait for the secondary, and those behind them.
    held: VecDeque<Held>,
    waker: Option<Waker>,
    /// Nobody will read what comes: it is not kept.
    closed: bool,
}

/// The replies to one step.
#[derive(Debug)]
struct Held {
    gate: Option<Gate>,
    since: Instant,
    replies: Vec<Bytes>,
    news: News,
}

/// What has happened since the client's task looked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each tells of an event of its own")]
pub struct News {
    /// Steps answered.
    pub answered: u64,
    /// Of those, how many we had to refuse ourselves.
    pub refused: u64,
    /// A blocking command found nothing and would wait.
    pub would_block: bool,
    /// A command that the server was to queue was refused: its transaction will fail.
    pub spoiled: bool,
    /// A step in flight was lost; the client must be disconnected.
    pub doomed: bool,
    /// Something has changed that concerns every client.
    pub called: bool,
}

impl Inner {
    fn take(&mut self, replies: &[Bytes], news: News) {
        for reply in replies {
            self.keep(reply);
        }
        self.news.answered += news.answered;
        self.news.refused += news.refused;
        self.news.would_block |= news.would_block;
        self.news.spoiled |= news.spoiled;
        self.news.doomed |= news.doomed;
        self.news.called |= news.called;
    }

    fn keep(&mut self, reply: &Bytes) {
        if !self.closed {
            self.replies.push(reply);
        }
    }

    /// In the order of the steps: behind those that wait.
    fn add(&mut self, replies: &[Bytes], news: News) {
        if self.held.is_empty() {
            return self.take(replies, news);
        }
        let (since, replies) = (Instant::now(), replies.to_vec());
        self.held.push_back(Held { gate: None, since, replies, news });
    }
}

impl Mailbox {
    /// One step has been answered.
    pub fn answer(&self, replies: &[Bytes]) {
        self.update(|inner| inner.add(replies, News { answered: 1, ..News::default() }));
    }

    /// One step has been answered by the primary; the client is told when the gate opens.
    pub(super) fn answer_behind(&self, gate: Gate, replies: &[Bytes]) {
        let (since, replies) = (Instant::now(), replies.to_vec());
        let news = News { answered: 1, ..News::default() };
        let held = Held { gate: Some(gate), since, replies, news };
        let mut inner = self.inner.lock();
        if !inner.closed {
            inner.held.push_back(held);
        }
    }

    /// Lets out what waits for gates that are open; true while something still waits.
    pub(super) fn release(&self, mut is_open: impl FnMut(&mut Gate) -> bool) -> bool {
        let mut inner = self.inner.lock();
        let mut moved = false;
        let mut opens = |held: &mut Held| held.gate.as_mut().is_none_or(&mut is_open);
        while inner.held.front_mut().is_some_and(&mut opens) {
            if let Some(held) = inner.held.pop_front() {
                inner.take(&held.replies, held.news);
                moved = true;
            }
        }
        let waits = !inner.held.is_empty();
        let waker = if moved { inner.waker.take() } else { None };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        waits
    }

    /// Since when the oldest reply waits for its gate.
    pub(super) fn held_since(&self) -> Option<Instant> {
        self.inner.lock().held.front().map(|held| held.since)
    }

    /// One step is done whose client asked for silence.
    pub fn done(&self) {
        self.answer(&[]);
    }

    /// One step was refused by us, and so was each of the `count` commands in it.
    pub fn refuse(&self, reason: &str, count: usize) {
        let mut text = bytes::BytesMut::new();
        resp::error(&mut text, &format!("ERR crossfade: {reason}"));
        let news = News { answered: 1, refused: 1, ..News::default() };
        let replies = vec![text.freeze(); count];
        self.update(|inner| inner.add(&replies, news));
    }

    /// A message that answers no request, in its place among the replies.
    pub fn push(&self, message: &Bytes) {
        self.update(|inner| inner.add(std::slice::from_ref(message), News::default()));
    }

    /// The blocking command that was tried would wait.
    pub fn would_block(&self) {
        let news = News { answered: 1, would_block: true, ..News::default() };
        self.update(|inner| inner.add(&[], news));
    }

    /// The transaction under way will fail. What was to be queued for it is answered beside this.
    pub(super) fn spoil(&self) {
        self.update(|inner| inner.news.spoiled = true);
    }

    /// The client is gone. What is still in flight for it is answered into the void.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.replies.clear();
        inner.held.clear();
    }

    /// The client must be disconnected.
    pub fn doom(&self) {
        self.update(|inner| inner.news.doomed = true);
    }

    /// The client is to look around.
    pub fn call(&self) {
        self.update(|inner| inner.news.called = true);
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

    /// Takes the messages that are there, while no step is unanswered.
    pub fn take_messages(&self, out: &mut Outgoing) {
        out.append(&mut self.inner.lock().replies);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_for_a_client_that_is_gone_are_not_kept() {
        let mailbox = Mailbox::default();
        mailbox.answer(&[Bytes::from_static(b"+OK\r\n")]);
        mailbox.close();
        mailbox.answer(&[Bytes::from_static(b"+OK\r\n")]);
        mailbox.push(&Bytes::from_static(b">1\r\n+x\r\n"));
        assert!(mailbox.inner.lock().replies.is_empty());
    }
}
