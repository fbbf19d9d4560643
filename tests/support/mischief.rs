//! Requests whose effects their words do not tell: scripts that name none of their keys and leave their
//! database, commands that wait for others' writes, whole databases that change places.

use super::rng::Rng;
use super::workload::{Dialect, key, random_write, words};

/// The databases that scripts and swaps meet in.
const DATABASES: u64 = 3;

/// A script of a few statements that declares no key, or one that it may not touch.
pub fn script(rng: &mut Rng) -> Vec<Vec<u8>> {
    let body: Vec<String> = (0..=rng.below(3)).map(|_| statement(rng)).collect();
    let declared = if rng.one_in(3) { key(rng, "str") } else { String::new() };
    let mut request = words(if declared.is_empty() { "EVAL body 0" } else { "EVAL body 1" });
    request[1] = body.join(" ").into_bytes();
    request.extend(words(declared));
    request
}

fn statement(rng: &mut Rng) -> String {
    match rng.below(40) {
        0 => "redis.pcall('SWAPDB', 0, 1)".to_owned(),
        1 => "redis.pcall('FLUSHDB')".to_owned(),
        2..=7 => {
            let elsewhere = rng.below(DATABASES);
            format!("redis.pcall('SELECT', {elsewhere}) {} redis.pcall('SELECT', 0)", call(rng))
        }
        _ => call(rng),
    }
}

/// One write in Lua's words; those of the workload need no escapes.
fn call(rng: &mut Rng) -> String {
    let quoted: Vec<String> = random_write(rng, Dialect::FULL)
        .iter()
        .map(|word| format!("'{}'", String::from_utf8_lossy(word)))
        .collect();
    format!("redis.pcall({})", quoted.join(", "))
}

/// A command that waits a moment for somebody else's write.
pub fn waiting(rng: &mut Rng) -> Vec<Vec<u8>> {
    let (list, other) = (key(rng, "list"), key(rng, "list"));
    let (zset, stream) = (key(rng, "zset"), key(rng, "stream"));
    let seconds = rng.pick(&["0.01", "0.05", "0.2"]);
    words(match rng.below(9) {
        0 => format!("BLPOP {list} {other} {seconds}"),
        1 => format!("BRPOP {list} {seconds}"),
        2 | 3 => format!("BLMOVE {list} {other} LEFT RIGHT {seconds}"),
        4 => format!("BRPOPLPUSH {list} {other} {seconds}"),
        5 => format!("BZPOPMIN {zset} {seconds}"),
        6 => format!("BLMPOP {seconds} 2 {list} {other} LEFT COUNT 2"),
        7 => format!("BZMPOP {seconds} 1 {zset} MAX"),
        _ => format!("XREADGROUP GROUP g c1 COUNT 2 BLOCK 50 STREAMS {stream} >"),
    })
}

/// A write that sets a key of a waiter's kind whole, or what would serve the waiter.
pub fn beside_a_waiter(rng: &mut Rng) -> Vec<Vec<u8>> {
    let (list, zset) = (key(rng, "list"), key(rng, "zset"));
    words(match rng.below(6) {
        0 => format!("DEL {list}"),
        1 => format!("SET {list} whole"),
        2 | 3 => format!("RPUSH {list} a b"),
        4 => format!("ZADD {zset} 1 a 2 b"),
        _ => format!("DEL {zset} {list}"),
    })
}

/// A change of a whole database.
pub fn upheaval(rng: &mut Rng) -> Vec<Vec<u8>> {
    words(rng.pick(&["SWAPDB 0 1", "SWAPDB 0 1", "SWAPDB 1 0", "FLUSHDB", "FLUSHDB ASYNC"]))
}

/// A change of the connection's database.
pub fn selection(rng: &mut Rng) -> Vec<Vec<u8>> {
    words(format!("SELECT {}", rng.below(DATABASES)))
}
