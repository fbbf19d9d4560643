//! What a client is in: a state machine, requests and answers in, actions out.
//!
//! *What it is:* who the client is, its database and protocol version, what it watches, what it has
//! queued, how it tracks keys, which channels it listens to, what it waits for, whether it monitors, how
//! it describes itself, whether it wants replies. From that
//! follows what becomes of a request ([`Session::on_request`], [`Session::on_queued`]), what an answer
//! changes ([`Session::on_answer`]), and how the same state is made anew on any other connection
//! ([`Session::anew`]).
//!
//! *Guarantees:* a connection that was made anew goes on as the one before would have; only a watch is
//! lost with it, and then `EXEC` answers nil.
//!
//! *Must not know:* connections, tasks, clocks, who serves.

mod action;
mod blocked;
mod channels;
mod flush;
#[cfg(test)]
mod model;
mod standing;
#[cfg(test)]
mod tests;
mod transaction;
mod translation;

pub(crate) use transaction::Budget;

pub(super) use action::{Action, Needs, Queueing, Reason, Rules};
pub(super) use blocked::Wait;
pub(super) use channels::Channels;
pub(super) use flush::Flush;
pub(super) use standing::{Redirection, Standing};
pub(super) use transaction::{Queued, Share};
pub(super) use translation::{harmless, number, translated};

use std::time::Duration;

use bytes::BytesMut;

use self::blocked::Blocked;
use crate::lane::{Context, Identity};
use crate::protocol::databases::Databases;
use crate::protocol::resp::{self, Protocol, Request};

/// One client's state.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Who and where it is; the database by the source's number.
    pub(super) context: Context,
    pub(super) name: String,
    pub(super) library: Library,
    replies: Replies,
    transaction: Option<transaction::Transaction>,
    pub(super) standing: Standing,
    pub(super) channels: Channels,
    blocked: Option<Blocked>,
    /// It is shown every command.
    pub(super) monitors: bool,
    /// Its connection is not closed for the memory that it takes (`CLIENT NO-EVICT`).
    pub(super) no_evict: bool,
}

/// What the client is built with (`CLIENT SETINFO`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Library {
    pub(super) name: String,
    pub(super) version: String,
}

/// What makes a fresh connection the client's: all that a server has to know. What the proxy itself does
/// for a client (its name and library, a monitor, a wait) needs no connection.
///
/// Commands and messages may come over two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Anew {
    /// As whom to log in, in which protocol version and in which of the server's databases.
    pub(in crate::proxy) context: Context,
    /// What belongs to the connection for good. A `REDIRECT` names one of the proxy's clients.
    pub(in crate::proxy) settings: Vec<Request>,
    /// `MULTI`, and what the server is to have queued.
    pub(in crate::proxy) queue: Vec<Request>,
    /// Subscriptions, and how many confirmations of them will come.
    pub(in crate::proxy) subscriptions: (Vec<Request>, usize),
}

impl Library {
    fn learn(&mut self, request: &Request) {
        let value = String::from_utf8_lossy(request.arg(3).unwrap_or_default()).into_owned();
        let field = if request.is(2, "LIB-NAME") { &mut self.name } else { &mut self.version };
        *field = value;
    }
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

    /// Whether that is so of this command alone.
    pub(super) fn skips_one(&self) -> bool {
        self.replies == Replies::Skip
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
        } else if request.is(1, "NO-EVICT") {
            self.no_evict = request.is(2, "ON");
        } else if request.is(1, "SETINFO") {
            self.library.learn(request);
        } else if request.is(0, "MONITOR") {
            self.monitors = true;
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

    /// `RESET`: as a client that has just come, built with what it is built with.
    pub(super) fn reset(&mut self) {
        let library = std::mem::take(&mut self.library);
        *self = Self { library, ..Self::default() };
    }

    /// The client's command waits for data, from now on.
    pub(super) fn block(&mut self, request: Request) {
        self.blocked = Some(Blocked::of(request));
    }

    /// It has been answered.
    pub(super) fn unblock(&mut self) {
        self.blocked = None;
    }

    /// What the client waits for.
    pub(super) fn wait(&self) -> Option<Wait> {
        self.blocked.as_ref().map(Blocked::wait)
    }

    /// What a client that has waited for so long asks on another connection; `None` when its time is
    /// over.
    pub(super) fn blocked_again(&self, waited: Duration) -> Option<Request> {
        self.blocked.as_ref()?.again(waited)
    }

    /// The answer to a wait that has brought nothing.
    pub(super) fn answer_nothing(&self, out: &mut BytesMut) {
        let protocol = self.context.protocol;
        match &self.blocked {
            Some(blocked) if blocked.takes_one() && protocol == Protocol::Resp2 => {
                resp::null(out, protocol);
            }
            _ => resp::null_array(out, protocol),
        }
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

impl Session {
    /// What makes a connection to the server behind `databases` the client's; `unsent` of the queued
    /// requests were never sent, and follow by themselves. An error is the database that is not there.
    pub(in crate::proxy) fn anew(&self, databases: &Databases, unsent: usize) -> Result<Anew, u32> {
        Ok(Anew {
            context: self.context_behind(databases)?,
            settings: self.standing.told_again(),
            queue: self.queued_again(unsent, databases),
            subscriptions: (self.channels.told_again(), self.channels.count()),
        })
    }

    /// The client's context, with its database under the server's number.
    pub(in crate::proxy) fn context_behind(&self, databases: &Databases) -> Result<Context, u32> {
        let db = databases.to(self.context.db).ok_or(self.context.db)?;
        Ok(Context { db, ..self.context.clone() })
    }

    fn queued_again(&self, unsent: usize, databases: &Databases) -> Vec<Request> {
        let Some(queue) = self.queue() else { return Vec::new() };
        let told = queue.told_again(unsent).into_iter();
        told.map(|request| translated(&request, databases)).collect()
    }
}
