//! Hashes, and the expiry of their fields.

use super::{Command, Varies, bulky, read, write};
use crate::protocol::command::Mirror;
use crate::protocol::command::spec::{ONE_READ, ONE_WRITTEN};

pub(super) const COMMANDS: &[Command] = &[
    write("HDEL", (2, 0), -3, ONE_WRITTEN, Mirror::Counted),
    read("HEXISTS", (2, 0), 3, ONE_READ),
    write("HEXPIRE", (7, 4), -6, ONE_WRITTEN, Mirror::HExpire).valkey(9, 0),
    write("HEXPIREAT", (7, 4), -6, ONE_WRITTEN, Mirror::HExpire).valkey(9, 0),
    read("HEXPIRETIME", (7, 4), -5, ONE_READ).valkey(9, 0),
    read("HGET", (2, 0), 3, ONE_READ),
    bulky("HGETALL", (2, 0), 2, ONE_READ),
    write("HGETDEL", (8, 0), -5, ONE_WRITTEN, Mirror::HGetDel).valkey(9, 1),
    write("HGETEX", (8, 0), -5, ONE_WRITTEN, Mirror::HGetEx).valkey(9, 0).varies(Varies::HGetEx),
    write("HINCRBY", (2, 0), 4, ONE_WRITTEN, Mirror::Creates),
    write("HINCRBYFLOAT", (2, 6), 4, ONE_WRITTEN, Mirror::HIncrByFloat),
    bulky("HKEYS", (2, 0), 2, ONE_READ),
    read("HLEN", (2, 0), 2, ONE_READ),
    bulky("HMGET", (2, 0), -3, ONE_READ),
    write("HMSET", (2, 0), -4, ONE_WRITTEN, Mirror::Creates),
    write("HPERSIST", (7, 4), -5, ONE_WRITTEN, Mirror::Verbatim).valkey(9, 0),
    write("HPEXPIRE", (7, 4), -6, ONE_WRITTEN, Mirror::HExpire).valkey(9, 0),
    write("HPEXPIREAT", (7, 4), -6, ONE_WRITTEN, Mirror::HExpire).valkey(9, 0),
    read("HPEXPIRETIME", (7, 4), -5, ONE_READ).valkey(9, 0),
    read("HPTTL", (7, 4), -5, ONE_READ).valkey(9, 0),
    bulky("HRANDFIELD", (6, 2), -2, ONE_READ),
    bulky("HSCAN", (2, 8), -3, ONE_READ),
    write("HSET", (2, 0), -4, ONE_WRITTEN, Mirror::Creates),
    write("HSETEX", (8, 0), -6, ONE_WRITTEN, Mirror::HSetEx).valkey(9, 0),
    write("HSETNX", (2, 0), 4, ONE_WRITTEN, Mirror::HSetIfAbsent),
    read("HSTRLEN", (3, 2), 3, ONE_READ),
    read("HTTL", (7, 4), -5, ONE_READ).valkey(9, 0),
    bulky("HVALS", (2, 0), 2, ONE_READ),
];
