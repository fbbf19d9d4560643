//! A subscriber's channels on the next primary, opened before a flip.
//!
//! A server tells of keys (`__keyevent@0__:set`) whoever writes them, so the one that follows tells of
//! mirrored writes. A client is told of each write by the server that it was made on, and by no
//! other. Which of two messages is meant is settled while clients are held and everything is
//! mirrored: a ping on either connection, the *cut*, parts what was told before from what comes.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use tokio::sync::watch;

use super::stage::{Next, Place, Route, Stage};
use super::subscriber::read_out;
use crate::net::Outgoing;
use crate::protocol::resp::{Frame, Reply};
use crate::server::Wire;

/// Messages that somebody publishes there already, kept for the flip; past it the connection is given
/// up, in bytes.
const ROOM: usize = 1024 * 1024;

/// The connection that a subscriber will go on with.
#[derive(Debug)]
pub(super) struct Standby {
    wire: Wire,
    place: Place,
    stage: watch::Receiver<Stage>,
    /// What has come and is not about keys.
    messages: Outgoing,
    /// The last cut that was made here; 0 is none.
    cut: u64,
}

impl Standby {
    /// `wire` has the channels open on the primary of `next`; `listens` when some are about keys.
    pub(super) fn new(
        wire: Wire,
        next: Arc<Next>,
        listens: bool,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        let place = Place::take(next, listens);
        Self { wire, place, stage, messages: Outgoing::default(), cut: 0 }
    }

    pub(super) fn is_for(&self, next: &Arc<Next>) -> bool {
        Arc::ptr_eq(self.place.next(), next)
    }

    pub(super) fn leads_to(&self, route: &Arc<Route>) -> bool {
        Arc::ptr_eq(&self.place.next().route, route)
    }

    /// Whether a cut is due.
    pub(super) fn lacks_cut(&self) -> bool {
        self.place.listens() && self.cut < self.place.next().cut()
    }

    /// Whether all that the old primary has yet to tell is told here.
    pub(super) fn is_cut(&self) -> bool {
        self.cut > 0 && !self.lacks_cut()
    }

    /// Reads what has come, before the server loses patience; false when the connection is no good.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> bool {
        while self.is_ahead() {
            match self.wire.poll_fill(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return false,
                Poll::Pending => return true,
            }
            let mut frames = Vec::new();
            loop {
                match self.wire.buffered() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => return false,
                }
            }
            self.keep(&frames);
            if self.messages.len() > ROOM {
                return false;
            }
        }
        true
    }

    /// Makes the cut that is due, with the old connection, whose last messages go to `out`.
    pub(super) async fn make_cut(&mut self, old: &mut Wire, out: &mut Outgoing) {
        let number = self.place.next().cut();
        let mut frames = Vec::new();
        let (old, new) = tokio::join!(
            read_out(old, |frame| out.push(&frame.raw)),
            read_out(&mut self.wire, |frame| frames.push(frame.clone()))
        );
        self.keep(&frames);
        if old && new && self.is_ahead() {
            self.cut = number;
            self.place.reach(number);
        }
    }

    /// The flip has been made: the connection, and what has come over it so far.
    pub(super) fn into_parts(self) -> (Wire, Outgoing) {
        (self.wire, self.messages)
    }

    /// Keeps what has been read; while the flip is still to come, what it says of keys was mirrored.
    fn keep(&mut self, frames: &[Frame]) {
        let is_ahead = self.is_ahead();
        for frame in frames {
            if !(is_ahead && is_event(frame)) {
                self.messages.push(&frame.raw);
            }
        }
    }

    /// Whether the flip has been made, and every event from now on is told here.
    pub(super) fn has_taken_over(&self) -> bool {
        self.is_cut() && self.leads_to(&self.stage.borrow().route)
    }

    /// Whether the flip has not been made yet.
    fn is_ahead(&self) -> bool {
        let stage = self.stage.borrow();
        stage.next.as_ref().is_some_and(|next| Arc::ptr_eq(next, self.place.next()))
    }
}

/// Whether a channel, or what a pattern matches, may be about keys.
pub(super) fn may_hear_events(name: &[u8], is_pattern: bool) -> bool {
    let first = name.first().copied().unwrap_or_default();
    is_about_keys(name) || is_pattern && matches!(first, b'_' | b'*' | b'?' | b'[' | b'\\')
}

fn is_event(frame: &Frame) -> bool {
    let reply = Reply::parse(&frame.raw).unwrap_or(Reply::Null);
    let items = reply.items().unwrap_or_default();
    // The channel stands before the message, behind the pattern if there is one.
    let channel = items.len().checked_sub(2).and_then(|at| items.get(at)?.text());
    channel.is_some_and(|channel| is_about_keys(channel))
}

fn is_about_keys(channel: &[u8]) -> bool {
    channel.starts_with(b"__key") || channel.starts_with(b"__subkey")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_keys_is_known_by_its_channel() {
        assert!(may_hear_events(b"__keyevent@0__:set", false));
        assert!(may_hear_events(b"__key*", true) && may_hear_events(b"*", true));
        assert!(may_hear_events(b"[_]_key*", true));
        assert!(!may_hear_events(b"news", false) && !may_hear_events(b"*", false));
        assert!(!may_hear_events(b"news.*", true));
        let event = |parts: &[&str]| {
            let raw = crate::protocol::resp::Request::new(parts).raw().clone();
            is_event(&Frame { raw })
        };
        assert!(event(&["message", "__keyevent@0__:set", "k"]));
        assert!(event(&["pmessage", "*", "__keyspace@0__:k", "set"]));
        assert!(!event(&["pmessage", "__key*", "news", "__keyspace@0__:k"]));
        assert!(!event(&["message", "news", "__keyevent@0__:set"]));
    }
}
