//! A server in memory: strings, lists and sets with expiry, in two databases; scripts, clients that
//! wait for an element, and a connection that is told which keys are written.
//!
//! It answers as Redis does where the engine looks. Values hold no commas: a list's payload is its
//! elements with commas between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};

use super::trace;
use crate::engine::Reading;
use crate::protocol::resp::{self, Protocol, Request, parse_integer};

pub(super) const DATABASES: usize = 2;

type Text = Vec<u8>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(Text),
    List(VecDeque<Text>),
    Set(BTreeSet<Text>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) expires: Option<i64>,
}

impl Value {
    /// Makes another one of it.
    pub(super) fn spoil(&mut self) {
        match self {
            Self::Text(text) => text.push(b'9'),
            Self::List(list) => list.push_back(b"9".into()),
            Self::Set(set) => drop(set.insert(b"9".into())),
        }
    }
}

pub(super) type Database = BTreeMap<Text, Entry>;

#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) databases: [Database; DATABASES],
    /// For traces.
    name: &'static str,
    /// Refuses every command, as when out of memory.
    pub(super) full: bool,
    /// Clients that wait for an element, first come first served.
    waiting: Vec<Waiting>,
    /// What those who have been served were answered.
    served: Vec<(u64, Bytes)>,
    /// What a tracking connection has been sent, while there is one.
    pub(super) words: Option<VecDeque<Word>>,
    /// How often databases have changed places.
    swaps: u64,
}

#[derive(Debug)]
struct Waiting {
    who: u64,
    db: usize,
    request: Request,
}

/// What a tracking connection is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// This key was written, in whichever database.
    Written(Bytes),
    /// A database was emptied.
    Emptied,
    /// The answer to the question that was asked.
    Answer(Reading),
}

/// What a command answers.
enum Said {
    Done,
    Number(i64),
    Text(Text),
    Null,
    Error(&'static str),
}

use Said::{Done, Null, Number};

const WRONG_TYPE: Said = Said::Error("WRONGTYPE Operation against a key");
const SYNTAX: Said = Said::Error("ERR syntax error");

impl Server {
    pub(super) fn named(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Executes one request at `now` on the server's clock.
    pub(super) fn execute(&mut self, db: u32, request: &Request, now: i64) -> Bytes {
        self.execute_all(db, std::slice::from_ref(request), now).remove(0)
    }

    /// Executes a transaction.
    pub(super) fn execute_all(&mut self, db: u32, requests: &[Request], now: i64) -> Vec<Bytes> {
        let mut answers = Vec::new();
        for request in requests {
            self.expire(now);
            let args: Vec<&[u8]> = request.args().collect();
            let said =
                if self.full { Said::Error("OOM") } else { self.run(db as usize, &args, now) };
            let answer = encode(said);
            trace(|| {
                let (name, request) = (self.name, request.raw().escape_ascii());
                format!("{name} {db}: {request} -> {}", answer.escape_ascii())
            });
            answers.push(answer);
        }
        self.serve(now);
        answers
    }

    fn expire(&mut self, now: i64) {
        for database in &mut self.databases {
            let words = &mut self.words;
            database.retain(|key, entry| {
                let lives = entry.expires.is_none_or(|at| at > now);
                if !lives {
                    tell(words, key);
                }
                lives
            });
        }
    }

    fn run(&mut self, db: usize, args: &[&[u8]], now: i64) -> Said {
        match args {
            [b"FLUSHDB"] => {
                self.databases[db].clear();
                if let Some(words) = &mut self.words {
                    words.push_back(Word::Emptied);
                }
                Done
            }
            [b"SWAPDB", a, b] => {
                let index = |db| number(db).cast_unsigned() as usize;
                self.databases.swap(index(a), index(b));
                self.swaps += 1;
                Done
            }
            [b"MOVE", key, to] => self.carry(db, key, key, number(to), true),
            [b"COPY", from, to, b"DB", db_to] => self.carry(db, from, to, number(db_to), false),
            [b"EVAL", body, ..] => self.run_script(db, body, now),
            [b"SCRIPT", b"LOAD", ..] => Done,
            _ => self.run_on_keys(db, args, now),
        }
    }

    fn run_on_keys(&mut self, db: usize, args: &[&[u8]], now: i64) -> Said {
        let names: Vec<&[u8]> = args.iter().skip(1).copied().collect();
        let keys = &mut self.databases[db];
        let before: Vec<_> = names.iter().map(|name| keys.get(*name).cloned()).collect();
        let said = command(keys, args, now);
        for (name, before) in names.into_iter().zip(before) {
            if keys.get(name) != before.as_ref() {
                tell(&mut self.words, name);
            }
        }
        said
    }

    /// Carries a key to another database, where it must not be there already.
    fn carry(&mut self, db: usize, from: &[u8], to: &[u8], other: i64, moves: bool) -> Said {
        let other = other.cast_unsigned() as usize;
        let Some(entry) = self.databases[db].get(from).cloned() else { return Number(0) };
        if other == db || self.databases[other].contains_key(to) {
            return Number(0);
        }
        self.databases[other].insert(to.to_vec(), entry);
        tell(&mut self.words, to);
        if moves {
            self.databases[db].remove(from);
        }
        Number(1)
    }

    /// The body is commands with semicolons between them.
    fn run_script(&mut self, mut db: usize, body: &[u8], now: i64) -> Said {
        for line in body.split(|byte| *byte == b';') {
            let args: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            if let [b"SELECT", other] = args.as_slice() {
                db = number(other).cast_unsigned() as usize;
            } else {
                self.run(db, &args, now);
            }
        }
        Null
    }

    /// A client waits until there is an element for it.
    pub(super) fn wait(&mut self, who: u64, db: u32, request: Request, now: i64) {
        self.waiting.push(Waiting { who, db: db as usize, request });
        self.expire(now);
        self.serve(now);
    }

    /// What a client that waited has been answered.
    pub(super) fn answer_to(&mut self, who: u64) -> Option<Bytes> {
        let place = self.served.iter().position(|(served, _)| *served == who)?;
        Some(self.served.swap_remove(place).1)
    }

    /// A client waits no longer; true when it did until now.
    pub(super) fn unblock(&mut self, who: u64) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.who != who);
        self.waiting.len() < before
    }

    /// Nobody waits any more.
    pub(super) fn unblock_all(&mut self) {
        (self.waiting, self.served) = Default::default();
    }

    /// Serves those who wait, as after each command or transaction.
    fn serve(&mut self, now: i64) {
        let mut place = 0;
        while let Some(waiting) = self.waiting.get(place) {
            let (who, db, request) = (waiting.who, waiting.db, waiting.request.clone());
            let args: Vec<&[u8]> = request.args().collect();
            match self.pop(db, &args, now) {
                None => place += 1,
                Some(answer) => {
                    trace(|| format!("{} {db}: serves {request:?}", self.name));
                    self.waiting.remove(place);
                    self.served.push((who, answer));
                    place = 0;
                }
            }
        }
    }

    fn pop(&mut self, db: usize, args: &[&[u8]], now: i64) -> Option<Bytes> {
        let is_list = |key: &[u8]| {
            self.databases[db].get(key).map(|entry| matches!(entry.value, Value::List(_)))
        };
        match args {
            [b"BLPOP", key, _] => {
                is_list(key).filter(|list| *list)?;
                let Said::Text(element) = self.run_on_keys(db, &[b"LPOP", key], now) else {
                    return None;
                };
                let mut out = BytesMut::new();
                resp::array_header(&mut out, 2);
                resp::bulk(&mut out, key);
                resp::bulk(&mut out, &element);
                Some(out.freeze())
            }
            [b"BLMOVE", from, to, ..] => {
                is_list(from).filter(|list| *list)?;
                if is_list(to) == Some(false) {
                    return Some(encode(WRONG_TYPE));
                }
                let Said::Text(element) = self.run_on_keys(db, &[b"LPOP", from], now) else {
                    return None;
                };
                self.run_on_keys(db, &[b"LPUSH", to, &element], now);
                Some(encode(Said::Text(element)))
            }
            _ => None,
        }
    }

    /// What the server tells of itself.
    pub(super) fn reading(&self) -> Reading {
        let held = (0..DATABASES).filter(|db| !self.databases[*db].is_empty());
        Reading { databases: held.map(|db| db as u32).collect(), swaps: Some(self.swaps) }
    }
}

/// Tells the tracking connection of a key.
fn tell(words: &mut Option<VecDeque<Word>>, key: &[u8]) {
    if let Some(words) = words {
        words.push_back(Word::Written(Bytes::copy_from_slice(key)));
    }
}

fn command(keys: &mut Database, args: &[&[u8]], now: i64) -> Said {
    match args {
        [b"SET", key, value, options @ ..] => set(keys, key, value, options, now),
        [b"INCR", key] => incr(keys, key),
        [b"APPEND", key, tail] => append(keys, key, tail),
        [b"DEL", names @ ..] => {
            Number(names.iter().filter(|name| keys.remove(**name).is_some()).count() as i64)
        }
        [b"SADD", key, member] => sadd(keys, key, member),
        [b"SREM", key, member] => srem(keys, key, member),
        [b"LPUSH", key, element] => push(keys, key, element, true),
        [b"RPUSH", key, element] => push(keys, key, element, false),
        [b"LPOP", key] => pop(keys, key, VecDeque::pop_front),
        [b"RPOP", key] => pop(keys, key, VecDeque::pop_back),
        [b"LTRIM", key, first, last] => ltrim(keys, key, number(first), number(last)),
        [b"PEXPIRE", key, time] => expire(keys, key, now + number(time), now),
        [b"PEXPIREAT", key, time] => expire(keys, key, number(time), now),
        [b"PERSIST", key] => Number(i64::from(
            keys.get_mut(*key).is_some_and(|entry| entry.expires.take().is_some()),
        )),
        [b"PEXPIRETIME", key] => {
            Number(keys.get(*key).map_or(-2, |entry| entry.expires.unwrap_or(-1)))
        }
        [b"RENAME", from, to] => match keys.remove(*from) {
            None => Said::Error("ERR no such key"),
            Some(entry) => {
                keys.insert(to.to_vec(), entry);
                Done
            }
        },
        [b"DUMP", key] => keys.get(*key).map_or(Null, |entry| Said::Text(dump(&entry.value))),
        [b"RESTORE", key, time, payload, b"REPLACE", b"ABSTTL"] => {
            let expires = Some(number(time)).filter(|time| *time > 0);
            keys.insert(key.to_vec(), Entry { value: load(payload), expires });
            Done
        }
        _ => SYNTAX,
    }
}

fn set(keys: &mut Database, key: &[u8], value: &[u8], options: &[&[u8]], now: i64) -> Said {
    let mut expires = None;
    match options {
        [b"NX"] if keys.contains_key(key) => return Null,
        [] | [b"NX"] => {}
        [b"KEEPTTL"] => expires = keys.get(key).and_then(|entry| entry.expires),
        [b"PX", time] => expires = Some(now + number(time)),
        [b"PXAT", time] => expires = Some(number(time)),
        _ => return SYNTAX,
    }
    keys.insert(key.to_vec(), Entry { value: Value::Text(value.to_vec()), expires });
    Done
}

fn incr(keys: &mut Database, key: &[u8]) -> Said {
    let Value::Text(text) = create(keys, key, || Value::Text(b"0".to_vec())) else {
        return WRONG_TYPE;
    };
    let Some(sum) = parse_integer(text) else { return Said::Error("ERR not an integer") };
    *text = (sum + 1).to_string().into_bytes();
    Number(sum + 1)
}

fn append(keys: &mut Database, key: &[u8], tail: &[u8]) -> Said {
    let Value::Text(text) = create(keys, key, || Value::Text(Text::new())) else {
        return WRONG_TYPE;
    };
    text.extend_from_slice(tail);
    Number(text.len() as i64)
}

fn sadd(keys: &mut Database, key: &[u8], member: &[u8]) -> Said {
    match create(keys, key, || Value::Set(BTreeSet::new())) {
        Value::Set(members) => Number(i64::from(members.insert(member.to_vec()))),
        _ => WRONG_TYPE,
    }
}

fn srem(keys: &mut Database, key: &[u8], member: &[u8]) -> Said {
    let Some(entry) = keys.get_mut(key) else { return Number(0) };
    let Value::Set(members) = &mut entry.value else { return WRONG_TYPE };
    let removed = members.remove(member);
    if members.is_empty() {
        keys.remove(key);
    }
    Number(i64::from(removed))
}

fn push(keys: &mut Database, key: &[u8], element: &[u8], front: bool) -> Said {
    let Value::List(list) = create(keys, key, || Value::List(VecDeque::new())) else {
        return WRONG_TYPE;
    };
    if front {
        list.push_front(element.to_vec());
    } else {
        list.push_back(element.to_vec());
    }
    Number(list.len() as i64)
}

fn pop(keys: &mut Database, key: &[u8], end: fn(&mut VecDeque<Text>) -> Option<Text>) -> Said {
    let Some(entry) = keys.get_mut(key) else { return Null };
    let Value::List(list) = &mut entry.value else { return WRONG_TYPE };
    let popped = end(list);
    if list.is_empty() {
        keys.remove(key);
    }
    popped.map_or(Null, Said::Text)
}

/// Between places that are counted from the head.
fn ltrim(keys: &mut Database, key: &[u8], first: i64, last: i64) -> Said {
    let Some(entry) = keys.get_mut(key) else { return Done };
    let Value::List(list) = &mut entry.value else { return WRONG_TYPE };
    let kept = |place: &usize| (first..=last).contains(&(*place as i64));
    *list = (0..list.len()).filter(kept).map(|place| list[place].clone()).collect();
    if list.is_empty() {
        keys.remove(key);
    }
    Done
}

fn expire(keys: &mut Database, key: &[u8], at: i64, now: i64) -> Said {
    let Some(entry) = keys.get_mut(key) else { return Number(0) };
    entry.expires = Some(at);
    if at <= now {
        keys.remove(key);
    }
    Number(1)
}

fn create<'a>(keys: &'a mut Database, key: &[u8], empty: fn() -> Value) -> &'a mut Value {
    let entry = || Entry { value: empty(), expires: None };
    &mut keys.entry(key.to_vec()).or_insert_with(entry).value
}

fn dump(value: &Value) -> Text {
    let join = |kind: u8, items: Vec<&[u8]>| [vec![kind], items.join(&b","[..])].concat();
    match value {
        Value::Text(text) => join(b't', vec![text]),
        Value::List(list) => join(b'l', list.iter().map(Vec::as_slice).collect()),
        Value::Set(members) => join(b's', members.iter().map(Vec::as_slice).collect()),
    }
}

fn load(payload: &[u8]) -> Value {
    let items = || payload[1..].split(|byte| *byte == b',').map(<[u8]>::to_vec);
    match payload[0] {
        b't' => Value::Text(payload[1..].to_vec()),
        b'l' => Value::List(items().collect()),
        _ => Value::Set(items().collect()),
    }
}

fn number(text: &[u8]) -> i64 {
    parse_integer(text).expect("a number")
}

fn encode(said: Said) -> Bytes {
    let mut out = BytesMut::new();
    match said {
        Done => resp::simple(&mut out, "OK"),
        Number(value) => resp::integer(&mut out, value),
        Said::Text(text) => resp::text(&mut out, &text),
        Null => resp::null(&mut out, Protocol::Resp2),
        Said::Error(text) => resp::error(&mut out, text),
    }
    out.freeze()
}
