//! Sets.

use super::{Command, bulky, read, write};
use crate::protocol::command::Mirror;
use crate::protocol::command::spec::{
    ALL_READ, COUNTED_READ, ONE_READ, ONE_WRITTEN, STORE_ALL, TWO_WRITTEN,
};

pub(super) const COMMANDS: &[Command] = &[
    write("SADD", (1, 0), -3, ONE_WRITTEN, Mirror::CountedCreates),
    read("SCARD", (1, 0), 2, ONE_READ),
    bulky("SDIFF", (1, 0), -2, ALL_READ),
    read("SDIFFCARD", (8, 6), -3, COUNTED_READ),
    write("SDIFFSTORE", (1, 0), -3, STORE_ALL, Mirror::Recopy),
    bulky("SINTER", (1, 0), -2, ALL_READ),
    read("SINTERCARD", (7, 0), -3, COUNTED_READ),
    write("SINTERSTORE", (1, 0), -3, STORE_ALL, Mirror::Recopy),
    read("SISMEMBER", (1, 0), 3, ONE_READ),
    bulky("SMEMBERS", (1, 0), 2, ONE_READ),
    bulky("SMISMEMBER", (6, 2), -3, ONE_READ),
    write("SMOVE", (1, 0), 4, TWO_WRITTEN, Mirror::Transfer),
    write("SPOP", (1, 0), -2, ONE_WRITTEN, Mirror::SPop),
    bulky("SRANDMEMBER", (1, 0), -2, ONE_READ),
    write("SREM", (1, 0), -3, ONE_WRITTEN, Mirror::Counted),
    bulky("SSCAN", (2, 8), -3, ONE_READ),
    bulky("SUNION", (1, 0), -2, ALL_READ),
    read("SUNIONCARD", (8, 6), -3, COUNTED_READ),
    write("SUNIONSTORE", (1, 0), -3, STORE_ALL, Mirror::Recopy),
];
