//! Where lanes put the replies of one client, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Unread;
use super::unread::Share;
use crate::engine::Gate;
use crate::net::Outgoing;
use crate::protocol::resp;

/// The replies that wait for a client's task.
#[derive(Debug)]
pub(crate) struct ReplyQueue {
    inner: Mutex<Inner>,
    /// Nobody will read what comes: it is not kept.
    closed: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    replies: Outgoing,
    news: News,
    /// Replies that wait for the secondary, and those behind them.
    held: VecDeque<Withheld>,
    /// The bytes of those.
    held_bytes: usize,
    /// What the client's task has taken and not written, in bytes, when it told last.
    taken: usize,
    share: Share,
    waker: Option<Waker>,
    closed: bool,
}

/// The replies to one step.
#[derive(Debug)]
struct Withheld {
    gate: Option<Gate>,
    since: Instant,
    replies: Vec<Bytes>,
    news: News,
}

/// What has happened since the client's task looked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each tells of an event of its own")]
pub(crate) struct News {
    /// Steps answered.
    pub answered: u64,
    /// Of those, how many were not sent.
    pub refused: u64,
    /// A blocking command found nothing and would wait.
    pub would_block: bool,
    /// A command that the server was to queue was refused: its transaction will fail.
    pub spoiled: bool,
    /// A step in flight was lost; the client must be disconnected.
    pub disconnected: bool,
    /// The server does not know the client's user any more; it must be disconnected once it is told.
    pub disowned: bool,
    /// Something has changed that concerns every client.
    pub woken: bool,
    /// It has left more unread than any other, and all together is too much.
    pub evicted: bool,
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
        self.news.disconnected |= news.disconnected;
        self.news.disowned |= news.disowned;
        self.news.woken |= news.woken;
        self.news.evicted |= news.evicted;
        self.account();
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
        self.hold(None, replies, news);
    }

    fn hold(&mut self, gate: Option<Gate>, replies: &[Bytes], news: News) {
        if self.closed {
            return self.take(&[], news);
        }
        let (since, replies) = (Instant::now(), replies.to_vec());
        let held = Withheld { gate, since, replies, news };
        self.held_bytes += held.bytes();
        self.held.push_back(held);
        self.account();
    }

    /// Tells the sum what waits for this client.
    fn account(&mut self) {
        let waits = self.replies.len() + self.held_bytes + self.taken;
        self.share.set(if self.closed { 0 } else { waits });
    }

    fn close(&mut self) {
        self.closed = true;
        self.replies.clear();
        self.held.clear();
        self.held_bytes = 0;
        self.account();
    }
}

impl Withheld {
    fn bytes(&self) -> usize {
        self.replies.iter().map(Bytes::len).sum()
    }
}

impl Default for ReplyQueue {
    fn default() -> Self {
        Self::of(Unread::new(usize::MAX))
    }
}

impl ReplyQueue {
    /// A queue whose replies count as part of `unread`.
    pub(crate) fn of(unread: Arc<Unread>) -> Self {
        let inner = Inner {
            replies: Outgoing::default(),
            news: News::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            taken: 0,
            share: Share::of(unread),
            waker: None,
            closed: false,
        };
        Self { inner: Mutex::new(inner), closed: AtomicBool::new(false) }
    }

    /// One step has been answered.
    pub(crate) fn answer(&self, replies: &[Bytes]) {
        self.update(|inner| inner.add(replies, News { answered: 1, ..News::default() }));
    }

    /// One step has been answered by the primary; the client is told when the gate opens.
    pub(super) fn answer_behind(&self, gate: Gate, replies: &[Bytes]) {
        let news = News { answered: 1, ..News::default() };
        self.inner.lock().hold(Some(gate), replies, news);
    }

    /// Lets out what waits for gates that are open; true while something still waits.
    pub(super) fn release(&self, mut is_open: impl FnMut(&mut Gate) -> bool) -> bool {
        let mut inner = self.inner.lock();
        let mut moved = false;
        let mut opens = |held: &mut Withheld| held.gate.as_mut().is_none_or(&mut is_open);
        while inner.held.front_mut().is_some_and(&mut opens) {
            if let Some(held) = inner.held.pop_front() {
                inner.held_bytes -= held.bytes();
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
    pub(crate) fn done(&self) {
        self.answer(&[]);
    }

    /// One step was not sent, nor was any of the `count` commands in it; `error` says why.
    pub(crate) fn refuse(&self, error: &str, count: usize) {
        let mut text = bytes::BytesMut::new();
        resp::error(&mut text, error);
        let news = News { answered: 1, refused: 1, ..News::default() };
        let replies = vec![text.freeze(); count];
        self.update(|inner| inner.add(&replies, news));
    }

    /// The server does not know the client's user any more, and has said so.
    pub(crate) fn disown(&self) {
        self.update(|inner| inner.news.disowned = true);
    }

    /// A message that answers no request, in its place among the replies.
    pub(crate) fn push(&self, message: &Bytes) {
        self.update(|inner| inner.add(std::slice::from_ref(message), News::default()));
    }

    /// The blocking command that was tried would wait.
    pub(crate) fn would_block(&self) {
        let news = News { answered: 1, would_block: true, ..News::default() };
        self.update(|inner| inner.add(&[], news));
    }

    /// The transaction under way will fail. What was to be queued for it is answered beside this.
    pub(super) fn spoil(&self) {
        self.update(|inner| inner.news.spoiled = true);
    }

    /// The client is gone. What is still in flight for it is answered into the void.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.inner.lock().close();
    }

    /// Whether nobody reads what comes.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The client must be disconnected for what it has not read, which is given back at once.
    pub(crate) fn evict(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.update(|inner| {
            inner.close();
            inner.news.evicted = true;
        });
    }

    /// What waits for the client, nearly, in bytes.
    pub(crate) fn unread(&self) -> usize {
        self.inner.lock().share.bytes()
    }

    /// The client's task has so much to write, in bytes.
    pub(crate) fn left_to_write(&self, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.taken = bytes;
        inner.account();
    }

    /// The client must be disconnected.
    pub(crate) fn disconnect(&self) {
        self.update(|inner| inner.news.disconnected = true);
    }

    /// Something has changed that the client has to look at.
    pub(crate) fn wake(&self) {
        self.update(|inner| inner.news.woken = true);
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
    pub(crate) fn take_messages(&self, out: &mut Outgoing) {
        out.append(&mut self.inner.lock().replies);
    }

    /// Takes what is there; pending when there is nothing.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<News> {
        let mut inner = self.inner.lock();
        if inner.replies.is_empty() && inner.news == News::default() {
            match &mut inner.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        out.append(&mut inner.replies);
        inner.taken = out.len();
        inner.account();
        Poll::Ready(std::mem::take(&mut inner.news))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_for_a_client_that_is_gone_are_not_kept() {
        let client = ReplyQueue::default();
        client.answer(&[Bytes::from_static(b"+OK\r\n")]);
        client.close();
        client.answer(&[Bytes::from_static(b"+OK\r\n")]);
        client.push(&Bytes::from_static(b">1\r\n+x\r\n"));
        assert!(client.inner.lock().replies.is_empty());
    }
}
