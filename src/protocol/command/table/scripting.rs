//! Scripts and functions.

use super::{Command, barrier, bulky, other, read, refused, script};
use crate::protocol::command::spec::{COUNTED_READ_2, COUNTED_WRITTEN_2, NO_KEYS};
use crate::protocol::command::{Connection, Mirror, Serve};

pub(super) const COMMANDS: &[Command] = &[
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
