//! Keys of any type, and strings.

use super::{Command, Varies, bulky, other, read, refused, write};
use crate::protocol::command::spec::{
    ALL_READ, ALL_WRITTEN, BITOP, COPY, COUNTED_PAIRS_WRITTEN, MOVE, NO_KEYS, ONE_READ,
    ONE_WRITTEN, PAIRS_WRITTEN, SECOND_READ, SORT, STORE_ALL, TWO_READ, TWO_WRITTEN,
};
use crate::protocol::command::{Mirror, Serve};

const REPLICAS_ALONE: &str =
    "on a connection of its own; counts replicas of the primary, never the secondary";

/// Keys of any type.
pub(super) const GENERIC: &[Command] = &[
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

/// Strings, bitmaps and `HyperLogLog`s, which are strings too.
pub(super) const STRINGS: &[Command] = &[
    write("APPEND", (2, 0), 3, ONE_WRITTEN, Mirror::Creates),
    read("BITCOUNT", (2, 6), -2, ONE_READ),
    write("BITFIELD", (3, 2), -2, ONE_WRITTEN, Mirror::Creates).varies(Varies::BitField),
    bulky("BITFIELD_RO", (6, 0), -2, ONE_READ),
    write("BITOP", (2, 6), -4, BITOP, Mirror::Recopy),
    read("BITPOS", (2, 8), -3, ONE_READ),
    write("DECR", (1, 0), 2, ONE_WRITTEN, Mirror::Creates),
    write("DECRBY", (1, 0), 3, ONE_WRITTEN, Mirror::Creates),
    write("DELEX", (8, 4), -2, ONE_WRITTEN, Mirror::Removed),
    write("DELIFEQ", (9, 0), 3, ONE_WRITTEN, Mirror::Removed).valkey_only(),
    read("DIGEST", (8, 4), 2, ONE_READ),
    read("GET", (1, 0), 2, ONE_READ),
    read("GETBIT", (2, 2), 3, ONE_READ),
    write("GETDEL", (6, 2), 2, ONE_WRITTEN, Mirror::Removed),
    write("GETEX", (6, 2), -2, ONE_WRITTEN, Mirror::GetEx).varies(Varies::GetEx),
    bulky("GETRANGE", (2, 4), 4, ONE_READ),
    write("GETSET", (1, 0), 3, ONE_WRITTEN, Mirror::GetSet),
    write("INCR", (1, 0), 2, ONE_WRITTEN, Mirror::Creates),
    write("INCRBY", (1, 0), 3, ONE_WRITTEN, Mirror::Creates),
    write("INCRBYFLOAT", (2, 6), 3, ONE_WRITTEN, Mirror::IncrByFloat),
    write("INCREX", (8, 6), -2, ONE_WRITTEN, Mirror::Recopy),
    bulky("LCS", (7, 0), -3, TWO_READ),
    bulky("MGET", (1, 0), -2, ALL_READ),
    write("MSET", (1, 0), -3, PAIRS_WRITTEN, Mirror::Total),
    write("MSETEX", (8, 4), -4, COUNTED_PAIRS_WRITTEN, Mirror::Recopy),
    write("MSETNX", (1, 0), -3, PAIRS_WRITTEN, Mirror::MSetIfAbsent),
    write("PFADD", (2, 8), -2, ONE_WRITTEN, Mirror::CountedCreates),
    // Counting one key renews the count that it caches, which is a part of its bytes.
    write("PFCOUNT", (2, 8), -2, ALL_WRITTEN, Mirror::Verbatim).varies(Varies::PfCount),
    refused("PFDEBUG", (2, 8), 3, "internal to the server"),
    write("PFMERGE", (2, 8), -2, STORE_ALL, Mirror::Recopy),
    refused("PFSELFTEST", (2, 8), 1, "internal to the server"),
    write("PSETEX", (2, 6), 4, ONE_WRITTEN, Mirror::SetExpiring),
    write("SET", (1, 0), -3, ONE_WRITTEN, Mirror::Set),
    write("SETBIT", (2, 2), 4, ONE_WRITTEN, Mirror::Creates),
    write("SETEX", (2, 0), 4, ONE_WRITTEN, Mirror::SetExpiring),
    write("SETNX", (1, 0), 3, ONE_WRITTEN, Mirror::SetIfAbsent),
    write("SETRANGE", (2, 2), 4, ONE_WRITTEN, Mirror::Creates),
    bulky("STRALGO", (6, 0), -2, NO_KEYS),
    read("STRLEN", (2, 2), 2, ONE_READ),
    bulky("SUBSTR", (1, 0), 4, ONE_READ),
];
