//! What a client is in: a state machine, requests and answers in, actions out.
//!
//! *What it is:* who the client is, its database and protocol version, what it watches, what it has
//! queued, how it tracks keys, which channels it listens to, whether it wants replies. From that
//! follows what becomes of a request ([`Session::on_request`], [`Session::on_queued`]), what an answer
//! changes ([`Session::on_answer`]), and how the same state is made anew on any other connection
//! ([`Session::anew`]).
//!
//! *Guarantees:* a connection that was made anew goes on as the one before would have; only a watch is
//! lost with it, and then `EXEC` answers nil.
//!
//! *Must not know:* connections, tasks, clocks, who serves.

mod action;
mod anew;
mod budget;
mod channels;
#[cfg(test)]
mod model;
mod numbers;
mod question;
mod standing;
#[cfg(test)]
mod tests;
mod transaction;

pub(crate) use budget::Budget;

pub(super) use action::{Action, Needs, Queueing, Reason, Rules};
pub(super) use anew::Anew;
pub(super) use budget::Share;
pub(super) use channels::Channels;
pub(super) use numbers::{number, translated};
pub(super) use question::harmless;
pub(super) use standing::{Redirection, Standing};
pub(super) use transaction::Queued;

use crate::lane::{Context, Identity};
use crate::protocol::resp::{Protocol, Request};

/// One client's state.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Who and where it is; the database by the source's number.
    pub(super) context: Context,
    pub(super) name: String,
    replies: Replies,
    transaction: Option<transaction::Transaction>,
    pub(super) standing: Standing,
    pub(super) channels: Channels,
}

/// Whether replies are sent (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Replies {
    #[default]
    On,
    Off,
    /// Not to the next command.
    SkipNext,
    /// Not to this command.
    Skip,
}

impl Session {
    /// Whether the command that is being handled is not to be answered.
    pub(super) fn is_silent(&self) -> bool {
        self.replies != Replies::On
    }

    /// A request has come: `CLIENT REPLY SKIP` means the next one, once.
    pub(super) fn take_skip(&mut self) {
        self.replies = match self.replies {
            Replies::SkipNext => Replies::Skip,
            Replies::Skip => Replies::On,
            other => other,
        };
    }

    /// `CLIENT REPLY`; false when it says nothing known.
    pub(super) fn set_replies(&mut self, request: &Request) -> bool {
        self.replies = match (request, self.replies) {
            (request, _) if request.is(2, "ON") => Replies::On,
            (request, _) if request.is(2, "OFF") => Replies::Off,
            (request, Replies::Off) if request.is(2, "SKIP") => Replies::Off,
            (request, _) if request.is(2, "SKIP") => Replies::SkipNext,
            _ => return false,
        };
        true
    }

    /// Takes over what a server's answer says of the client itself.
    pub(super) fn on_answer(&mut self, request: &Request, answer: &[u8]) {
        if answer.starts_with(b"-") {
            return;
        }
        if request.is(0, "SELECT") {
            self.context.db = number(request, 1).unwrap_or(self.context.db);
        } else if request.is(0, "HELLO") {
            self.greet(request);
        } else if request.is(1, "SETNAME") {
            self.rename(request.arg(2));
        } else if request.is(1, "TRACKING") {
            self.standing.track(request);
        } else if request.is(1, "NO-TOUCH") {
            self.standing.touch(request);
        }
    }

    fn greet(&mut self, hello: &Request) {
        match hello.arg(1) {
            Some(b"3") => self.context.protocol = Protocol::Resp3,
            Some(_) => self.context.protocol = Protocol::Resp2,
            None => {}
        }
        let mut index = 2;
        while index < hello.len() {
            if hello.is(index, "AUTH") {
                index += 3;
            } else {
                self.rename(hello.arg(index + 1));
                index += 2;
            }
        }
    }

    fn rename(&mut self, name: Option<&[u8]>) {
        self.name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
    }

    /// It has logged in; whether it is somebody else than before.
    pub(super) fn log_in(&mut self, identity: Identity) -> bool {
        let changes = self.context.identity != identity;
        self.context.identity = identity;
        changes
    }

    /// `RESET`: as a client that has just come.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether all its commands need a connection of its own, from now on.
    pub(super) fn is_pinned(&self) -> bool {
        !self.standing.is_empty()
    }

    /// Whether something about it belongs to a connection of its own.
    pub(super) fn needs_connection(&self) -> bool {
        self.transaction.is_some() || self.is_pinned()
    }
}
