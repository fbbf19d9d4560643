//! Lists.

use super::{Command, blocking, bulky, read, write};
use crate::protocol::command::Mirror;
use crate::protocol::command::spec::{
    ALL_BUT_LAST_WRITTEN, COUNTED_WRITTEN, COUNTED_WRITTEN_2, ONE_READ, ONE_WRITTEN, TWO_WRITTEN,
};

pub(super) const COMMANDS: &[Command] = &[
    blocking("BLMOVE", (6, 2), 6, TWO_WRITTEN, Mirror::Move),
    blocking("BLMOVEM", (8, 6), -3, TWO_WRITTEN, Mirror::Recopy),
    blocking("BLMPOP", (7, 0), -5, COUNTED_WRITTEN_2, Mirror::PopElsewhere),
    blocking("BLPOP", (2, 0), -3, ALL_BUT_LAST_WRITTEN, Mirror::BlockingPop),
    blocking("BRPOP", (2, 0), -3, ALL_BUT_LAST_WRITTEN, Mirror::BlockingPop),
    blocking("BRPOPLPUSH", (2, 2), 4, TWO_WRITTEN, Mirror::Move),
    read("LINDEX", (1, 0), 3, ONE_READ),
    write("LINSERT", (2, 2), 5, ONE_WRITTEN, Mirror::Counted),
    read("LLEN", (1, 0), 2, ONE_READ),
    write("LMOVE", (6, 2), 5, TWO_WRITTEN, Mirror::Move),
    write("LMOVEM", (8, 6), -3, TWO_WRITTEN, Mirror::Recopy),
    write("LMPOP", (7, 0), -4, COUNTED_WRITTEN, Mirror::PopElsewhere),
    write("LPOP", (1, 0), -2, ONE_WRITTEN, Mirror::Pop),
    bulky("LPOS", (6, 0), -3, ONE_READ),
    write("LPUSH", (1, 0), -3, ONE_WRITTEN, Mirror::Counted),
    write("LPUSHX", (2, 2), -3, ONE_WRITTEN, Mirror::Counted),
    bulky("LRANGE", (1, 0), 4, ONE_READ),
    write("LREM", (1, 0), 4, ONE_WRITTEN, Mirror::Counted),
    write("LSET", (1, 0), 4, ONE_WRITTEN, Mirror::Verbatim),
    write("LTRIM", (1, 0), 4, ONE_WRITTEN, Mirror::Verbatim),
    write("RPOP", (1, 0), -2, ONE_WRITTEN, Mirror::Pop),
    write("RPOPLPUSH", (1, 2), 3, TWO_WRITTEN, Mirror::Move),
    write("RPUSH", (1, 0), -3, ONE_WRITTEN, Mirror::Counted),
    write("RPUSHX", (2, 2), -3, ONE_WRITTEN, Mirror::Counted),
];
