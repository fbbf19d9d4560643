//! Something of every type, size and encoding.

use super::resp::Resp;

const SMALL: &[&str] = &[
    "SET text:int 12345",
    "SET text:short abc",
    "SET text:ending abc PX 900000000",
    "SETBIT text:bits 100000 1",
    "PFADD text:hll a b c d e f",
    "RPUSH list:small a 1 -1 abcdefghij",
    "RPUSH list:ending a b",
    "PEXPIREAT list:ending 4102444800123",
    "SADD set:ints 1 2 3 -9223372036854775808",
    "SADD set:small a b c",
    "ZADD zset:small 1 a 0.1 b -inf c inf d 5e-324 f 1.7976931348623157e308 g 3 h",
    "GEOADD zset:geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "HSET hash:small a 1 b 2 c 3",
    "XADD stream:small 1-1 a 1 b 2",
    "XADD stream:small 1-2 a 1 b 2",
    "XADD stream:small 5-0 c 3",
    "XADD stream:small 6-0 c 3",
    "XGROUP CREATE stream:small readers 0",
    "XGROUP CREATE stream:small idle $",
    "XREADGROUP GROUP readers one COUNT 2 STREAMS stream:small >",
    "XREADGROUP GROUP readers two COUNT 2 STREAMS stream:small >",
    "XDEL stream:small 1-2",
    "XADD stream:gone 1-1 a 1",
    "XGROUP CREATE stream:gone g 0",
    "XREADGROUP GROUP g c STREAMS stream:gone >",
    "XTRIM stream:gone MAXLEN 0",
    "XADD stream:empty 9-9 a 1",
    "XDEL stream:empty 9-9",
    "XGROUP CREATE stream:new g $ MKSTREAM",
];

/// Collections of so many elements: past the compact encodings, and past what is dumped in one step.
const SIZES: [usize; 2] = [600, 20_000];

/// Writes it all, with hashes whose fields end if wanted.
pub fn every_encoding(client: &mut Resp, field_expiry: bool) {
    for line in SMALL {
        client.ok(*line);
    }
    if field_expiry {
        client.ok("HSET hash:ending a 1 b 2 c 3");
        client.ok("HPEXPIREAT hash:ending 4102444800123 FIELDS 2 a b");
    }
    client.ok([b"SET".as_slice(), b"text:large", &vec![b'x'; 3_000_000]]);
    client.ok([b"SET".as_slice(), b"\0binary\r\n\xff", b"\0\r\n\xff"]);
    for size in SIZES {
        for command in ["RPUSH", "SADD", "ZADD", "HSET"] {
            client.pipeline(chunks(command, size));
        }
        let entry = |n| format!("XADD stream:{size} {}-1 field {n} other {n}", n + 1);
        client.pipeline((0..size).map(entry));
    }
}

/// `COMMAND key element…`, a thousand elements at once.
fn chunks(command: &str, size: usize) -> Vec<String> {
    let element = |n: &usize| match command {
        "ZADD" => format!(" {}.25 member:{n}", n % 777),
        "HSET" => format!(" field:{n} value:{n}"),
        _ => format!(" element:{n}:of:a:large:collection"),
    };
    let all: Vec<usize> = (0..size).collect();
    let line = |part: &[usize]| {
        format!("{command} {command}:{size}{}", part.iter().map(element).collect::<String>())
    };
    all.chunks(1000).map(line).collect()
}
