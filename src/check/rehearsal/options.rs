//! Options that came later than their command, and where among its arguments they may stand: a
//! value that happens to read like one is none.

use std::ops::Range;

use crate::protocol::capability::{Capabilities, Since};
use crate::protocol::resp::{Request, parse_integer};

use At::{From, Leading, More, When};

/// Where an option stands.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Anywhere from this argument on.
    From(usize),
    /// From this argument on, but before the first number or ID that belongs to no option.
    Leading(usize),
    /// It has no name: there are more arguments than so many, the command's name included.
    More(usize),
    /// It has no name, and is told by what stands there.
    When(fn(&Request) -> bool),
}

#[derive(Clone, Copy)]
struct Later {
    commands: &'static [&'static str],
    at: At,
    /// Its names; of one that has none, what it is.
    options: &'static [&'static str],
    since: Since,
}

const fn later(
    commands: &'static [&'static str],
    at: At,
    options: &'static [&'static str],
    since: (u32, u32),
) -> Later {
    Later { commands, at, options, since: Since::redis(since.0, since.1) }
}

const fn and_valkey(later: Later, major: u32, minor: u32) -> Later {
    Later { since: Since { valkey: Some((major, minor)), ..later.since }, ..later }
}

/// Of Valkey alone.
const fn valkey(later: Later) -> Later {
    Later { since: Since { redis: None, valkey: later.since.redis }, ..later }
}

const LATER: &[Later] = &[
    later(&["BITCOUNT"], More(4), &["BYTE or BIT"], (7, 0)),
    later(&["BITOP"], From(1), &["DIFF", "DIFF1", "ANDOR", "ONE"], (8, 2)),
    later(&["BITPOS"], More(5), &["BYTE or BIT"], (7, 0)),
    later(&["CONFIG GET"], More(3), &["several parameters"], (7, 0)),
    later(
        &["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"],
        From(3),
        &["NX", "XX", "GT", "LT"],
        (7, 0),
    ),
    later(&["FLUSHALL", "FLUSHDB"], From(1), &["SYNC"], (6, 2)),
    later(&["GEOADD"], Leading(2), &["NX", "XX", "CH"], (6, 2)),
    later(&["GEORADIUS", "GEORADIUS_RO"], From(6), &["ANY"], (6, 2)),
    later(&["GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO"], From(5), &["ANY"], (6, 2)),
    valkey(later(&["GEOSEARCH", "GEOSEARCHSTORE"], From(2), &["BYPOLYGON"], (9, 0))),
    and_valkey(later(&["HSCAN"], From(3), &["NOVALUES"], (7, 4)), 8, 0),
    later(&["INFO"], More(2), &["several sections"], (7, 0)),
    later(&["LPOP", "RPOP"], More(2), &["count"], (6, 2)),
    later(&["RESTORE"], From(4), &["ABSTTL", "IDLETIME", "FREQ"], (5, 0)),
    later(&["SCAN"], From(2), &["TYPE"], (6, 0)),
    later(&["SCRIPT FLUSH"], More(2), &["ASYNC or SYNC"], (6, 2)),
    later(&["SET"], From(3), &["KEEPTTL"], (6, 0)),
    later(&["SET"], From(3), &["GET", "EXAT", "PXAT"], (6, 2)),
    and_valkey(later(&["SET"], From(3), &["IFEQ"], (8, 4)), 8, 1),
    later(&["SET"], From(3), &["IFNE", "IFDEQ", "IFDNE"], (8, 4)),
    later(&["XADD"], Leading(2), &["NOMKSTREAM", "MINID", "LIMIT"], (6, 2)),
    later(&["XADD"], When(takes_next_number), &["<ms>-*"], (7, 0)),
    later(&["XADD"], Leading(2), &["KEEPREF", "DELREF", "ACKED"], (8, 2)),
    later(&["XGROUP CREATE", "XGROUP SETID"], From(4), &["ENTRIESREAD"], (7, 0)),
    later(&["XPENDING"], From(3), &["IDLE"], (6, 2)),
    and_valkey(later(&["XREAD"], When(asks_for_last), &["+"], (7, 4)), 8, 0),
    later(&["XREADGROUP"], Leading(4), &["CLAIM"], (8, 4)),
    later(&["XSETID"], From(3), &["ENTRIESADDED", "MAXDELETEDID"], (7, 0)),
    later(&["XTRIM"], From(2), &["MINID", "LIMIT"], (6, 2)),
    later(&["XTRIM"], From(2), &["KEEPREF", "DELREF", "ACKED"], (8, 2)),
    later(&["ZADD"], Leading(2), &["GT", "LT"], (6, 2)),
    later(&["ZRANGE"], From(4), &["BYSCORE", "BYLEX", "REV", "LIMIT"], (6, 2)),
    later(&["ZRANK", "ZREVRANK"], More(3), &["WITHSCORE"], (7, 2)),
];

/// Whether some option of the command is in a gap.
pub(super) fn may_lack(command: &str, source: &Capabilities, target: &Capabilities) -> bool {
    gaps(command, source, target).next().is_some()
}

/// The first option of the request that the source has and the target has not.
pub(super) fn lacking(
    command: &str,
    request: &Request,
    source: &Capabilities,
    target: &Capabilities,
) -> Option<&'static str> {
    gaps(command, source, target).find_map(|later| later.used(request))
}

fn gaps(
    command: &str,
    source: &Capabilities,
    target: &Capabilities,
) -> impl Iterator<Item = &'static Later> {
    LATER.iter().filter(move |later| {
        later.commands.contains(&command) && source.knows(later.since) && !target.knows(later.since)
    })
}

impl Later {
    fn used(&self, request: &Request) -> Option<&'static str> {
        let among = |places: Range<usize>| {
            let used = |option: &&&str| places.clone().any(|index| request.is(index, option));
            self.options.iter().find(used)
        };
        let used = match self.at {
            From(first) => among(first..request.len()),
            Leading(first) => among(first..end_of_options(request, first)),
            More(count) => self.options.first().filter(|_| request.len() > count),
            When(is_used) => self.options.first().filter(|_| is_used(request)),
        };
        used.copied()
    }
}

/// Where the first number or ID stands that belongs to no option.
fn end_of_options(request: &Request, first: usize) -> usize {
    let takes = |index: usize| {
        ["MAXLEN", "MINID", "LIMIT", "=", "~", "COUNT", "BLOCK", "CLAIM"]
            .iter()
            .any(|option| request.is(index, option))
    };
    let is_value = |index: &usize| {
        let text = request.arg(*index).unwrap_or_default();
        let number = parse_integer(text).is_some() || text.first().copied().is_some_and(is_id);
        number && !takes(index - 1)
    };
    (first..request.len()).find(is_value).unwrap_or(request.len())
}

/// Of an `XADD`: the time of the ID is given, and the number behind it is not.
fn takes_next_number(request: &Request) -> bool {
    request.arg(end_of_options(request, 2)).is_some_and(|id| id.ends_with(b"-*"))
}

/// Of an `XREAD`: the last entry of a stream.
fn asks_for_last(request: &Request) -> bool {
    let streams = (1..request.len()).find(|index| request.is(*index, "STREAMS"));
    streams.is_some_and(|at| (at + 1..request.len()).any(|index| request.is(index, "+")))
}

/// What a number, an ID or an infinite score begins with.
fn is_id(byte: u8) -> bool {
    byte.is_ascii_digit() || b"*+-.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::capability::Family;
    use crate::protocol::command;

    fn redis(major: u32, minor: u32) -> Capabilities {
        Capabilities { family: Family::Redis, version: (major, minor, 0) }
    }

    fn found(line: &str, source: &Capabilities, target: &Capabilities) -> Option<&'static str> {
        let request = Request::new(line.split(' '));
        lacking(command::lookup(&request).unwrap().name, &request, source, target)
    }

    #[test]
    fn an_option_is_found_where_it_is_one_and_nowhere_else() {
        let (old, new) = (redis(6, 0), redis(8, 4));
        for (line, expected) in [
            ("SET k v EX 10 GET", Some("GET")),
            ("SET k get", None),
            ("SET get v EX 10", None),
            ("EXPIRE k 10 nx", Some("NX")),
            ("EXPIRE nx 10", None),
            ("ZADD k XX GT CH 1 a", Some("GT")),
            ("ZADD k 1 gt", None),
            ("ZADD k -inf lt", None),
            ("XADD k MAXLEN ~ 100 LIMIT 5 * f v", Some("LIMIT")),
            ("XADD k NOMKSTREAM 1-1 f v", Some("NOMKSTREAM")),
            ("XADD k * minid v", None),
            ("XADD k MAXLEN 10 5-* f v", Some("<ms>-*")),
            ("XADD k 5-1 f 6-*", None),
            ("XREAD COUNT 1 STREAMS k +", Some("+")),
            ("XREAD COUNT 1 STREAMS k 0", None),
            ("GEOADD k CH 1 2 m", Some("CH")),
            ("GEOADD k 1 2 ch", None),
            ("LPOP k 2", Some("count")),
            ("LPOP k", None),
            ("ZRANGE k 0 1 REV", Some("REV")),
        ] {
            assert_eq!(found(line, &new, &old), expected, "{line}");
        }
    }

    #[test]
    fn what_both_know_or_neither_is_no_gap() {
        assert_eq!(found("EXPIRE k 10 NX", &redis(7, 0), &redis(7, 0)), None);
        assert_eq!(found("EXPIRE k 10 NX", &redis(6, 2), &redis(6, 0)), None);
        let valkey = Capabilities { family: Family::Valkey, version: (8, 1, 0) };
        assert_eq!(found("SET k v IFEQ w", &valkey, &redis(8, 0)), Some("IFEQ"));
        assert_eq!(found("SET k v IFEQ w", &redis(8, 4), &valkey), None);
    }

    #[test]
    fn every_command_with_a_later_option_is_in_the_table() {
        for name in LATER.iter().flat_map(|later| later.commands) {
            let known = command::table().iter().any(|command| command.name == *name);
            assert!(known, "{name}");
        }
    }
}
