//! What becomes of a request in the state that its client is in.

use std::fmt;

use bytes::Bytes;

use super::flush::{Flush, queued_flush};
use super::translation::{number, queueable_question, unmigrated};
use super::{Queued, Session};
use crate::protocol::command::{Command, Connection, Mirror, Serve, Transaction, lookup};
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Protocol, Request};

/// What the decision takes from elsewhere.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Rules<'a> {
    /// From the clients' numbers to the primary's.
    pub(in crate::proxy) databases: &'a Databases,
    /// Whether commands of administration pass.
    pub(in crate::proxy) allow_admin: bool,
    /// Whether a cursor may be another server's.
    pub(in crate::proxy) checks_cursors: bool,
}

/// What must be so before an action is carried out: the client's task sees to it in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Needs {
    /// It goes behind what is under way, and is answered there.
    Nothing,
    /// The route is the one that serves now; while commands are held it waits.
    Route,
    /// Everything that was asked before is answered.
    Answers,
    /// Both of them.
    AnswersAndRoute,
    /// And the client has a connection of its own.
    Connection,
}

/// What to do about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Action {
    /// It changes nothing. What `rides` may go behind whatever the client has under way.
    Read {
        rides: bool,
    },
    /// It changes no key, and is sent once.
    Once {
        rides: bool,
    },
    Write,
    /// It empties all databases that are migrated, and not all that there are: see
    /// [`Session::flush`].
    Flush,
    /// It only reads, by a script whose body both servers are to know.
    ReadByScript,
    /// It goes on at the cursor in this argument.
    Scan(usize),
    /// It may wait for data.
    Block,
    /// The transaction may have come whole.
    Multi,
    /// It has not: the server is to queue it.
    BeginQueue,
    /// So many keys are watched.
    Watch(usize),
    Unwatch,
    /// A transaction is under way: see [`Session::on_queued`].
    Queue,
    Subscribe,
    /// In RESP2 a subscriber may use few commands; the server says which.
    Confined,
    Connection(Connection),
    /// `WAIT` and its kin, on a connection of the client's own.
    Alone,
    Refuse(Reason),
}

/// What to do about a request between `MULTI` and `EXEC`.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Queueing {
    Keep(Queued),
    /// Which database those behind it mean must be known before it is run.
    Select,
    Exec,
    Discard,
    /// The server has the words for it, and queues nothing.
    Pass,
    /// It ends the transaction, and is then served as outside.
    Leave(Connection),
    Poison(Reason),
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Reason {
    Unmigrated(u32),
    NeedsFlag(&'static str),
    Never(&'static str),
    /// Nobody can tell what it does.
    Untold(&'static str),
    NotQueueable(&'static str),
    ClientNotQueueable,
    QueuesAreFull,
    FlushNeedsMulti,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmigrated(db) => write!(out, "database {db} is not migrated"),
            Self::NeedsFlag(name) => write!(out, "{name} passes only with --allow-admin"),
            Self::Never(reason) | Self::Untold(reason) => out.write_str(reason),
            Self::NotQueueable(name) => write!(out, "{name} can't be used in a transaction"),
            Self::ClientNotQueueable => {
                out.write_str("this CLIENT command can't be used in a transaction")
            }
            Self::FlushNeedsMulti => {
                out.write_str("FLUSHALL of some databases needs the right to use MULTI")
            }
            Self::QueuesAreFull => {
                out.write_str("transactions have queued more than there is room for")
            }
        }
    }
}

impl Needs {
    pub(in crate::proxy) fn answers(self) -> bool {
        matches!(self, Self::Answers | Self::AnswersAndRoute | Self::Connection)
    }

    pub(in crate::proxy) fn route(self) -> bool {
        matches!(self, Self::Route | Self::AnswersAndRoute | Self::Connection)
    }

    pub(in crate::proxy) fn connection(self) -> bool {
        self == Self::Connection
    }
}

impl Action {
    pub(in crate::proxy) fn needs(self) -> Needs {
        match self {
            Self::Read { .. }
            | Self::Once { .. }
            | Self::Write
            | Self::ReadByScript
            | Self::Queue
            | Self::Confined => Needs::Nothing,
            Self::Multi => Needs::Route,
            // A question finds the route by itself, and is asked again where another one serves.
            Self::Refuse(_) | Self::Scan(_) | Self::Block | Self::Unwatch => Needs::Answers,
            Self::Subscribe | Self::Flush => Needs::AnswersAndRoute,
            Self::BeginQueue | Self::Watch(_) | Self::Alone => Needs::Connection,
            Self::Connection(kind) => needs_of(kind),
        }
    }
}

fn needs_of(kind: Connection) -> Needs {
    match kind {
        Connection::Cluster => Needs::Nothing,
        Connection::Client
        | Connection::Info
        | Connection::Select
        | Connection::Quit
        | Connection::Reset => Needs::Answers,
        Connection::Auth | Connection::Hello | Connection::Interrupt | Connection::Monitor => {
            Needs::AnswersAndRoute
        }
    }
}

impl Queueing {
    pub(in crate::proxy) fn needs(&self) -> Needs {
        match self {
            Self::Keep(_) | Self::Pass => Needs::Nothing,
            Self::Exec | Self::Discard | Self::Leave(_) | Self::Poison(_) => Needs::Answers,
            Self::Select => Needs::AnswersAndRoute,
        }
    }
}

impl Session {
    /// What to do about a request whose command the table knows.
    pub(in crate::proxy) fn on_request(
        &self,
        request: &Request,
        (command, serve): (&'static Command, Serve),
        rules: &Rules<'_>,
    ) -> Action {
        if self.is_queueing() {
            return Action::Queue;
        }
        if self.is_confined(serve) {
            return Action::Confined;
        }
        if let Some(db) = unmigrated(request, rules.databases) {
            return Action::Refuse(Reason::Unmigrated(db));
        }
        if Flush::is_confined(request, rules.databases) {
            return Action::Flush;
        }
        match serve {
            Serve::Read { bulky } => read(command, bulky, rules),
            Serve::Once { rides } => Action::Once { rides },
            Serve::Write | Serve::Barrier | Serve::Script => Action::Write,
            Serve::Blocking => Action::Block,
            Serve::Transaction(kind) => self.on_transaction(request, kind),
            Serve::Subscribe => Action::Subscribe,
            Serve::Connection(Connection::Cluster) => Action::Once { rides: false },
            Serve::Connection(Connection::Select) => select(request),
            Serve::Connection(kind) => Action::Connection(kind),
            Serve::Session => Action::Alone,
            Serve::Admin if rules.allow_admin => Action::Once { rides: false },
            Serve::Admin => Action::Refuse(Reason::NeedsFlag(command.name)),
            Serve::Refused(reason) => Action::Refuse(Reason::Never(reason)),
        }
    }

    fn is_confined(&self, serve: Serve) -> bool {
        self.context.protocol == Protocol::Resp2
            && self.channels.count() > 0
            && !matches!(
                serve,
                Serve::Subscribe | Serve::Connection(Connection::Quit | Connection::Reset)
            )
    }

    fn on_transaction(&self, request: &Request, kind: Transaction) -> Action {
        match (kind, request.len()) {
            (Transaction::Multi, 1) => Action::Multi,
            (Transaction::Watch, 2..) => Action::Watch(request.len() - 1),
            (Transaction::Unwatch, _) if self.has_transaction() => Action::Unwatch,
            // Wrong arguments, or nothing to end: the server says so, and nothing has changed.
            _ => Action::Once { rides: false },
        }
    }

    /// What to do about a request while the server queues.
    pub(in crate::proxy) fn on_queued(
        &self,
        request: &Request,
        command: &'static Command,
        rules: &Rules<'_>,
    ) -> Queueing {
        if let Some(db) = unmigrated(request, rules.databases) {
            return Queueing::Poison(Reason::Unmigrated(db));
        }
        let db = self.db_of_queue();
        if Flush::is_confined(request, rules.databases) {
            let refusal = Queueing::Poison(Reason::NotQueueable(command.name));
            return Flush::of_one(request, rules.databases)
                .map_or(refusal, |flush| Queueing::Keep(queued_flush(&flush, db)));
        }
        match command.serve(request) {
            Serve::Transaction(Transaction::Exec) if request.len() == 1 => Queueing::Exec,
            Serve::Transaction(Transaction::Discard) if request.len() == 1 => Queueing::Discard,
            Serve::Transaction(Transaction::Unwatch) if request.len() == 1 => {
                Queueing::Keep(Queued::passive(request.clone(), db))
            }
            Serve::Transaction(_) => Queueing::Pass,
            Serve::Connection(kind @ (Connection::Quit | Connection::Reset)) => {
                Queueing::Leave(kind)
            }
            Serve::Connection(Connection::Select) => Queueing::Select,
            Serve::Connection(Connection::Client) => {
                let question = queueable_question(request);
                let poison = Queueing::Poison(Reason::ClientNotQueueable);
                question.map_or(poison, |question| self.queue_answered_here(question, request))
            }
            Serve::Connection(Connection::Info) => {
                self.queue_answered_here(request.clone(), request)
            }
            Serve::Connection(Connection::Cluster | Connection::Interrupt) | Serve::Session => {
                Queueing::Keep(Queued::passive(request.clone(), db))
            }
            Serve::Admin if rules.allow_admin => {
                Queueing::Keep(Queued::passive(request.clone(), db))
            }
            Serve::Admin => Queueing::Poison(Reason::NeedsFlag(command.name)),
            Serve::Refused(reason) => Queueing::Poison(Reason::Never(reason)),
            serve if is_plain(serve) => Queueing::Keep(Queued::of(request, command, serve, db)),
            _ => Queueing::Poison(Reason::NotQueueable(command.name)),
        }
    }

    /// What to do about a command that only the server knows, while it queues; `keys` are those that
    /// it writes.
    pub(in crate::proxy) fn on_queued_unknown(
        &self,
        request: &Request,
        keys: Result<Vec<Bytes>, Reason>,
    ) -> Queueing {
        match keys {
            Ok(keys) => Queueing::Keep(Queued::unknown(request.clone(), keys, self.db_of_queue())),
            Err(reason) => Queueing::Poison(reason),
        }
    }

    /// What is answered here, when its turn has come: the server queues the question that it would be
    /// asked outside a transaction.
    fn queue_answered_here(&self, question: Request, request: &Request) -> Queueing {
        Queueing::Keep(self.answered_here(question, request))
    }

    /// A `SELECT`, once it is known where the commands behind it are run.
    pub(in crate::proxy) fn queued_select(&self, request: &Request) -> Queued {
        self.answered_here(request.clone(), request)
    }

    fn answered_here(&self, question: Request, request: &Request) -> Queued {
        let answered_here = Some(request.clone());
        Queued { answered_here, ..Queued::passive(question, self.db_of_queue()) }
    }

    /// The commands between `MULTI` and `EXEC`, if all of them are plain ones.
    pub(in crate::proxy) fn as_block(
        &self,
        requests: &[Request],
        databases: &Databases,
    ) -> Option<Vec<Queued>> {
        let inner = requests.get(1..requests.len() - 1)?;
        let plain = |request: &Request| {
            let command = lookup(request)?;
            let serve = command.serve(request);
            let is_plain = is_plain(serve)
                && unmigrated(request, databases).is_none()
                && !Flush::is_confined(request, databases);
            is_plain.then(|| Queued::of(request, command, serve, self.context.db))
        };
        inner.iter().map(plain).collect()
    }

    /// Whether a request waits while writes are paused. One that nobody knows does.
    pub(in crate::proxy) fn is_paused_as_write(&self, request: &Request) -> bool {
        let Some(command) = lookup(request) else { return true };
        if self.is_queueing() {
            let exec = command.serve == Serve::Transaction(Transaction::Exec);
            return exec && self.has_queued_writes();
        }
        match command.serve(request) {
            Serve::Write | Serve::Barrier | Serve::Script => true,
            Serve::Blocking => command.mirror != Mirror::Never,
            _ => matches!(command.name, "PUBLISH" | "SPUBLISH" | "PFCOUNT"),
        }
    }
}

/// What names no database is the server's to refuse.
fn select(request: &Request) -> Action {
    match (number(request, 1), request.len()) {
        (Some(_), 2) => Action::Connection(Connection::Select),
        _ => Action::Once { rides: false },
    }
}

fn read(command: &Command, bulky: bool, rules: &Rules<'_>) -> Action {
    match command.name {
        "SCAN" if rules.checks_cursors => Action::Scan(1),
        "HSCAN" | "SSCAN" | "ZSCAN" if rules.checks_cursors => Action::Scan(2),
        "EVAL_RO" => Action::ReadByScript,
        _ => Action::Read { rides: !bulky },
    }
}

/// Whether a command may be part of a transaction here.
fn is_plain(serve: Serve) -> bool {
    matches!(
        serve,
        Serve::Read { .. }
            | Serve::Once { .. }
            | Serve::Write
            | Serve::Barrier
            | Serve::Blocking
            | Serve::Script
    )
}
