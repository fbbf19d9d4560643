//! The connection itself, transactions, messages, scripts and functions.

use super::{Command, barrier, bulky, once, other, read, refused, script};
use crate::protocol::command::spec::{ALL_READ, COUNTED_READ_2, COUNTED_WRITTEN_2, NO_KEYS};
use crate::protocol::command::{Connection, Mirror, Serve, Transaction};

const OWN_SESSION: &str = "on a connection of its own";
const PRIMARY_ALONE: &str = "to the primary alone";

const fn client(name: &'static str, since: (u32, u32), arity: i8) -> Command {
    other(name, since, arity, Serve::Connection(Connection::Client))
}

/// The connection itself, transactions, and messages.
pub(super) const CONNECTION: &[Command] = &[
    other("AUTH", (1, 0), -2, Serve::Connection(Connection::Auth)),
    client("CLIENT", (2, 4), -2),
    client("CLIENT CACHING", (6, 0), 3).noted(OWN_SESSION),
    client("CLIENT CAPA", (8, 0), -3).valkey_only().noted("taken, and without effect"),
    client("CLIENT GETNAME", (2, 6), 2),
    client("CLIENT GETREDIR", (6, 0), 2),
    client("CLIENT HELP", (5, 0), 2),
    client("CLIENT ID", (5, 0), 2).noted("the proxy's own numbers"),
    refused("CLIENT IMPORT-SOURCE", (8, 1), 3, "it would stop expiry for the lanes alone")
        .valkey_only(),
    client("CLIENT INFO", (6, 2), 2).noted("memory and buffers are shown as 0"),
    client("CLIENT KILL", (2, 4), -3).noted("the proxy's clients, by every filter"),
    client("CLIENT LIST", (2, 4), -2).noted("the proxy's clients, by every filter"),
    client("CLIENT NO-EVICT", (7, 0), 3).noted("shown in `CLIENT LIST`, and without effect"),
    client("CLIENT NO-TOUCH", (7, 2), 3).noted(OWN_SESSION),
    client("CLIENT PAUSE", (3, 0), -3).noted("the proxy's clients; expiry goes on"),
    client("CLIENT REPLY", (3, 2), 3),
    client("CLIENT SETINFO", (7, 2), 4),
    client("CLIENT SETNAME", (2, 6), 3),
    client("CLIENT TRACKING", (6, 0), -3)
        .noted("on a connection of its own; told to drop everything at a flip"),
    client("CLIENT TRACKINGINFO", (6, 2), 2),
    client("CLIENT UNBLOCK", (5, 0), -3),
    client("CLIENT UNPAUSE", (6, 2), 2),
    other("DISCARD", (2, 0), 1, Serve::Transaction(Transaction::Discard)),
    read("ECHO", (1, 0), 2, NO_KEYS),
    other("EXEC", (1, 2), 1, Serve::Transaction(Transaction::Exec)),
    other("HELLO", (6, 0), -1, Serve::Connection(Connection::Hello)),
    other("MULTI", (1, 2), 1, Serve::Transaction(Transaction::Multi)),
    read("PING", (1, 0), -1, NO_KEYS),
    other("PSUBSCRIBE", (2, 0), -2, Serve::Subscribe),
    once("PUBLISH", (2, 0), 3, true).noted(PRIMARY_ALONE),
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
    other("SELECT", (1, 0), 2, Serve::Connection(Connection::Select))
        .noted("of a database that is not migrated: an error"),
    once("SPUBLISH", (7, 0), 3, true).noted(PRIMARY_ALONE),
    other("SSUBSCRIBE", (7, 0), -2, Serve::Subscribe),
    other("SUBSCRIBE", (2, 0), -2, Serve::Subscribe),
    other("SUNSUBSCRIBE", (7, 0), -1, Serve::Subscribe),
    other("UNSUBSCRIBE", (2, 0), -1, Serve::Subscribe),
    other("UNWATCH", (2, 2), 1, Serve::Transaction(Transaction::Unwatch)),
    other("WATCH", (2, 2), -2, Serve::Transaction(Transaction::Watch))
        .keyed(ALL_READ)
        .noted("after a flip `EXEC` answers nil"),
];

/// Scripts and functions.
pub(super) const SCRIPTING: &[Command] = &[
    script("EVAL", (2, 6), -3, COUNTED_WRITTEN_2),
    script("EVALSHA", (2, 6), -3, COUNTED_WRITTEN_2),
    bulky("EVALSHA_RO", (7, 0), -3, COUNTED_READ_2),
    bulky("EVAL_RO", (7, 0), -3, COUNTED_READ_2),
    script("FCALL", (7, 0), -3, COUNTED_WRITTEN_2),
    bulky("FCALL_RO", (7, 0), -3, COUNTED_READ_2),
    read("FUNCTION", (7, 0), -2, NO_KEYS),
    barrier("FUNCTION DELETE", (7, 0), 3, Mirror::Total),
    bulky("FUNCTION DUMP", (7, 0), 2, NO_KEYS),
    barrier("FUNCTION FLUSH", (7, 0), -2, Mirror::Total),
    read("FUNCTION HELP", (7, 0), 2, NO_KEYS),
    other("FUNCTION KILL", (7, 0), 2, Serve::Connection(Connection::Interrupt)),
    bulky("FUNCTION LIST", (7, 0), -2, NO_KEYS),
    barrier("FUNCTION LOAD", (7, 0), -3, Mirror::FunctionLoad),
    barrier("FUNCTION RESTORE", (7, 0), -3, Mirror::Recopy),
    read("FUNCTION STATS", (7, 0), 2, NO_KEYS),
    read("SCRIPT", (2, 6), -2, NO_KEYS),
    refused("SCRIPT DEBUG", (3, 2), 3, "it would stop the server for a debugger"),
    bulky("SCRIPT EXISTS", (2, 6), -3, NO_KEYS),
    barrier("SCRIPT FLUSH", (2, 6), -2, Mirror::Flush),
    read("SCRIPT HELP", (5, 0), 2, NO_KEYS),
    other("SCRIPT KILL", (2, 6), 2, Serve::Connection(Connection::Interrupt)),
    barrier("SCRIPT LOAD", (2, 6), 3, Mirror::Total),
    bulky("SCRIPT SHOW", (8, 0), 3, NO_KEYS).valkey_only(),
];
