//! Clients that hammer a few hot keys with every kind of write: the random part of the migration tests.
//!
//! What a client gets back is not judged here (the two servers are compared afterwards), except that no
//! connection may drop and no command may be refused by the proxy itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::newer;
use super::resp::{Resp, Value};
use super::rng::Rng;
use super::server::Server;
use super::wait_until;

/// Databases that the clients share; database `FLUSHED` is emptied now and then.
const DATABASES: [u32; 3] = [0, 1, 3];
const FLUSHED: u32 = 9;

/// Keys of each type in each database: few, so that clients meet on them.
const HOT_KEYS: u64 = 6;

/// Running clients; they are stopped and their failures raised by `stop`.
pub struct Workload {
    over: Arc<AtomicBool>,
    commands: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Starts so many clients on the address.
    pub fn start(address: &str, rng: &mut Rng, clients: usize) -> Self {
        Self::speaking(Dialect::FULL, address, rng, clients)
    }

    /// Starts so many clients that say only what two servers understand.
    pub fn speaking(dialect: Dialect, address: &str, rng: &mut Rng, clients: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let commands = Arc::new(AtomicU64::new(0));
        let threads = (0..clients)
            .map(|index| {
                let (address, rng) = (address.to_owned(), rng.fork());
                let (over, commands) = (Arc::clone(&over), Arc::clone(&commands));
                let name = format!("workload-{index}");
                let body =
                    move || Client::connect(&address, rng, index, dialect).run(&over, &commands);
                std::thread::Builder::new().name(name).spawn(body).unwrap()
            })
            .collect();
        Self { over, commands, threads }
    }

    /// Waits until so many more requests have been answered.
    pub fn run_for(&self, commands: u64) {
        let goal = self.commands.load(Ordering::Relaxed) + commands;
        wait_until("the workload has got its answers", || {
            self.commands.load(Ordering::Relaxed) >= goal
                || self.threads.iter().any(JoinHandle::is_finished)
        });
    }

    /// Stops, and panics if a client did.
    pub fn stop(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.commands.load(Ordering::Relaxed)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// What clients may say when the servers are of different versions. Commands that one of them lacks are
/// part of the game; values that one of them cannot hold are not.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Every other client speaks RESP3.
    pub resp3: bool,
    /// Fields of hashes get an end.
    pub field_expiry: bool,
}

impl Dialect {
    /// Between servers of one version, without what only the newest have.
    pub const FULL: Self = Self { resp3: true, field_expiry: false };

    /// What both servers understand.
    pub fn of(one: &Server, other: &Server) -> Self {
        let both = |command| one.knows(command) && other.knows(command);
        Self { resp3: both("HELLO"), field_expiry: both("HPEXPIREAT") }
    }
}

/// Writes one request of every kind to a server, for a source that has something of everything.
pub fn fill(client: &mut Resp, rng: &mut Rng, requests: usize) {
    fill_speaking(Dialect::FULL, client, rng, requests);
}

/// The same in a dialect.
pub fn fill_speaking(dialect: Dialect, client: &mut Resp, rng: &mut Rng, requests: usize) {
    for database in DATABASES {
        client.ok(format!("SELECT {database}"));
        let requests: Vec<_> = (0..requests).map(|_| random_write(rng, dialect)).collect();
        client.pipeline(requests);
    }
    client.ok("SELECT 0");
}

struct Client {
    connection: Resp,
    rng: Rng,
    database: u32,
    dialect: Dialect,
}

impl Client {
    fn connect(address: &str, rng: Rng, index: usize, dialect: Dialect) -> Self {
        let resp3 = dialect.resp3 && index % 2 == 1;
        let connection = if resp3 { Resp::connect_resp3(address) } else { Resp::connect(address) };
        Self { connection, rng, database: 0, dialect }
    }

    fn run(mut self, over: &AtomicBool, commands: &AtomicU64) {
        while !over.load(Ordering::Relaxed) {
            let answered = self.step();
            commands.fetch_add(answered, Ordering::Relaxed);
        }
    }

    /// Something that a client does; returns how many requests that were.
    fn step(&mut self) -> u64 {
        match self.rng.below(24) {
            0 => self.change_database(),
            1 => self.transaction(false),
            2 => self.transaction(true),
            3 => self.script(),
            4 => self.blocking(),
            5 if self.rng.one_in(20) => self.flush(),
            6..=11 => self.burst(),
            _ => self.single(),
        }
    }

    fn single(&mut self) -> u64 {
        let request = random_write(&mut self.rng, self.dialect);
        self.call(request);
        1
    }

    fn burst(&mut self) -> u64 {
        let count = 1 + self.rng.below(40);
        let requests: Vec<_> =
            (0..count).map(|_| random_write(&mut self.rng, self.dialect)).collect();
        let replies = self.connection.try_pipeline(requests).expect("no connection drops");
        replies.iter().for_each(check);
        count
    }

    fn change_database(&mut self) -> u64 {
        self.database = DATABASES[usize::try_from(self.rng.below(3)).unwrap()];
        self.call(words(format!("SELECT {}", self.database)));
        1
    }

    fn flush(&mut self) -> u64 {
        self.call(words(format!("SELECT {FLUSHED}")));
        for _ in 0..5 {
            self.single();
        }
        let flush = self.rng.pick(&["FLUSHDB", "FLUSHDB ASYNC", "FLUSHDB SYNC"]);
        self.call(words(flush));
        for _ in 0..5 {
            self.single();
        }
        self.call(words(format!("SELECT {}", self.database)));
        13
    }

    fn transaction(&mut self, watch: bool) -> u64 {
        let mut requests = Vec::new();
        if watch {
            requests.push(words(format!("WATCH {}", key(&mut self.rng, "str"))));
        }
        requests.push(words("MULTI"));
        for _ in 0..=self.rng.below(5) {
            requests.push(random_write(&mut self.rng, self.dialect));
        }
        requests.push(words(if self.rng.one_in(6) { "DISCARD" } else { "EXEC" }));
        let count = requests.len() as u64;
        if self.rng.one_in(2) {
            for request in requests {
                self.call(request);
            }
        } else {
            let replies = self.connection.try_pipeline(requests).expect("no connection drops");
            replies.iter().for_each(check);
        }
        count
    }

    fn script(&mut self) -> u64 {
        let (from, to) = (key(&mut self.rng, "str"), key(&mut self.rng, "hash"));
        let body = self.rng.pick(&[
            "return redis.call('INCR', KEYS[1])",
            "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('HSET', KEYS[2], ARGV[1], 'x')",
            "return {redis.call('SET', KEYS[1], redis.call('TIME')[2])}",
            "if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('DEL', KEYS[1]) end; return 0",
            "redis.call('SET', KEYS[1], ARGV[1], 'PX', 40); return redis.error_reply('ERR on purpose')",
        ]);
        let value = self.rng.below(100).to_string();
        self.call(vec_of(&["EVAL", body, "2", &from, &to, &value]));
        1
    }

    fn blocking(&mut self) -> u64 {
        let (list, other) = (key(&mut self.rng, "list"), key(&mut self.rng, "list"));
        let zset = key(&mut self.rng, "zset");
        let stream = key(&mut self.rng, "stream");
        let request = match self.rng.below(7) {
            0 => format!("BLPOP {list} {other} 0.02"),
            1 => format!("BRPOP {list} 0.02"),
            2 => format!("BLMOVE {list} {other} LEFT RIGHT 0.02"),
            3 => format!("BZPOPMIN {zset} 0.02"),
            4 => format!("BLMPOP 0.02 2 {list} {other} LEFT COUNT 2"),
            5 => format!("BZMPOP 0.02 1 {zset} MAX"),
            _ => format!("XREADGROUP GROUP g c1 COUNT 2 BLOCK 20 STREAMS {stream} >"),
        };
        self.call(words(&request));
        1
    }

    fn call(&mut self, request: Vec<Vec<u8>>) {
        check(&self.connection.call(request));
    }
}

/// A refusal by the proxy would be a failure of transparency; the server's own errors are part of the game.
fn check(reply: &Value) {
    if let Value::Error(error) = reply {
        let error = String::from_utf8_lossy(error);
        assert!(!error.contains("crossfade"), "refused by the proxy: {error}");
    }
}

pub(super) fn words(line: impl AsRef<str>) -> Vec<Vec<u8>> {
    line.as_ref().split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

fn vec_of(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// A hot key, mostly of the kind; now and then another, so that WRONGTYPE happens too.
pub(super) fn key(rng: &mut Rng, kind: &str) -> String {
    let kind = if rng.one_in(25) {
        rng.pick(&["str", "list", "set", "zset", "hash", "stream"])
    } else {
        kind
    };
    format!("{kind}:{}", rng.below(HOT_KEYS))
}

/// Any write to the hot keys.
pub fn random_write(rng: &mut Rng, dialect: Dialect) -> Vec<Vec<u8>> {
    let line = match rng.below(12) {
        0 | 1 => string(rng),
        2 => list(rng),
        3 => set(rng),
        4 => sorted_set(rng),
        5 => hash(rng),
        6 => stream(rng),
        7 => bits_and_geo(rng),
        8 => expiry(rng),
        9 if dialect.field_expiry => newer::field_expiry(rng),
        9 | 10 => newer::any(rng),
        _ => keyspace(rng),
    };
    words(line)
}

fn string(rng: &mut Rng) -> String {
    let (k, other, v) = (key(rng, "str"), key(rng, "str"), rng.below(1000));
    let ms = 1 + rng.below(60);
    match rng.below(18) {
        0 => format!("SET {k} {v}"),
        1 => format!("SET {k} {v} NX"),
        2 => format!("SET {k} {v} XX GET"),
        3 => format!("SET {k} {v} PX {ms}"),
        4 => format!("SET {k} {v} NX PX {ms}"),
        5 => format!("SET {k} {v} KEEPTTL"),
        6 => format!("SETEX {k} {} {v}", 1 + rng.below(100)),
        7 | 8 => format!("INCR {k}"),
        9 => format!("DECRBY {k} {v}"),
        10 => format!("INCRBYFLOAT {k} 0.{v}"),
        11 => format!("APPEND {k} {v}"),
        12 => format!("SETRANGE {k} {} {v}", rng.below(20)),
        13 => format!("GETSET {k} {v}"),
        14 => format!("GETDEL {k}"),
        15 => format!("GETEX {k} PX {ms}"),
        16 => format!("MSET {k} {v} {other} {v}"),
        _ => format!("MSETNX {k} {v} {other} {v}"),
    }
}

fn list(rng: &mut Rng) -> String {
    let (k, other, v) = (key(rng, "list"), key(rng, "list"), rng.below(30));
    match rng.below(14) {
        0 | 1 => format!("RPUSH {k} {v} {v}x"),
        2 | 3 => format!("LPUSH {k} {v}"),
        4 => format!("LPUSHX {k} {v}"),
        5 => format!("LPOP {k}"),
        6 => format!("RPOP {k} 2"),
        7 => format!("LSET {k} 0 {v}"),
        8 => format!("LINSERT {k} BEFORE {v} new"),
        9 => format!("LREM {k} 1 {v}"),
        10 => format!("LTRIM {k} 0 40"),
        11 => format!("RPOPLPUSH {k} {other}"),
        12 => format!("LMOVE {k} {other} RIGHT LEFT"),
        _ => format!("LMPOP 2 {k} {other} RIGHT COUNT 2"),
    }
}

fn set(rng: &mut Rng) -> String {
    let (k, other, v) = (key(rng, "set"), key(rng, "set"), rng.below(60));
    let destination = key(rng, "set");
    match rng.below(9) {
        0..=2 => format!("SADD {k} {v} m{v} {}", rng.below(60)),
        3 => format!("SREM {k} {v}"),
        4 => format!("SPOP {k}"),
        5 => format!("SPOP {k} 2"),
        6 => format!("SMOVE {k} {other} {v}"),
        7 => format!("SUNIONSTORE {destination} {k} {other}"),
        _ => format!("{} {destination} {k} {other}", rng.pick(&["SDIFFSTORE", "SINTERSTORE"])),
    }
}

fn sorted_set(rng: &mut Rng) -> String {
    let (k, other, v) = (key(rng, "zset"), key(rng, "zset"), rng.below(60));
    let destination = key(rng, "zset");
    match rng.below(12) {
        0..=2 => format!("ZADD {k} {v}.5 m{v} {} n{v}", rng.below(99)),
        3 => format!("ZADD {k} NX CH 7 m{v}"),
        4 => format!("ZADD {k} GT INCR {v} m{v}"),
        5 => format!("ZINCRBY {k} 1.1 m{v}"),
        6 => format!("ZREM {k} m{v}"),
        7 => format!("ZPOPMIN {k}"),
        8 => format!("ZPOPMAX {k} 2"),
        9 => format!("ZREMRANGEBYRANK {k} 20 -1"),
        10 => format!("ZUNIONSTORE {destination} 2 {k} {other} WEIGHTS 1 2"),
        _ => format!("ZRANGESTORE {destination} {k} 0 5"),
    }
}

fn hash(rng: &mut Rng) -> String {
    let (k, v) = (key(rng, "hash"), rng.below(30));
    match rng.below(6) {
        0..=2 => format!("HSET {k} f{v} {v} g{v} x"),
        3 => format!("HDEL {k} f{v} g{v}"),
        4 => format!("HINCRBY {k} n{v} 3"),
        _ => format!("{} {k} p{v} 1", rng.pick(&["HINCRBYFLOAT", "HSETNX"])),
    }
}

fn stream(rng: &mut Rng) -> String {
    let (k, v) = (key(rng, "stream"), rng.below(100));
    let consumer = rng.below(3);
    match rng.below(12) {
        0..=2 => format!("XADD {k} * f {v}"),
        3 => format!("XADD {k} MAXLEN ~ 50 * f {v}"),
        4 => format!("XTRIM {k} MAXLEN 30"),
        5 => format!("XGROUP CREATE {k} g 0 MKSTREAM"),
        6 => format!("XGROUP CREATECONSUMER {k} g c{consumer}"),
        7 | 8 => format!("XREADGROUP GROUP g c{consumer} COUNT 2 STREAMS {k} >"),
        9 => format!("XAUTOCLAIM {k} g c{consumer} 0 0 COUNT 2"),
        10 => format!("XGROUP DELCONSUMER {k} g c{consumer}"),
        _ => format!("XGROUP SETID {k} g 0"),
    }
}

fn bits_and_geo(rng: &mut Rng) -> String {
    let (k, other) = (key(rng, "bits"), key(rng, "bits"));
    let (geo, v) = (key(rng, "geo"), rng.below(50));
    match rng.below(9) {
        0 | 1 => format!("SETBIT {k} {v} {}", v % 2),
        2 => format!("BITOP XOR {} {k} {other}", key(rng, "bits")),
        3 => format!("BITFIELD {k} INCRBY u8 8 {v} GET u4 0"),
        4 => format!("PFADD {} e{v}", key(rng, "hll")),
        5 => format!("PFMERGE {} {} {}", key(rng, "hll"), key(rng, "hll"), key(rng, "hll")),
        6 => format!("PFCOUNT {}", key(rng, "hll")),
        7 => format!("GEOADD {geo} {v}.1 {v}.2 p{v}"),
        _ => format!("GEOSEARCHSTORE {} {geo} FROMLONLAT 20 20 BYRADIUS 2000 km", key(rng, "geo")),
    }
}

fn expiry(rng: &mut Rng) -> String {
    let kind = rng.pick(&["str", "list", "set", "zset", "hash", "stream"]);
    let k = key(rng, kind);
    let ms = 1 + rng.below(80);
    match rng.below(8) {
        0..=2 => format!("PEXPIRE {k} {ms}"),
        3 => format!("PEXPIRE {k} {ms} NX"),
        4 => format!("EXPIRE {k} {}", rng.below(100)),
        5 => format!("EXPIRE {k} 50 GT"),
        6 => format!("EXPIREAT {k} 4102444800"),
        _ => format!("PERSIST {k}"),
    }
}

fn keyspace(rng: &mut Rng) -> String {
    let kind = rng.pick(&["str", "list", "set", "zset", "hash", "stream"]);
    let (from, to) = (key(rng, kind), key(rng, kind));
    match rng.below(9) {
        0 | 1 => format!("DEL {from} {to}"),
        2 => format!("UNLINK {from} nothing:1"),
        3 => format!("RENAME {from} {to}"),
        4 => format!("RENAMENX {from} {to}"),
        5 => format!("COPY {from} {to} REPLACE"),
        6 => format!("COPY {from} {to} DB 3"),
        7 => format!("MOVE {from} 1"),
        _ => format!("SORT {} ALPHA STORE {}", key(rng, "set"), key(rng, "list")),
    }
}
