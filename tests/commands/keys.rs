//! The keys found and `COMMAND GETKEYS`.

use crossfade::protocol::command;
use crossfade::protocol::resp::{Reply, Request};

use super::server::{Server, text};

/// Requests of every shape in which keys are named, odd ones included.
const REQUESTS: &[&str] = &[
    "GET a",
    "SET a b EX 10 NX GET",
    "MSET a 1 b 2 c 3",
    "MSETNX a 1 b 2",
    "MGET a b c",
    "DEL a b c",
    "UNLINK a",
    "EXISTS a a b",
    "TOUCH a b",
    "WATCH a b",
    "RENAME a b",
    "RENAMENX a b",
    "COPY a b DB 1 REPLACE",
    "MOVE a 1",
    "OBJECT ENCODING a",
    "MEMORY USAGE a SAMPLES 5",
    "DUMP a",
    "RESTORE a 0 payload REPLACE",
    "SORT a",
    "SORT a STORE b",
    "SORT a BY STORE GET STORE LIMIT 0 STORE STORE b",
    "SORT a STORE b STORE c",
    "SORT_RO a BY w_* GET #",
    "BITOP AND d a b c",
    "BITFIELD a SET u8 0 1",
    "BITCOUNT a",
    "LCS a b IDX",
    "APPEND a b",
    "HSET a f v g w",
    "HRANDFIELD a 2 WITHVALUES",
    "LPUSH a b c",
    "LINSERT a BEFORE b c",
    "LMOVE a b LEFT RIGHT",
    "BLMOVE a b LEFT RIGHT 0",
    "RPOPLPUSH a b",
    "BRPOPLPUSH a b 0",
    "LMPOP 2 a b LEFT COUNT 2",
    "BLMPOP 0 2 a b LEFT",
    "BLPOP a b c 0",
    "BRPOP a 0",
    "SADD a b c",
    "SMOVE a b m",
    "SINTER a b",
    "SINTERCARD 2 a b LIMIT 1",
    "SINTERSTORE d a b",
    "SUNIONSTORE d a",
    "SDIFFSTORE d a b c",
    "ZADD a NX CH 1 m",
    "ZADD a 1 m 2 n",
    "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
    "ZINTERSTORE d 1 a",
    "ZDIFFSTORE d 2 a b",
    "ZUNION 2 a b WITHSCORES",
    "ZINTER 1 a",
    "ZDIFF 2 a b",
    "ZINTERCARD 2 a b",
    "ZRANGESTORE d a 0 -1",
    "ZMPOP 2 a b MIN",
    "BZMPOP 0 2 a b MAX COUNT 3",
    "BZPOPMIN a b 0",
    "BZPOPMAX a 0",
    "GEOADD a 1 2 m",
    "GEOSEARCH a FROMLONLAT 1 2 BYRADIUS 1 km",
    "GEOSEARCHSTORE d a FROMLONLAT 1 2 BYRADIUS 1 km STOREDIST",
    "GEORADIUS a 1 2 3 km",
    "GEORADIUS a 1 2 3 km STORE d",
    "GEORADIUS a 1 2 3 km STOREDIST d COUNT 1",
    "GEORADIUSBYMEMBER a m 3 km STORE d",
    "PFADD a x",
    "PFCOUNT a b",
    "PFMERGE d a b",
    "XADD a * f v",
    "XREAD COUNT 2 STREAMS a b 0 0",
    "XREAD BLOCK 0 STREAMS a 0",
    "XREADGROUP GROUP g c STREAMS a b > >",
    "XREADGROUP GROUP streams c COUNT 1 NOACK STREAMS a >",
    "XREADGROUP GROUP g streams BLOCK 5 STREAMS a >",
    "XGROUP CREATE a g 0",
    "XGROUP DELCONSUMER a g c",
    "XINFO STREAM a FULL",
    "XACK a g 1-1",
    "XCLAIM a g c 0 1-1",
    "XAUTOCLAIM a g c 0 0",
    "XTRIM a MAXLEN 5",
    "EVAL return 2 a b x",
    "EVALSHA sha 1 a",
    "EVAL_RO return 1 a",
    "FCALL f 2 a b x",
    "FCALL_RO f 0",
    "EVAL return 0 x",
];

#[test]
fn keys_are_those_of_command_getkeys() {
    let server = Server::start();
    let mut client = server.connect();
    for line in REQUESTS {
        let request = Request::new(line.split(' '));
        let found = command::lookup(&request).unwrap().keys(&request).unwrap();
        let mut ours: Vec<_> = found
            .iter()
            .map(|key| String::from_utf8_lossy(request.arg(key.index).unwrap()))
            .collect();
        ours.sort();
        ours.dedup();
        let reply = client.ask(&format!("COMMAND GETKEYS {line}"));
        let mut theirs: Vec<_> = reply.items().unwrap_or_default().iter().map(text).collect();
        theirs.sort();
        theirs.dedup();
        if let Reply::Error(_) = reply {
            assert!(ours.is_empty(), "{line}: {reply:?}");
        }
        assert_eq!(ours, theirs, "{line}");
    }
}

/// `COMMAND GETKEYS` names both; the command itself writes to the last.
#[test]
fn a_georadius_stores_in_the_key_named_last() {
    let request = Request::new("GEORADIUS a 1 2 3 km STORE d STOREDIST e".split(' '));
    let keys = command::lookup(&request).unwrap().keys(&request).unwrap();
    assert_eq!(keys.iter().map(|key| key.index).collect::<Vec<_>>(), [1, 9]);
}

#[test]
fn counts_that_lie_name_no_keys() {
    for line in [
        "ZUNION 3 a b",
        "ZUNION -1 a b",
        "ZUNION x a b",
        "EVAL return 9223372036854775807 a",
        "XREAD STREAMS a",
        "XREAD COUNT 1 a b",
        "COPY a b DB x",
        "MOVE a -1",
        "GET",
        "GET a b",
    ] {
        let request = Request::new(line.split(' '));
        assert!(command::lookup(&request).unwrap().keys(&request).is_err(), "{line}");
    }
}
