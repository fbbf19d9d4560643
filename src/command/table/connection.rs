//! The connection itself, transactions, and messages.

use super::{Command, bulky, other, read};
use crate::command::spec::{ALL_READ, NO_KEYS};
use crate::command::{Connection, Serve, Transaction};

pub(super) const COMMANDS: &[Command] = &[
    other("AUTH", (1, 0), -2, Serve::Connection(Connection::Auth)),
    other("CLIENT", (2, 4), -2, Serve::Connection(Connection::Client)),
    other("DISCARD", (2, 0), 1, Serve::Transaction(Transaction::Discard)),
    read("ECHO", (1, 0), 2, NO_KEYS),
    other("EXEC", (1, 2), 1, Serve::Transaction(Transaction::Exec)),
    other("HELLO", (6, 0), -1, Serve::Connection(Connection::Hello)),
    other("MULTI", (1, 2), 1, Serve::Transaction(Transaction::Multi)),
    read("PING", (1, 0), -1, NO_KEYS),
    other("PSUBSCRIBE", (2, 0), -2, Serve::Subscribe),
    read("PUBLISH", (2, 0), 3, NO_KEYS),
    read("PUBSUB", (2, 8), -2, NO_KEYS),
    bulky("PUBSUB CHANNELS", (2, 8), -2, NO_KEYS),
    bulky("PUBSUB HELP", (6, 2), 2, NO_KEYS),
    bulky("PUBSUB NUMPAT", (2, 8), 2, NO_KEYS),
    bulky("PUBSUB NUMSUB", (2, 8), -2, NO_KEYS),
    bulky("PUBSUB SHARDCHANNELS", (7, 0), -2, NO_KEYS),
    bulky("PUBSUB SHARDNUMSUB", (7, 0), -2, NO_KEYS),
    other("PUNSUBSCRIBE", (2, 0), -1, Serve::Subscribe),
    other("QUIT", (1, 0), -1, Serve::Connection(Connection::Quit)),
    other("RESET", (6, 2), 1, Serve::Connection(Connection::Reset)),
    other("SELECT", (1, 0), 2, Serve::Connection(Connection::Select)),
    read("SPUBLISH", (7, 0), 3, NO_KEYS),
    other("SSUBSCRIBE", (7, 0), -2, Serve::Subscribe),
    other("SUBSCRIBE", (2, 0), -2, Serve::Subscribe),
    other("SUNSUBSCRIBE", (7, 0), -1, Serve::Subscribe),
    other("UNSUBSCRIBE", (2, 0), -1, Serve::Subscribe),
    other("UNWATCH", (2, 2), 1, Serve::Transaction(Transaction::Unwatch)),
    other("WATCH", (2, 2), -2, Serve::Transaction(Transaction::Watch)).keyed(ALL_READ),
];
