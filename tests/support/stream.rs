//! What of a stream must be equal on two servers, out of `XINFO STREAM key FULL`.

use super::resp::Value;

/// The layout in memory; times that a server takes from its own clock when a command arrives; and a group's
/// count of entries read, an estimate in which even a replica of Redis 7 differs from its master.
const LEFT_OUT: [&str; 7] = [
    "radix-tree-keys",
    "radix-tree-nodes",
    "seen-time",
    "active-time",
    "inactive",
    "entries-read",
    "lag",
];

/// Entries, ids, counters, groups, consumers and pending entries; pending ones without delivery times.
pub fn canonical(info: Value) -> Value {
    fields(info, |name, value| match name {
        "groups" => each(value, group),
        _ => value,
    })
}

fn group(info: Value) -> Value {
    fields(info, |name, value| match name {
        // id, consumer, delivery time, count
        "pel" | "pending" => each(value, |entry| without(entry, 2)),
        "consumers" => each(value, consumer),
        _ => value,
    })
}

fn consumer(info: Value) -> Value {
    fields(info, |name, value| match name {
        // id, delivery time, count
        "pel" | "pending" => each(value, |entry| without(entry, 1)),
        _ => value,
    })
}

/// A flat list of names and values without the names that are left out, each value rewritten by its name.
fn fields(info: Value, rewrite: impl Fn(&str, Value) -> Value) -> Value {
    let mut kept = Vec::new();
    let mut flat = info.elements().into_iter();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        let text = name.text();
        if !LEFT_OUT.contains(&text.as_str()) {
            kept.push(Value::Array(vec![name, rewrite(&text, value)]));
        }
    }
    Value::Array(kept)
}

fn each(list: Value, rewrite: impl Fn(Value) -> Value) -> Value {
    match list {
        Value::Array(elements) => Value::Array(elements.into_iter().map(rewrite).collect()),
        count => count,
    }
}

fn without(entry: Value, index: usize) -> Value {
    let mut elements = entry.elements();
    elements.remove(index);
    Value::Array(elements)
}
