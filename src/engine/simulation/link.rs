//! The mirror's connection to the secondary.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::model::Server;
use crate::engine::{Cause, Engine, Entry, Kind};
use crate::protocol::resp::{Decoder, Reply, Request};

/// An entry on its way.
struct Sent {
    entry: Entry,
    left: VecDeque<Request>,
    replies: Vec<Bytes>,
}

#[derive(Default)]
pub(super) struct Link {
    sent: VecDeque<Sent>,
}

impl Link {
    pub(super) fn take(&mut self, engine: &mut Engine, bytes: usize) {
        for entry in engine.take_effects(bytes) {
            let left = requests(&entry);
            self.sent.push_back(Sent { entry, left, replies: Vec::new() });
        }
    }

    /// The secondary executes the next command, or the next transaction.
    pub(super) fn execute(&mut self, secondary: &mut Server, now: i64) {
        let Some(sent) = self.sent.iter_mut().find(|sent| !sent.left.is_empty()) else { return };
        let count = if sent.entry.atomic { sent.left.len() } else { 1 };
        for request in sent.left.drain(..count) {
            sent.replies.push(secondary.execute(sent.entry.db, &request, now));
        }
    }

    /// The answers to the oldest entry arrive, if it is done.
    pub(super) fn deliver(&mut self, engine: &mut Engine) {
        if self.sent.front().is_none_or(|sent| !sent.left.is_empty()) {
            return;
        }
        let sent = self.sent.pop_front().expect("an entry");
        if sent.entry.kind == Kind::Copies {
            return engine.restored(&sent.entry, &refused(&sent));
        }
        match verdict(&sent) {
            None => engine.applied(&sent.entry),
            Some(cause) => engine.diverged(&sent.entry, cause),
        }
    }

    /// The connection is lost; the secondary executes nothing more of it.
    pub(super) fn cut(&mut self, engine: &mut Engine) {
        for sent in self.sent.drain(..) {
            engine.diverged(&sent.entry, Cause::Unknown);
        }
    }
}

/// The commands, without the `MULTI` and `EXEC` around a transaction.
fn requests(entry: &Entry) -> VecDeque<Request> {
    let (mut buffer, mut decoder) = (BytesMut::from(&entry.commands[..]), Decoder::default());
    let next = || decoder.next(&mut buffer).expect("a request");
    let mut requests: VecDeque<Request> = std::iter::from_fn(next).collect();
    if entry.atomic {
        requests.pop_front();
        requests.pop_back();
    }
    let replies = if entry.kind == Kind::Copies { entry.keys.len() } else { entry.expect.len() };
    assert_eq!(requests.len(), replies);
    requests
}

/// The places of the copies that failed.
fn refused(sent: &Sent) -> Vec<usize> {
    let failed = |raw: &Bytes| Reply::parse(raw).expect("a reply").is_error();
    sent.replies.iter().enumerate().filter(|(_, raw)| failed(raw)).map(|(place, _)| place).collect()
}

fn verdict(sent: &Sent) -> Option<Cause> {
    let replies = sent.replies.iter().map(|raw| Reply::parse(raw).expect("a reply"));
    let mut expected = replies.zip(&sent.entry.expect);
    let (reply, _) = expected.find(|(reply, expect)| !expect.accepts(reply, 0))?;
    let refused = matches!(reply, Reply::Error(text) if text.as_ref() == b"OOM");
    Some(if refused { Cause::Refused } else { Cause::Mismatch })
}
