//! What two servers may answer to a read and still hold the same.
//!
//! *Rule:* a command is here only if its reply follows from its keys alone: not from chance, the time,
//! the memory that a value takes, or keys that it does not name.

use bytes::Bytes;

use crate::protocol::resp::{Reply, Request};

/// How replies of two servers that hold the same are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// To the letter.
    Exact,
    /// The elements may stand in another order.
    AnyOrder,
    /// Pairs may stand in another order.
    Pairs,
    /// Numbers may have other digits: servers of different versions write them differently.
    Numbers,
    /// Both of the last two.
    NumbersInAnyOrder,
}

/// The reads that can be compared.
const ALIKE: &[(Likeness, &[&str])] = &[
    (
        Likeness::Exact,
        &[
            "BITCOUNT",
            "BITFIELD_RO",
            "BITPOS",
            "EXISTS",
            "GET",
            "GETBIT",
            "GETRANGE",
            "HEXISTS",
            "HGET",
            "HLEN",
            "HMGET",
            "HSTRLEN",
            "LCS",
            "LINDEX",
            "LLEN",
            "LPOS",
            "LRANGE",
            "MGET",
            "SCARD",
            "SINTERCARD",
            "SISMEMBER",
            "SMISMEMBER",
            "STRLEN",
            "SUBSTR",
            "TYPE",
            "XLEN",
            "XRANGE",
            "XREAD",
            "XREVRANGE",
            "ZCARD",
            "ZCOUNT",
            "ZINTERCARD",
            "ZLEXCOUNT",
            "ZRANGEBYLEX",
            "ZREVRANGEBYLEX",
        ],
    ),
    (Likeness::AnyOrder, &["HKEYS", "HVALS", "SDIFF", "SINTER", "SMEMBERS", "SUNION"]),
    (Likeness::Pairs, &["HGETALL"]),
    (
        Likeness::Numbers,
        &[
            "GEODIST",
            "GEOHASH",
            "GEOPOS",
            "ZDIFF",
            "ZINTER",
            "ZMSCORE",
            "ZRANGE",
            "ZRANGEBYSCORE",
            "ZRANK",
            "ZREVRANGE",
            "ZREVRANGEBYSCORE",
            "ZREVRANK",
            "ZSCORE",
            "ZUNION",
        ],
    ),
    (Likeness::NumbersInAnyOrder, &["GEORADIUSBYMEMBER_RO", "GEORADIUS_RO", "GEOSEARCH"]),
];

/// How two servers' replies to this request of the command of that name are alike; `None` for one whose
/// replies say nothing of whether they hold the same.
pub(crate) fn likeness(name: &str, request: &Request) -> Option<Likeness> {
    let likeness = of(name)?;
    // Any of those that match will do.
    let takes_any = || (1..request.len()).any(|index| request.is(index, "ANY"));
    (likeness != Likeness::NumbersInAnyOrder || !takes_any()).then_some(likeness)
}

fn of(name: &str) -> Option<Likeness> {
    ALIKE.iter().find(|(_, names)| names.contains(&name)).map(|(likeness, _)| *likeness)
}

impl Likeness {
    /// Whether two replies are so alike; `None` when that cannot be told.
    pub(crate) fn holds(self, one: &Bytes, other: &Bytes) -> Option<bool> {
        if one == other {
            return Some(true);
        }
        let (one, other) = (Reply::parse(one).ok()?, Reply::parse(other).ok()?);
        if [&one, &other].into_iter().any(holds_a_cache) {
            return None;
        }
        Some(match self {
            Self::Exact => one.says_the_same_as(&other),
            Self::AnyOrder => sorted(&one) == sorted(&other),
            Self::Pairs => pairs(&one) == pairs(&other),
            Self::Numbers => normal(&one) == normal(&other),
            Self::NumbersInAnyOrder => sorted(&normal(&one)) == sorted(&normal(&other)),
        })
    }
}

/// A part of a `HyperLogLog` is a count that a server renews when it likes to.
fn holds_a_cache(reply: &Reply) -> bool {
    let is_hyper_log_log =
        |reply: &Reply| reply.text().is_some_and(|text| text.starts_with(b"HYLL"));
    is_hyper_log_log(reply) || reply.items().unwrap_or_default().iter().any(is_hyper_log_log)
}

/// The elements in an order of ours.
fn sorted(reply: &Reply) -> Option<Vec<String>> {
    let mut items: Vec<String> = reply.items()?.iter().map(|item| format!("{item:?}")).collect();
    items.sort_unstable();
    Some(items)
}

/// The pairs of a map, or of an array that stands for one, in an order of ours.
fn pairs(reply: &Reply) -> Option<Vec<String>> {
    let mut pairs: Vec<String> = match reply {
        Reply::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        reply => reply.items()?.chunks(2).map(|pair| format!("{pair:?}")).collect(),
    };
    pairs.sort_unstable();
    Some(pairs)
}

/// The reply with every number that is a text written our way.
fn normal(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(items) => Reply::Array(items.iter().map(normal).collect()),
        Reply::Bulk(text) | Reply::Double(text) => number(text).unwrap_or_else(|| reply.clone()),
        other => other.clone(),
    }
}

fn number(text: &[u8]) -> Option<Reply> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(Reply::Double(number.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::command::{Serve, lookup, table};

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn of_line(line: &str) -> Option<Likeness> {
        let request = Request::new(line.split(' '));
        likeness(lookup(&request).unwrap().name, &request)
    }

    #[test]
    fn every_command_that_is_compared_is_a_read_of_keys_that_it_names() {
        for name in ALIKE.iter().flat_map(|(_, names)| *names) {
            let command = table().iter().find(|command| command.name == *name).unwrap();
            assert!(matches!(command.serve, Serve::Read { .. }), "{name}");
            assert!(!command.specs.is_empty(), "{name} names no key");
        }
    }

    #[test]
    fn what_depends_on_chance_or_time_or_unnamed_keys_is_not_compared() {
        for line in [
            "RANDOMKEY",
            "SCAN 0",
            "KEYS *",
            "TIME",
            "TTL k",
            "PTTL k",
            "PEXPIRETIME k",
            "OBJECT FREQ k",
            "SRANDMEMBER k",
            "HRANDFIELD k",
            "ZRANDMEMBER k",
            "SSCAN k 0",
            "DUMP k",
            "SORT_RO k",
            "MEMORY USAGE k",
            "XPENDING k g",
            "XINFO STREAM k",
            "DBSIZE",
            "SET k v",
            "EVAL_RO x 0",
            "GEOSEARCH k FROMMEMBER m BYRADIUS 1 m COUNT 1 ANY",
        ] {
            assert_eq!(of_line(line), None, "{line}");
        }
        assert_eq!(of_line("get k"), Some(Likeness::Exact));
    }

    #[test]
    fn sets_and_maps_are_alike_in_any_order_and_lists_are_not() {
        let (ab, ba) = ("*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n");
        let (set, tes) = ("~2\r\n$1\r\na\r\n$1\r\nb\r\n", "~2\r\n$1\r\nb\r\n$1\r\na\r\n");
        let holds = |likeness: Likeness, one, other| likeness.holds(&bytes(one), &bytes(other));
        assert_eq!(holds(Likeness::AnyOrder, ab, ba), Some(true));
        assert_eq!(holds(Likeness::AnyOrder, set, tes), Some(true));
        assert_eq!(holds(Likeness::Exact, ab, ba), Some(false));
        assert_eq!(holds(Likeness::AnyOrder, ab, "*2\r\n$1\r\na\r\n$1\r\na\r\n"), Some(false));
        assert_eq!(holds(Likeness::AnyOrder, ab, "-WRONGTYPE\r\n"), Some(false));
        let (map, pam) = ("%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", "%2\r\n+b\r\n:2\r\n+a\r\n:1\r\n");
        assert_eq!(holds(Likeness::Pairs, map, pam), Some(true));
        let (flat, talf) = ("*4\r\n+a\r\n:1\r\n+b\r\n:2\r\n", "*4\r\n+b\r\n:2\r\n+a\r\n:1\r\n");
        assert_eq!(holds(Likeness::Pairs, flat, talf), Some(true));
        assert_eq!(holds(Likeness::Pairs, flat, "*4\r\n+b\r\n:1\r\n+a\r\n:2\r\n"), Some(false));
    }

    #[test]
    fn a_score_is_the_same_however_many_digits_a_server_writes_and_a_value_is_not() {
        let (short, long) = (bytes("$3\r\n1.1\r\n"), bytes("$18\r\n1.1000000000000001\r\n"));
        assert_eq!(Likeness::Numbers.holds(&short, &long), Some(true));
        assert_eq!(Likeness::Exact.holds(&short, &long), Some(false));
        let (nested, other) = (bytes("*2\r\n+a\r\n,3\r\n"), bytes("*2\r\n+a\r\n,3.0\r\n"));
        assert_eq!(Likeness::Numbers.holds(&nested, &other), Some(true));
    }

    #[test]
    fn the_count_that_a_hyper_log_log_holds_is_not_told_from_a_difference() {
        let (one, other) = (bytes("$5\r\nHYLL1\r\n"), bytes("$5\r\nHYLL2\r\n"));
        assert_eq!(Likeness::Exact.holds(&one, &other), None);
    }
}
