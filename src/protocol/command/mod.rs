//! What each command is: how it is served, which keys it touches, how its effect is carried.
//!
//! *What it is:* the static command table, the finding of a request's keys, and the questions that
//! the proxy asks of a request before it sends it anywhere.
//!
//! *Guarantees:* the table is held against `COMMAND` of real servers by a test; a command that it
//! does not know is never guessed at.
//!
//! *Must not know:* sockets, clocks, sessions, what is migrated.

mod likeness;
mod markdown;
mod mirror;
mod spec;
mod table;

use smallvec::SmallVec;
use thiserror::Error;

use crate::protocol::resp::Request;

pub(crate) use likeness::{Likeness, likeness};
pub use markdown::markdown;
pub use mirror::Mirror;
pub use spec::databases;
pub use table::{Command, lookup, table};

/// How the proxy serves a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    /// Changes nothing: any upstream connection will do. `bulky` replies may be large, so they
    /// never ride on a lane that other clients' writes wait behind.
    Read {
        /// Whether the reply's size has no small bound.
        bulky: bool,
    },
    /// Changes no key and does something all the same (`PUBLISH`): any upstream connection will do,
    /// and it is sent once.
    Once {
        /// Whether it may stand among writes, which wait for each other there.
        rides: bool,
    },
    /// Changes its keys: goes down the write lane, ordered with every write to them.
    Write,
    /// Changes what no list of keys describes (`FLUSHALL`, `SWAPDB`, `FUNCTION LOAD`): ordered with
    /// every write of every client.
    Barrier,
    /// May wait for data (`BLPOP`): tried on the lane as a transaction of one, which never waits,
    /// and given a session only when there is nothing yet.
    Blocking,
    /// Runs code that may write what it does not declare (`EVAL`, `FCALL`).
    Script,
    /// `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.
    Transaction(Transaction),
    /// `SUBSCRIBE` and its kin.
    Subscribe,
    /// Concerns the client's connection: the proxy answers or interprets it.
    Connection(Connection),
    /// Needs an upstream connection of the client's own (`WAIT`, `MONITOR`).
    Session,
    /// Passes only with `--allow-admin`: harmless to the order of writes, not to the server.
    Admin,
    /// Never passes; the reason follows `-ERR crossfade: `.
    Refused(&'static str),
}

/// The commands of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after their commands")]
pub enum Transaction {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
}

/// The commands about the connection itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after their commands")]
pub enum Connection {
    Auth,
    Hello,
    Select,
    Reset,
    Quit,
    /// `CLIENT` with any subcommand.
    Client,
    Monitor,
    Info,
    /// `SCRIPT KILL`, `FUNCTION KILL`: what a server takes while it is busy with a script.
    Interrupt,
    /// `ASKING`, `READONLY`, `READWRITE`: answered by the server, no state of ours.
    Cluster,
}

/// What a command does to one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its value is read and stays as it is.
    Read,
    /// Its value may be changed, created or removed.
    Write,
}

/// One key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Which argument it is.
    pub index: usize,
    /// What happens to it.
    pub access: Access,
    /// The database it lies in, when that is not the client's (`COPY … DB`, `MOVE`).
    pub db: Option<u32>,
}

/// The keys of a request in the order of its arguments.
pub type Keys = SmallVec<[Key; 2]>;

/// How far beyond its keys a write reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Its keys, no further.
    Keys,
    /// Everything in the client's database (`FLUSHDB`).
    Database,
    /// Everything in every database (`FLUSHALL`).
    AllDatabases,
    /// Two databases change places (`SWAPDB`).
    Swap(u32, u32),
    /// Scripts and function libraries, no key.
    Code,
}

/// The arguments do not follow the command's grammar.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the keys of this request cannot be told")]
pub struct KeyError;

impl Command {
    /// The keys of `request`, with what it does to each, as `COMMAND GETKEYSANDFLAGS` would say.
    ///
    /// # Errors
    /// The arguments do not follow the command's grammar; the server will refuse it too.
    pub fn keys(&self, request: &Request) -> Result<Keys, KeyError> {
        if !self.takes(request.len()) {
            return Err(KeyError);
        }
        let mut keys = Keys::new();
        for spec in self.specs {
            spec.find(request, &mut keys)?;
        }
        Ok(keys)
    }
}
