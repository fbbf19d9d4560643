//! Reads everything that a server holds, and compares two servers value by value.
//!
//! A difference that an expiry can explain is read again until the expiry has passed; every other one
//! counts at first sight, so that a proxy that claims convergence too early is caught.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::resp::{Resp, Value, Words};
use super::server::Server;
use super::stream::{self, Telling};
use super::wait_for;

/// The key that a cut-over leaves on the source; never migrated.
const MARKER: (u32, &[u8]) = (0, b"crossfade:cutover");

/// How far two expiries may lie apart, in milliseconds.
const TOLERANCE: i64 = 50;

/// The same when the servers go by two clocks, whose difference can only be measured.
const TOLERANCE_OF_TWO_CLOCKS: i64 = 500;

/// How long a key that is about to expire may stay different.
const EXPIRY_GRACE: Duration = Duration::from_secs(3);

/// A key and its database.
pub type Key = (u32, Vec<u8>);

/// What a key holds, in an order that does not depend on the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    kind: String,
    content: Value,
    /// Absolute, in milliseconds of this machine's clock; -1 without.
    expires_at: i64,
    /// The fields of a hash that expire, with their times.
    field_expiries: Vec<(Vec<u8>, i64)>,
}

/// Fails the test unless both servers hold the same, with the first differences in words.
pub fn assert_equal(source: &Server, target: &Server) {
    let found = differences(source, target);
    let shown = found.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{} keys differ, such as\n{shown}", found.len());
}

/// Every key that differs, in words.
pub fn differences(source: &Server, target: &Server) -> Vec<String> {
    let mut left = Reader::of(source);
    let mut right = Reader::of(target);
    let telling = left.telling.min(right.telling);
    (left.telling, right.telling) = (telling, telling);
    let keys: BTreeSet<Key> = left.keys().into_iter().chain(right.keys()).collect();
    let keys: Vec<Key> =
        keys.into_iter().filter(|(db, key)| (*db, key.as_slice()) != MARKER).collect();
    let mut found = compare(&mut left, &mut right, &keys);
    let started = Instant::now();
    while found.iter().any(|(_, excusable, _)| *excusable) && started.elapsed() < EXPIRY_GRACE {
        std::thread::sleep(Duration::from_millis(50));
        let (again, mut certain): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, excusable, _)| *excusable);
        let keys: Vec<Key> = again.into_iter().map(|(key, _, _)| key).collect();
        certain.extend(compare(&mut left, &mut right, &keys));
        found = certain;
    }
    found.into_iter().map(|(_, _, words)| words).collect()
}

/// The keys that differ, whether an expiry may be the reason, and the difference in words.
fn compare(left: &mut Reader, right: &mut Reader, keys: &[Key]) -> Vec<(Key, bool, String)> {
    let one_clock = left.ahead == right.ahead;
    let tolerance = if one_clock { TOLERANCE } else { TOLERANCE_OF_TWO_CLOCKS };
    let (lefts, rights) = (left.entries(keys), right.entries(keys));
    let mut found = Vec::new();
    for key in keys {
        let (a, b) = (lefts.get(key), rights.get(key));
        if !same(a, b, tolerance) {
            let name = String::from_utf8_lossy(&key.1);
            let words =
                format!("db {} key {name}:\n  source {}\n  target {}", key.0, show(a), show(b));
            found.push((key.clone(), may_be_expiring(a) || may_be_expiring(b), words));
        }
    }
    found
}

fn same(a: Option<&Entry>, b: Option<&Entry>, tolerance: i64) -> bool {
    let near = |a: i64, b: i64| (a < 0) == (b < 0) && (a - b).abs() <= tolerance;
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.kind == b.kind
                && a.content == b.content
                && near(a.expires_at, b.expires_at)
                && a.field_expiries.len() == b.field_expiries.len()
                && a.field_expiries
                    .iter()
                    .zip(&b.field_expiries)
                    .all(|(x, y)| x.0 == y.0 && near(x.1, y.1))
        }
        _ => false,
    }
}

/// Whether this side of a difference goes by itself: an expiry that is due within the grace.
fn may_be_expiring(entry: Option<&Entry>) -> bool {
    let grace = i64::try_from(EXPIRY_GRACE.as_millis()).unwrap();
    let due = |at: i64| at >= 0 && at < now() + grace;
    entry.is_some_and(|entry| {
        // All its fields have ended, and the server has not removed it yet.
        let hollow = entry.content == Value::Array(Vec::new());
        hollow || due(entry.expires_at) || entry.field_expiries.iter().any(|(_, at)| due(*at))
    })
}

fn show(entry: Option<&Entry>) -> String {
    entry.map_or("nothing".to_owned(), |entry| {
        let content: String = format!("{:?}", Readable(&entry.content)).chars().take(600).collect();
        format!("{} expiring {}: {content}", entry.kind, entry.expires_at)
    })
}

/// A value as text rather than as numbers of bytes.
struct Readable<'a>(&'a Value);

impl std::fmt::Debug for Readable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Value::Array(elements) => {
                f.debug_list().entries(elements.iter().map(Readable)).finish()
            }
            other => f.write_str(&other.text()),
        }
    }
}

/// Milliseconds since the epoch by this machine's clock.
pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// Reads one server.
struct Reader {
    client: Resp,
    database: u32,
    has_expiretime: bool,
    has_field_expiry: bool,
    /// How much is asked of streams: what both servers tell.
    telling: Telling,
    /// By how many milliseconds its clock is ahead of this machine's.
    ahead: i64,
}

impl Reader {
    fn of(server: &Server) -> Self {
        let mut client = server.client();
        let mut knows = |command: &str| {
            client.ok(format!("COMMAND INFO {command}")).elements()[0] != Value::Null
        };
        let (has_expiretime, has_field_expiry) = (knows("PEXPIRETIME"), knows("HPEXPIRETIME"));
        let telling = Telling::of(server);
        let ahead = ahead(&mut client);
        Self { client, database: 0, has_expiretime, has_field_expiry, telling, ahead }
    }

    fn select(&mut self, database: u32) {
        if self.database != database {
            self.client.ok(format!("SELECT {database}"));
            self.database = database;
        }
    }

    /// Every key of every database.
    fn keys(&mut self) -> Vec<Key> {
        let info = self.client.ok("INFO keyspace").text();
        let databases = info
            .lines()
            .filter_map(|line| line.strip_prefix("db")?.split_once(':')?.0.parse::<u32>().ok());
        let mut keys = Vec::new();
        for database in databases.collect::<Vec<_>>() {
            self.select(database);
            let mut cursor = "0".to_owned();
            loop {
                let mut page = self.client.ok(["SCAN", &cursor, "COUNT", "1000"]).elements();
                let found = page.pop().unwrap().elements();
                keys.extend(found.into_iter().map(|key| (database, key.bytes())));
                cursor = page.pop().unwrap().text();
                if cursor == "0" {
                    break;
                }
            }
        }
        keys
    }

    /// What is there of these keys; those that are gone are left out.
    fn entries(&mut self, keys: &[Key]) -> BTreeMap<Key, Entry> {
        let mut entries = BTreeMap::new();
        for group in keys.chunk_by(|a, b| a.0 == b.0) {
            for page in group.chunks(1000) {
                self.page(page, &mut entries);
            }
        }
        entries
    }

    fn page(&mut self, keys: &[Key], entries: &mut BTreeMap<Key, Entry>) {
        self.select(keys[0].0);
        let types = self.client.pipeline(keys.iter().map(|(_, key)| words(&[b"TYPE", key])));
        let kinds: Vec<String> = types.iter().map(Value::text).collect();
        let present: Vec<(&Key, &String)> =
            keys.iter().zip(&kinds).filter(|(_, kind)| *kind != "none").collect();
        let contents = present.iter().map(|((_, key), kind)| read_command(kind, key));
        let contents = self.client.pipeline(contents.collect::<Vec<_>>());
        let expiries = self.expiries(&present);
        for (((key, kind), content), expires_at) in present.into_iter().zip(contents).zip(expiries)
        {
            // Gone, or of another type, since its type was read.
            if content == Value::Null || content.is_error() || expires_at == -2 {
                continue;
            }
            let content = match kind.as_str() {
                "stream" => stream::read(&mut self.client, &key.1, content, self.telling),
                _ => canonical(kind, content),
            };
            let field_expiries = self.field_expiries(kind, &key.1, &content);
            entries.insert(
                key.clone(),
                Entry { kind: kind.clone(), content, expires_at, field_expiries },
            );
        }
    }

    fn expiries(&mut self, keys: &[(&Key, &String)]) -> Vec<i64> {
        let command: &[u8] = if self.has_expiretime { b"PEXPIRETIME" } else { b"PTTL" };
        let asked = keys.iter().map(|((_, key), _)| words(&[command, key]));
        let mut replies =
            self.client.pipeline(std::iter::once(words(&[b"TIME"])).chain(asked)).into_iter();
        let now = milliseconds(replies.next().unwrap());
        let base = if self.has_expiretime { -self.ahead } else { now - self.ahead };
        let at = |reply: Value| reply.integer();
        replies.map(at).map(|at| if at < 0 { at } else { at + base }).collect()
    }

    fn field_expiries(&mut self, kind: &str, key: &[u8], content: &Value) -> Vec<(Vec<u8>, i64)> {
        if kind != "hash" || !self.has_field_expiry {
            return Vec::new();
        }
        let fields: Vec<Vec<u8>> = content
            .clone()
            .elements()
            .into_iter()
            .map(|pair| pair.elements().swap_remove(0).bytes())
            .collect();
        let count = fields.len().to_string();
        let mut request = words(&[b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()]);
        request.extend(fields.iter().cloned());
        let times = self.client.call(request);
        let times = if times.is_error() { Vec::new() } else { times.elements() };
        fields
            .into_iter()
            .zip(times)
            .map(|(field, at)| (field, at.integer()))
            // One that has gone since it was read has ended at some time.
            .filter(|(_, at)| *at != -1)
            .map(|(field, at)| (field, if at < 0 { 0 } else { at - self.ahead }))
            .collect()
    }
}

/// By how many milliseconds a server's clock is ahead of this machine's: whole seconds, as tests set it.
fn ahead(client: &mut Resp) -> i64 {
    wait_for("a server tells the time at once", || {
        let before = now();
        let there = milliseconds(client.ok("TIME"));
        let after = now();
        let ahead = there - i64::midpoint(before, after);
        (after - before < 500).then(|| (ahead as f64 / 1000.0).round() as i64 * 1000)
    })
}

/// The answer of `TIME`.
fn milliseconds(time: Value) -> i64 {
    let time = time.elements();
    time[0].integer() * 1000 + time[1].integer() / 1000
}

fn words(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

/// The command that reads all of a value.
fn read_command(kind: &str, key: &[u8]) -> Vec<Vec<u8>> {
    match kind {
        "string" => words(&[b"GET", key]),
        "list" => words(&[b"LRANGE", key, b"0", b"-1"]),
        "set" => words(&[b"SMEMBERS", key]),
        "zset" => words(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
        "hash" => words(&[b"HGETALL", key]),
        "stream" => words(&[b"XRANGE", key, b"-", b"+"]),
        other => panic!("a type that the tests cannot read: {other}"),
    }
}

/// The value without what may differ between equal servers.
fn canonical(kind: &str, content: Value) -> Value {
    match kind {
        "string" => Value::Bulk(without_cached_cardinality(content.bytes())),
        "set" => sorted(content.elements()),
        "hash" => {
            sorted(content.elements().chunks(2).map(|pair| Value::Array(pair.to_vec())).collect())
        }
        "zset" => Value::Array(content.elements().chunks(2).map(scored).collect()),
        _ => content,
    }
}

/// A member and its score, which servers write with more or fewer digits.
fn scored(pair: &[Value]) -> Value {
    let score: f64 = pair[1].text().parse().unwrap();
    Value::Array(vec![pair[0].clone(), Value::Simple(format!("{:e}", score + 0.0).into_bytes())])
}

fn sorted(mut elements: Vec<Value>) -> Value {
    elements.sort();
    Value::Array(elements)
}

/// A `HyperLogLog` holds the result of its last count, which a read may refresh.
fn without_cached_cardinality(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.starts_with(b"HYLL") && bytes.len() >= 16 {
        bytes[8..16].fill(0);
    }
    bytes
}
