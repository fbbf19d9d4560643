//! What of a stream must be equal on two servers, asked in words that both of them know.

use super::resp::{Resp, Value};
use super::server::Server;

/// How much a server tells of its streams; two are compared by what the older one tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Telling {
    /// Entries, positions, groups, consumers, pending entries.
    Contents,
    /// Also what it remembers of entries that are gone (Redis 7.0).
    History,
}

impl Telling {
    /// What this server tells.
    pub fn of(server: &Server) -> Self {
        if server.is_at_least(7, 0) { Self::History } else { Self::Contents }
    }
}

/// All of a stream but times of delivery, which servers tell as ages, and a group's count of entries read:
/// an estimate in which even a replica of Redis 7 differs from its master.
pub fn read(client: &mut Resp, key: &[u8], entries: Value, telling: Telling) -> Value {
    let mut facts = vec![entries];
    let info = ask(client, &[b"XINFO", b"STREAM", key]);
    let known: &[&str] = match telling {
        Telling::Contents => &["length", "last-generated-id"],
        Telling::History => {
            &["length", "last-generated-id", "entries-added", "max-deleted-entry-id"]
        }
    };
    facts.push(pick(&info, known));
    for group in elements(ask(client, &[b"XINFO", b"GROUPS", key])) {
        facts.push(pick(&group, &["name", "consumers", "pending", "last-delivered-id"]));
        let Some(name) = field(&group, "name").map(Value::bytes) else { continue };
        let consumers = elements(ask(client, &[b"XINFO", b"CONSUMERS", key, &name]));
        let mut consumers: Vec<Value> =
            consumers.iter().map(|consumer| pick(consumer, &["name", "pending"])).collect();
        consumers.sort();
        facts.extend(consumers);
        let pending = ask(client, &[b"XPENDING", key, &name, b"-", b"+", b"100000"]);
        facts.extend(elements(pending).into_iter().map(without_age));
    }
    Value::Array(facts)
}

fn ask(client: &mut Resp, words: &[&[u8]]) -> Value {
    client.call(words.iter().map(|word| word.to_vec()).collect::<Vec<_>>())
}

/// Nothing of a key that has gone since.
fn elements(list: Value) -> Vec<Value> {
    if list.is_error() { Vec::new() } else { list.elements() }
}

fn field(record: &Value, name: &str) -> Option<Value> {
    let Value::Array(flat) = record else { return None };
    flat.chunks(2).find(|pair| pair[0].text() == name).map(|pair| pair[1].clone())
}

fn pick(record: &Value, names: &[&str]) -> Value {
    Value::Array(names.iter().filter_map(|name| field(record, name)).collect())
}

/// ID, consumer, age, deliveries.
fn without_age(entry: Value) -> Value {
    let mut entry = entry.elements();
    entry.remove(2);
    Value::Array(entry)
}
