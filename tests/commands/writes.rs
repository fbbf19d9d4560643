//! Random writes of every kind over a small keyspace.

use crossfade::protocol::resp::Request;

/// Placeholders: `{s}` a string's key, `{l}` a list's, `{h}` a hash's, `{u}` a set's, `{z}` a
/// sorted set's, `{x}` a stream's, `{p}` a `HyperLogLog`'s, `{a}` any key; `{f}` a field or member, `{n}` a small number, `{d}`
/// a decimal, `{v}` a value, `{t}` a time to live in milliseconds, `{T}` in seconds, `{i}` an entry's
/// number, `{g}` a group, `{c}` a consumer.
pub(crate) const WRITES: &[&str] = &[
    "SET {s} {v}",
    "SET {s} {n}",
    "SET {s} {v} PX {t}",
    "SET {s} {n} EX {T} NX",
    "SET {s} {v} XX GET",
    "SET {s} {v} NX GET",
    "SET {s} {v} KEEPTTL",
    "SET {s} {v} XX KEEPTTL GET",
    "SETNX {s} {n}",
    "SETEX {s} {T} {v}",
    "PSETEX {s} {t} {n}",
    "GETSET {s} {n}",
    "GETDEL {s}",
    "GETEX {s} PX {t}",
    "GETEX {s} PERSIST",
    "MSET {s} {n} {s} {v}",
    "MSETNX {s} {n} {s} {v}",
    "APPEND {s} {v}",
    "SETRANGE {s} {n} {v}",
    "SETBIT {s} {n} 1",
    "BITFIELD {s} SET u8 {n} 7 INCRBY u4 {n} 3 OVERFLOW FAIL INCRBY u2 0 3",
    "BITOP OR {s} {s} {s}",
    "INCR {s}",
    "DECR {s}",
    "INCRBY {s} {n}",
    "DECRBY {s} {n}",
    "INCRBYFLOAT {s} {d}",
    "PFADD {p} {v} {f}",
    "PFMERGE {p} {p} {p}",
    "DEL {a} {a}",
    "UNLINK {a}",
    "EXPIRE {a} {T}",
    "EXPIRE {a} {T} GT",
    "PEXPIRE {a} {t} NX",
    "PEXPIRE {a} {t} LT",
    "PEXPIRE {a} {t}",
    "PEXPIRE {a} {t} XX",
    "EXPIRE {a} -1",
    "PERSIST {a}",
    "RENAME {a} {a}",
    "RENAMENX {a} {a}",
    "COPY {a} {a}",
    "COPY {a} {a} REPLACE",
    "HSET {h} {f} {v} {f} {n}",
    "HMSET {h} {f} {n}",
    "HSETNX {h} {f} {v}",
    "HDEL {h} {f} {f}",
    "HINCRBY {h} {f} {n}",
    "HINCRBYFLOAT {h} {f} {d}",
    "LPUSH {l} {f} {v}",
    "RPUSH {l} {f}",
    "LPUSHX {l} {v}",
    "RPUSHX {l} {f}",
    "LINSERT {l} BEFORE {f} {v}",
    "LSET {l} {n} {v}",
    "LREM {l} 1 {f}",
    "LTRIM {l} 0 5",
    "LPOP {l}",
    "RPOP {l} 2",
    "LMPOP 2 {l} {l} LEFT",
    "LMPOP 2 {l} {l} RIGHT COUNT 2",
    "LMOVE {l} {l} LEFT RIGHT",
    "RPOPLPUSH {l} {l}",
    "BLPOP {l} {l} 1",
    "BRPOP {l} 1",
    "BLMPOP 1 2 {l} {l} RIGHT COUNT 3",
    "BLMOVE {l} {l} RIGHT LEFT 1",
    "BRPOPLPUSH {l} {l} 1",
    "SADD {u} {f} {f} {f}",
    "SREM {u} {f}",
    "SPOP {u}",
    "SPOP {u} 2",
    "SMOVE {u} {u} {f}",
    "SINTERSTORE {u} {u} {u}",
    "SUNIONSTORE {u} {u} {u}",
    "SDIFFSTORE {u} {u} {u}",
    "ZADD {z} {d} {f} {n} {f}",
    "ZADD {z} GT CH {d} {f}",
    "ZADD {z} NX {d} {f}",
    "ZADD {z} XX INCR {d} {f}",
    "ZADD {z} INCR {d} {f}",
    "ZINCRBY {z} {d} {f}",
    "ZREM {z} {f} {f}",
    "ZPOPMIN {z}",
    "ZPOPMAX {z} 2",
    "ZMPOP 2 {z} {z} MIN COUNT 2",
    "BZPOPMIN {z} {z} 1",
    "BZPOPMAX {z} 1",
    "BZMPOP 1 2 {z} {z} MAX",
    "ZREMRANGEBYRANK {z} 0 0",
    "ZREMRANGEBYSCORE {z} 1 2",
    "ZREMRANGEBYLEX {z} [a [b",
    "ZUNIONSTORE {z} 2 {z} {z}",
    "ZINTERSTORE {z} 2 {z} {z}",
    "ZDIFFSTORE {z} 2 {z} {z}",
    "ZRANGESTORE {z} {z} 0 2",
    "GEOADD {z} 13.3 38.1 {f}",
    "GEOADD {z} CH 15.1 37.{n} {f}",
    "GEOSEARCHSTORE {z} {z} FROMLONLAT 15 37 BYRADIUS 200 km",
    "GEORADIUS {z} 15 37 200 km STORE {z}",
    "GEORADIUSBYMEMBER {z} {f} 200 km STOREDIST {z}",
    "SORT {u} ALPHA STORE {l}",
    "SORT {l} BY nosort STORE {l}",
    "XADD {x} * {f} {v}",
    "XADD {x} * {f} {v}",
    "XADD {x} NOMKSTREAM * {f} {v}",
    "XADD {x} MAXLEN 4 * {f} {v}",
    "XADD {x} MAXLEN ~ 2 LIMIT 10 * {f} {v}",
    "XADD {x} {n}-* {f} {v}",
    "XADD {x} {n}-{n} {f} {v}",
    "XTRIM {x} MAXLEN 3",
    "XTRIM {x} MAXLEN ~ 1 LIMIT 5",
    "XDEL {x} {i}",
    "XSETID {x} 99999999999999-1",
    "XGROUP CREATE {x} {g} $",
    "XGROUP CREATE {x} {g} $ MKSTREAM",
    "XGROUP CREATE {x} {g} 0",
    "XGROUP CREATE {x} {g} 0 ENTRIESREAD {n}",
    "XGROUP SETID {x} {g} $",
    "XGROUP SETID {x} {g} 0",
    "XGROUP CREATECONSUMER {x} {g} {c}",
    "XGROUP DELCONSUMER {x} {g} {c}",
    "XGROUP DESTROY {x} {g}",
    "XREADGROUP GROUP {g} {c} COUNT 2 STREAMS {x} >",
    "XREADGROUP GROUP {g} {c} COUNT 1 BLOCK 1 STREAMS {x} {x} > >",
    "XREADGROUP GROUP {g} {c} NOACK STREAMS {x} >",
    "XREADGROUP GROUP {g} {c} STREAMS {x} 0",
    "XREADGROUP GROUP {g} {c} COUNT 1 STREAMS {x} >",
    "XACK {x} {g} {i}",
    "XCLAIM {x} {g} {c} 0 {i}",
    "XCLAIM {x} {g} {c} 0 {i} {i} JUSTID",
    "XCLAIM {x} {g} {c} 0 {i} IDLE 1000 RETRYCOUNT 5 FORCE",
    "XAUTOCLAIM {x} {g} {c} 0 0 COUNT 2",
    "XAUTOCLAIM {x} {g} {c} 0 0 JUSTID",
];

/// A small generator of numbers; the same seed gives the same writes.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % limit as u64).unwrap()
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// One random write. `ids` are entries that streams have or had; `times` are the times to live to
/// choose from, in milliseconds.
pub(crate) fn write(random: &mut Random, ids: &[String], times: &[u32]) -> Request {
    let template = random.pick(WRITES);
    Request::new(template.split(' ').map(|word| fill(word, random, ids, times)))
}

fn fill(word: &str, random: &mut Random, ids: &[String], times: &[u32]) -> String {
    let mut text = word.to_owned();
    while let Some(start) = text.find('{') {
        let kind = text[start + 1..].chars().next().unwrap();
        let value = value(kind, random, ids, times);
        text.replace_range(start..start + 3, &value);
    }
    text
}

fn value(kind: char, random: &mut Random, ids: &[String], times: &[u32]) -> String {
    // Now and then a key of another type, for the errors.
    let kind = if "slhuzxp".contains(kind) && random.below(40) == 0 { 'a' } else { kind };
    match kind {
        'a' => {
            let kind = random.pick(&["s", "l", "h", "u", "z", "x", "p"]);
            format!("{kind}{}", random.below(3))
        }
        's' | 'l' | 'h' | 'u' | 'z' | 'x' | 'p' => format!("{kind}{}", random.below(3)),
        'f' => random.pick(&["a", "b", "c", "d", "5"]).into(),
        'n' => random.below(12).to_string(),
        'd' => random.pick(&["0.1", "1.5", "-2", "3e2", "0.30000000000000004", "7"]).into(),
        'v' => random.pick(&["x", "hello", "10", "2.5", "", "\r\n\0"]).into(),
        't' => times[random.below(times.len())].to_string(),
        'T' => times[random.below(times.len())].div_ceil(1000).to_string(),
        'i' if ids.is_empty() => "1-1".into(),
        'i' => ids[random.below(ids.len())].clone(),
        'g' => random.pick(&["g", "h"]).into(),
        'c' => random.pick(&["one", "two"]).into(),
        other => panic!("placeholder {other}"),
    }
}
