//! One step for a lane.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use thiserror::Error;
use tokio::sync::oneshot;

use super::{Refusal, ReplyQueue, Sample};
use crate::engine::{Gate, Passable, Unit};
use crate::protocol::resp::{Request, Scanner};

/// Why a step has no answer.
#[derive(Clone, Debug, Error)]
pub(crate) enum Lost {
    /// The connection broke after it was sent.
    #[error("connection to the {0} lost")]
    Connection(String),
    /// It could not be sent.
    #[error("{0}")]
    Refused(Refusal),
}

/// Who gets the answers.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A client.
    Client(Arc<ReplyQueue>),
    /// A client that asked not to be answered; it is only told that the step is done.
    Silent(Arc<ReplyQueue>),
    /// A task of crossfade.
    Task(oneshot::Sender<Result<Vec<Bytes>, Lost>>),
}

/// Which of the replies the sink gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Those to all requests.
    Each,
    /// Those to all requests; that one is an error is news of its own, because nothing can come of
    /// the transaction that the server was to queue it for, or was to end.
    Queue,
    /// A blocking command wrapped in a transaction, which never waits: its own reply if it found
    /// something, else the news that it would wait.
    Attempt,
    /// One for all of a transaction: what the server refuses first, or that it is done.
    AsOne,
}

impl Shape {
    /// How many replies a client waits for that has sent so many requests in one step.
    pub(crate) fn answers(self, requests: usize) -> usize {
        if matches!(self, Self::Attempt | Self::AsOne) { 1 } else { requests }
    }
}

/// A step: what to send, what it means to the engine, who is answered.
#[derive(Debug)]
pub(crate) struct Job {
    /// What to send, in order. The reply to the last one is the unit's.
    pub requests: SmallVec<[Request; 1]>,
    /// What the engine must know of it; `None` for what writes no key.
    pub unit: Option<Box<Unit>>,
    /// Who is answered.
    pub sink: Sink,
    /// With what.
    pub shape: Shape,
    /// Whether it may be asked again after a connection was lost.
    pub repeatable: bool,
    /// Set for a read that the secondary is to be asked too.
    pub sample: Option<Box<Sample>>,
}

impl Job {
    /// A step that only reads.
    pub(crate) fn read(request: Request, sink: Sink) -> Self {
        Self { repeatable: true, ..Self::pass(request, sink) }
    }

    /// A step that writes no key, but does something (`PUBLISH`).
    pub(crate) fn pass(request: Request, sink: Sink) -> Self {
        let requests = SmallVec::from_iter([request]);
        Self { requests, unit: None, sink, shape: Shape::Each, repeatable: false, sample: None }
    }

    /// A command that the server is to queue for an `EXEC`.
    pub(crate) fn queue(request: Request, sink: Sink) -> Self {
        Self { shape: Shape::Queue, ..Self::pass(request, sink) }
    }

    /// A write.
    pub(crate) fn write(request: Request, unit: Unit, sink: Sink) -> Self {
        Self { unit: Some(Box::new(unit)), ..Self::pass(request, sink) }
    }

    /// Says that there will be no answer.
    pub(super) fn lose(self, lost: &Lost) {
        let answers = self.shape.answers(self.requests.len());
        match (self.sink, lost) {
            (Sink::Task(sender), _) => drop(sender.send(Err(lost.clone()))),
            (Sink::Client(client) | Sink::Silent(client), Lost::Connection(_)) => {
                client.disconnect();
            }
            (Sink::Client(client), Lost::Refused(Refusal::Server(reply))) => {
                client.refuse(reply, answers);
                client.disown();
            }
            (Sink::Client(client), Lost::Refused(refusal)) => {
                client.refuse(&format!("ERR crossfade: {refusal}"), answers);
            }
            (Sink::Silent(client), _) => client.done(),
        }
    }

    /// Whether it does nothing but get an answer, and nobody waits for that any more.
    pub(super) fn is_pointless(&self) -> bool {
        self.repeatable
            && match &self.sink {
                Sink::Client(client) | Sink::Silent(client) => client.is_closed(),
                Sink::Task(sender) => sender.is_closed(),
            }
    }

    /// Nobody waits for the answer, and there is none; only the count of steps must be right.
    pub(super) fn abandon(self) {
        if let Sink::Client(client) | Sink::Silent(client) = self.sink {
            client.done();
        }
    }

    /// How many replies belong to it.
    pub(super) fn replies(&self) -> usize {
        self.requests.len() + self.unit.as_ref().map_or(0, |unit| unit.probes().count())
    }
}

impl Passable for Job {
    fn unit(&mut self) -> Option<&mut Unit> {
        self.unit.as_deref_mut()
    }

    fn client(&self) -> usize {
        match &self.sink {
            Sink::Client(client) | Sink::Silent(client) => Arc::as_ptr(client).addr(),
            Sink::Task(_) => 0,
        }
    }
}

impl Sink {
    /// Hands over the replies that the shape selects, at once or when `gate` opens; gives the
    /// queue in which they wait for it.
    pub(super) fn answer(
        self,
        shape: Shape,
        requests: usize,
        replies: &[Bytes],
        gate: Option<Gate>,
    ) -> Option<Arc<ReplyQueue>> {
        let (client, silent) = match self {
            Self::Task(sender) => {
                // Who asked may have gone; then nobody wants the answer.
                let _ = sender.send(Ok(replies.to_vec()));
                return None;
            }
            Self::Silent(client) => (client, true),
            Self::Client(client) => (client, false),
        };
        let own = replies.get(..requests).unwrap_or(replies);
        let reply = match shape {
            Shape::Each | Shape::Queue => None,
            Shape::AsOne => Some(Some(as_one(own))),
            Shape::Attempt => Some(attempted(own)),
        };
        let own = match &reply {
            None => own,
            Some(Some(reply)) => std::slice::from_ref(reply),
            Some(None) => {
                client.would_block();
                return None;
            }
        };
        if shape == Shape::Queue && own.iter().any(|reply| reply.starts_with(b"-")) {
            client.spoil();
        }
        if silent {
            client.done();
            return None;
        }
        give(client, own, gate)
    }
}

fn give(client: Arc<ReplyQueue>, replies: &[Bytes], gate: Option<Gate>) -> Option<Arc<ReplyQueue>> {
    match gate {
        None => {
            client.answer(replies);
            None
        }
        Some(gate) => {
            client.answer_behind(gate, replies);
            Some(client)
        }
    }
}

/// From the replies to `MULTI`, the command and `EXEC`: the command's own reply is the only element
/// of the last, or an error in the second. `None`: it found nothing and would wait.
fn attempted(replies: &[Bytes]) -> Option<Bytes> {
    let (queued, exec) = (replies.get(1)?, replies.get(2)?);
    match exec.strip_prefix(b"*1\r\n") {
        None => Some(queued.clone()),
        Some(b"$-1\r\n" | b"*-1\r\n" | b"_\r\n") => None,
        Some(_) => Some(exec.slice(4..)),
    }
}

/// From the replies to `MULTI`, its commands and `EXEC`.
fn as_one(replies: &[Bytes]) -> Bytes {
    let refusal = replies.iter().find_map(first_error);
    refusal.unwrap_or_else(|| Bytes::from_static(b"+OK\r\n"))
}

/// The error that a reply is, or holds.
fn first_error(reply: &Bytes) -> Option<Bytes> {
    let mut frames = Scanner::default();
    let mut rest = BytesMut::from(elements(reply));
    loop {
        let frame = frames.next(&mut rest).ok()??;
        if frame.is_error() {
            return Some(frame.raw);
        }
    }
}

/// What an array holds; anything else as it is.
fn elements(reply: &[u8]) -> &[u8] {
    let header = reply.iter().position(|byte| *byte == b'\n').filter(|_| reply.starts_with(b"*"));
    header.and_then(|end| reply.get(end + 1..)).unwrap_or(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_is_answered_once_is_done_or_says_what_was_refused_first() {
        let one = |replies: &[&'static str]| {
            let replies: Vec<Bytes> = replies.iter().map(|reply| Bytes::from(*reply)).collect();
            String::from_utf8(as_one(&replies).to_vec()).unwrap()
        };
        let (ok, queued) = ("+OK\r\n", "+QUEUED\r\n");
        assert_eq!(one(&[ok, queued, "*2\r\n+OK\r\n+OK\r\n"]), ok);
        let refused = "*2\r\n+OK\r\n-ERR syntax error\r\n";
        assert_eq!(one(&[ok, queued, refused]), "-ERR syntax error\r\n");
        assert_eq!(one(&[ok, "-NOPERM no\r\n", "-EXECABORT x\r\n"]), "-NOPERM no\r\n");
    }
}
