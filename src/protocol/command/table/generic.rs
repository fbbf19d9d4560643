//! Keys of any type.

use super::{Command, Varies, bulky, other, read, refused, write};
use crate::protocol::command::spec::{
    ALL_READ, ALL_WRITTEN, COPY, MOVE, NO_KEYS, ONE_READ, ONE_WRITTEN, SECOND_READ, SORT,
    TWO_WRITTEN,
};
use crate::protocol::command::{Mirror, Serve};

const REPLICAS_ALONE: &str =
    "on a connection of its own; counts replicas of the primary, never the secondary";

pub(super) const COMMANDS: &[Command] = &[
    write("COPY", (6, 2), -3, COPY, Mirror::Recopy),
    write("DEL", (1, 0), -2, ALL_WRITTEN, Mirror::Total),
    bulky("DUMP", (2, 6), 2, ONE_READ),
    read("EXISTS", (1, 0), -2, ALL_READ),
    write("EXPIRE", (1, 0), -3, ONE_WRITTEN, Mirror::Expire),
    write("EXPIREAT", (1, 2), -3, ONE_WRITTEN, Mirror::Expire),
    read("EXPIRETIME", (7, 0), 2, ONE_READ),
    bulky("KEYS", (1, 0), 2, NO_KEYS),
    refused("MIGRATE", (2, 6), -6, "it would move keys behind the migration"),
    write("MOVE", (1, 0), 3, MOVE, Mirror::Recopy),
    read("OBJECT", (2, 2), -2, NO_KEYS),
    read("OBJECT ENCODING", (2, 2), 3, SECOND_READ),
    read("OBJECT FREQ", (4, 0), 3, SECOND_READ),
    read("OBJECT HELP", (6, 2), 2, NO_KEYS),
    read("OBJECT IDLETIME", (2, 2), 3, SECOND_READ),
    read("OBJECT REFCOUNT", (2, 2), 3, SECOND_READ),
    write("PERSIST", (2, 2), 2, ONE_WRITTEN, Mirror::Counted),
    write("PEXPIRE", (2, 6), -3, ONE_WRITTEN, Mirror::Expire),
    write("PEXPIREAT", (2, 6), -3, ONE_WRITTEN, Mirror::Expire),
    read("PEXPIRETIME", (7, 0), 2, ONE_READ),
    read("PTTL", (2, 6), 2, ONE_READ),
    read("RANDOMKEY", (1, 0), 1, NO_KEYS),
    write("RENAME", (1, 0), 3, TWO_WRITTEN, Mirror::Transfer),
    write("RENAMENX", (1, 0), 3, TWO_WRITTEN, Mirror::RenameIfAbsent),
    write("RESTORE", (2, 6), -4, ONE_WRITTEN, Mirror::Restore),
    bulky("SCAN", (2, 8), -2, NO_KEYS).noted("starts over with a cursor of before a flip"),
    write("SORT", (1, 0), -2, SORT, Mirror::Recopy).varies(Varies::Sort),
    bulky("SORT_RO", (7, 0), -2, ONE_READ),
    read("TOUCH", (3, 2), -2, ALL_READ),
    read("TTL", (1, 0), 2, ONE_READ),
    read("TYPE", (1, 0), 2, ONE_READ),
    write("UNLINK", (4, 0), -2, ALL_WRITTEN, Mirror::Total),
    other("WAIT", (3, 0), 3, Serve::Session).noted(REPLICAS_ALONE),
    other("WAITAOF", (7, 2), 4, Serve::Session).noted(REPLICAS_ALONE),
];
