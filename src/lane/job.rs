//! One step for a lane.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use thiserror::Error;
use tokio::sync::oneshot;

use super::Mailbox;
use crate::engine::Unit;
use crate::resp::Request;

/// Why a step has no answer.
#[derive(Clone, Debug, Error)]
pub enum Lost {
    /// The connection broke after it was sent.
    #[error("connection to the {0} lost")]
    Connection(String),
    /// It could not be sent in time.
    #[error("{0}")]
    Unreachable(String),
}

/// Who gets the answers.
#[derive(Debug)]
pub enum Sink {
    /// A client.
    Client(Arc<Mailbox>),
    /// A client that asked not to be answered; it is only told that the step is done.
    Silent(Arc<Mailbox>),
    /// A task of crossfade.
    Task(oneshot::Sender<Result<Vec<Bytes>, Lost>>),
}

/// Which of the replies the sink gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Those to all requests.
    Each,
    /// Those to all requests but the first `n`, which are ours.
    After(usize),
    /// A blocking command wrapped in a transaction, which never waits: its own reply if it found
    /// something, else the news that it would wait.
    Attempt,
}

/// A step: what to send, what it means to the engine, who is answered.
#[derive(Debug)]
pub struct Job {
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
}

impl Job {
    /// A step that only reads.
    pub fn read(request: Request, sink: Sink) -> Self {
        Self { repeatable: true, ..Self::pass(request, sink) }
    }

    /// A step that writes no key, but does something (`PUBLISH`).
    pub fn pass(request: Request, sink: Sink) -> Self {
        let requests = SmallVec::from_iter([request]);
        Self { requests, unit: None, sink, shape: Shape::Each, repeatable: false }
    }

    /// A write.
    pub fn write(request: Request, unit: Unit, sink: Sink) -> Self {
        Self { unit: Some(Box::new(unit)), ..Self::pass(request, sink) }
    }

    /// How many replies belong to it.
    pub(super) fn replies(&self) -> usize {
        self.requests.len() + self.unit.as_ref().map_or(0, |unit| unit.probes().count())
    }
}

impl Sink {
    /// Hands over the replies that the shape selects.
    pub(super) fn answer(self, shape: Shape, requests: usize, replies: &[Bytes]) {
        match self {
            Self::Task(sender) => {
                // Who asked may have gone; then nobody wants the answer.
                let _ = sender.send(Ok(replies.to_vec()));
            }
            Self::Silent(mailbox) => mailbox.done(),
            Self::Client(mailbox) => match shape {
                Shape::Each => mailbox.answer(replies.iter().take(requests)),
                Shape::After(ours) => mailbox.answer(replies.iter().take(requests).skip(ours)),
                Shape::Attempt => answer_attempt(&mailbox, replies),
            },
        }
    }

    /// Says that there will be no answer.
    pub(super) fn lose(self, lost: &Lost) {
        match (self, lost) {
            (Self::Task(sender), _) => drop(sender.send(Err(lost.clone()))),
            (Self::Client(mailbox) | Self::Silent(mailbox), Lost::Connection(_)) => mailbox.doom(),
            (Self::Client(mailbox), Lost::Unreachable(reason)) => mailbox.refuse(reason),
            (Self::Silent(mailbox), Lost::Unreachable(_)) => mailbox.done(),
        }
    }
}

/// Replies to `MULTI`, the command, `EXEC`: the command's own reply is the only element of the last,
/// or an error in the second.
fn answer_attempt(mailbox: &Mailbox, replies: &[Bytes]) {
    let (Some(queued), Some(exec)) = (replies.get(1), replies.get(2)) else {
        return mailbox.doom();
    };
    match exec.strip_prefix(b"*1\r\n") {
        None => mailbox.answer([queued]),
        Some(b"$-1\r\n" | b"*-1\r\n" | b"_\r\n") => mailbox.would_block(),
        Some(_) => mailbox.answer([&exec.slice(4..)]),
    }
}
