//! Streams and their consumer groups.

use super::{Command, Varies, bulky, read, write};
use crate::protocol::capability::Since;
use crate::protocol::command::Mirror;
use crate::protocol::command::spec::{
    NO_KEYS, ONE_READ, ONE_WRITTEN, SECOND_READ, SECOND_WRITTEN, STREAMS_READ, STREAMS_WRITTEN,
};

/// How entries are trimmed, and what becomes of references to them.
const TRIMMING: &[(&str, Since)] = &[
    ("MINID", Since::redis(6, 2)),
    ("KEEPREF", Since::redis(8, 2)),
    ("DELREF", Since::redis(8, 2)),
    ("ACKED", Since::redis(8, 2)),
];

pub(super) const COMMANDS: &[Command] = &[
    write("XACK", (5, 0), -4, ONE_WRITTEN, Mirror::Counted),
    write("XACKDEL", (8, 2), -6, ONE_WRITTEN, Mirror::Recopy),
    write("XADD", (5, 0), -5, ONE_WRITTEN, Mirror::XAdd).later(TRIMMING),
    write("XAUTOCLAIM", (6, 2), -6, ONE_WRITTEN, Mirror::XAutoClaim),
    write("XCFGSET", (8, 6), -4, ONE_WRITTEN, Mirror::Recopy),
    write("XCLAIM", (5, 0), -6, ONE_WRITTEN, Mirror::XClaim),
    write("XDEL", (5, 0), -3, ONE_WRITTEN, Mirror::Counted),
    write("XDELEX", (8, 2), -5, ONE_WRITTEN, Mirror::Recopy),
    read("XGROUP", (5, 0), -2, NO_KEYS),
    write("XGROUP CREATE", (5, 0), -5, SECOND_WRITTEN, Mirror::XGroupPosition),
    write("XGROUP CREATECONSUMER", (6, 2), 5, SECOND_WRITTEN, Mirror::XGroupConsumer),
    write("XGROUP DELCONSUMER", (5, 0), 5, SECOND_WRITTEN, Mirror::Verbatim),
    write("XGROUP DESTROY", (5, 0), 4, SECOND_WRITTEN, Mirror::Counted),
    read("XGROUP HELP", (5, 0), 2, NO_KEYS),
    write("XGROUP SETID", (5, 0), -5, SECOND_WRITTEN, Mirror::XGroupPosition),
    read("XINFO", (5, 0), -2, NO_KEYS),
    bulky("XINFO CONSUMERS", (5, 0), 4, SECOND_READ),
    bulky("XINFO GROUPS", (5, 0), 3, SECOND_READ),
    bulky("XINFO HELP", (5, 0), 2, NO_KEYS),
    bulky("XINFO STREAM", (5, 0), -3, SECOND_READ),
    read("XLEN", (5, 0), 2, ONE_READ),
    write("XIDMPRECORD", (8, 6), 5, ONE_WRITTEN, Mirror::Recopy),
    write("XNACK", (8, 6), -2, ONE_WRITTEN, Mirror::Recopy),
    bulky("XPENDING", (5, 0), -3, ONE_READ),
    bulky("XRANGE", (5, 0), -4, ONE_READ),
    bulky("XREAD", (5, 0), -4, STREAMS_READ).varies(Varies::Block),
    write("XREADGROUP", (5, 0), -7, STREAMS_WRITTEN, Mirror::XReadGroup).varies(Varies::Block),
    bulky("XREVRANGE", (5, 0), -4, ONE_READ),
    write("XSETID", (5, 0), -3, ONE_WRITTEN, Mirror::Verbatim)
        .later(&[("ENTRIESADDED", Since::redis(7, 0))]),
    write("XTRIM", (5, 0), -4, ONE_WRITTEN, Mirror::XTrim).later(TRIMMING),
];
