//! Writes that only newer servers know, for the workload between servers of different versions.

use super::rng::Rng;
use super::workload::key;

/// Commands and options of Redis 6.2 and later, and of Valkey 8 and later.
pub(super) fn any(rng: &mut Rng) -> String {
    let (text, list, zset) = (key(rng, "str"), key(rng, "list"), key(rng, "zset"));
    let (hash, stream, v) = (key(rng, "hash"), key(rng, "stream"), rng.below(1000));
    match rng.below(22) {
        0 => format!("SET {text} {v} IFEQ {v}"),
        1 => format!("SET {text} {v} IFNE {v} GET"),
        2 => format!("DELEX {text} IFEQ {v}"),
        3 => format!("DELIFEQ {text} {v}"),
        4 => format!("MSETEX 2 {text} {v} {} {v} PX {}", key(rng, "str"), 1 + v),
        5 => format!("HGETDEL {hash} FIELDS 2 f{} g{}", v % 30, v % 29),
        6 => format!("XDELEX {stream} ACKED IDS 1 1-1"),
        7 => format!("XACKDEL {stream} g DELREF IDS 1 1-1"),
        8 => format!("ZMPOP 2 {zset} {} MIN COUNT 2", key(rng, "zset")),
        9 => format!("LPOP {list} {}", 1 + v % 4),
        10 => format!("ZADD {zset} LT CH {v} m{}", v % 60),
        11 => format!("GEOADD {} XX CH 13.1 38.{v} p{}", key(rng, "geo"), v % 50),
        12 => format!("XADD {stream} NOMKSTREAM MAXLEN = 40 * f {v}"),
        13 => format!("XADD {stream} MINID ~ 1-1 * f {v}"),
        14 => format!("XTRIM {stream} MINID {v}-0"),
        15 => format!("XGROUP CREATE {stream} h $ MKSTREAM ENTRIESREAD 1"),
        16 => format!("XGROUP CREATECONSUMER {stream} g d{}", v % 3),
        17 => format!("XAUTOCLAIM {stream} g c{} 0 0 JUSTID", v % 3),
        18 => format!("XREADGROUP GROUP g c{} STREAMS {stream} 0", v % 3),
        19 => format!("LMOVE {list} {} LEFT LEFT", key(rng, "list")),
        20 => format!("GETEX {text} EXAT 4102444800"),
        _ => format!("SET {text} {v} EXAT 4102444800 GET"),
    }
}

/// Fields that end: Redis 7.4 and 8.0, Valkey 9.
pub(super) fn field_expiry(rng: &mut Rng) -> String {
    let (k, v, ms) = (key(rng, "hash"), rng.below(30), 1 + rng.below(90));
    match rng.below(9) {
        0 | 1 => format!("HPEXPIRE {k} {ms} FIELDS 2 f{v} g{v}"),
        2 => format!("HEXPIRE {k} 100 NX FIELDS 1 f{v}"),
        3 => format!("HEXPIREAT {k} 4102444800 FIELDS 1 g{v}"),
        4 => format!("HPERSIST {k} FIELDS 1 f{v}"),
        5 => format!("HSETEX {k} EX 100 FIELDS 1 f{v} 1"),
        6 => format!("HSETEX {k} FNX PX {ms} FIELDS 1 g{v} 1"),
        7 => format!("HGETEX {k} PX {ms} FIELDS 1 f{v}"),
        _ => format!("HINCRBYFLOAT {k} f{v} 1.5"),
    }
}
