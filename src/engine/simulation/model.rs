//! A server in memory: strings, lists and sets with expiry, in two databases.
//!
//! It answers as Redis does where the engine looks. Values hold no commas: a list's payload is its
//! elements with commas between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};

use crate::resp::{self, Protocol, Request, parse_integer};

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

pub(super) type Database = BTreeMap<Text, Entry>;

#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) databases: [Database; DATABASES],
    /// Refuses every command, as when out of memory.
    pub(super) full: bool,
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
    /// Executes one request at `now` on the server's clock.
    pub(super) fn execute(&mut self, db: u32, request: &Request, now: i64) -> Bytes {
        for database in &mut self.databases {
            database.retain(|_, entry| entry.expires.is_none_or(|at| at > now));
        }
        let args: Vec<&[u8]> = request.args().collect();
        let said = if self.full { Said::Error("OOM") } else { self.run(db as usize, &args, now) };
        encode(said)
    }

    fn run(&mut self, db: usize, args: &[&[u8]], now: i64) -> Said {
        match args {
            [b"FLUSHDB"] => {
                self.databases[db].clear();
                Done
            }
            [b"SWAPDB", a, b] => {
                let index = |db| number(db).cast_unsigned() as usize;
                self.databases.swap(index(a), index(b));
                Done
            }
            _ => command(&mut self.databases[db], args, now),
        }
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
        [b"LPOP", key] => lpop(keys, key),
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

fn lpop(keys: &mut Database, key: &[u8]) -> Said {
    let Some(entry) = keys.get_mut(key) else { return Null };
    let Value::List(list) = &mut entry.value else { return WRONG_TYPE };
    let popped = list.pop_front();
    if list.is_empty() {
        keys.remove(key);
    }
    popped.map_or(Null, Said::Text)
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
        Said::Text(text) => resp::bulk(&mut out, &text),
        Null => resp::null(&mut out, Protocol::Resp2),
        Said::Error(text) => resp::error(&mut out, text),
    }
    out.freeze()
}
