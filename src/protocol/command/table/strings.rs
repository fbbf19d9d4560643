//! Strings, bitmaps and `HyperLogLog`s, which are strings too.

use super::{Command, Varies, bulky, read, refused, write};
use crate::protocol::command::Mirror;
use crate::protocol::command::spec::{
    ALL_READ, ALL_WRITTEN, BITOP, COUNTED_PAIRS_WRITTEN, NO_KEYS, ONE_READ, ONE_WRITTEN,
    PAIRS_WRITTEN, STORE_ALL, TWO_READ,
};

pub(super) const COMMANDS: &[Command] = &[
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
