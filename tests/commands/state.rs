//! What a server holds, in words that can be compared.

use crossfade::protocol::resp::{Reply, Request};

use super::server::{Client, text};

/// All keys of the database.
pub(crate) fn keys(client: &mut Client) -> Vec<String> {
    let mut keys: Vec<_> = client.ask("KEYS *").items().unwrap().iter().map(text).collect();
    keys.sort();
    keys
}

/// Type, expiry and value of one key.
pub(crate) fn of(client: &mut Client, key: &str) -> String {
    let kind = text(&client.ask(&format!("TYPE {key}")));
    let expiry = client.ask(&format!("PEXPIRETIME {key}"));
    let value = match kind.as_str() {
        "none" => return kind,
        "string" => string(client, key),
        "list" => format!("{:?}", client.ask(&format!("LRANGE {key} 0 -1"))),
        "hash" => sorted(&client.ask(&format!("HGETALL {key}")), 2),
        "set" => sorted(&client.ask(&format!("SMEMBERS {key}")), 1),
        "zset" => format!("{:?}", client.ask(&format!("ZRANGE {key} 0 -1 WITHSCORES"))),
        "stream" => stream(client, key),
        other => panic!("a {other}"),
    };
    format!("{kind} until {expiry:?}: {value}")
}

/// A `HyperLogLog` keeps a count in its header that reading may refresh.
fn string(client: &mut Client, key: &str) -> String {
    let value = client.ask(&format!("GET {key}"));
    match value.text() {
        Some(bytes) if bytes.starts_with(b"HYLL") => {
            client.send(&Request::new(["PFCOUNT", key]));
            format!("{:?}", client.ask(&format!("GET {key}")))
        }
        _ => format!("{value:?}"),
    }
}

fn sorted(reply: &Reply, width: usize) -> String {
    let mut records: Vec<_> =
        reply.items().unwrap().chunks(width).map(|record| format!("{record:?}")).collect();
    records.sort();
    records.join(" ")
}

/// Entries, positions, groups, consumers and pending entries; no idle times.
fn stream(client: &mut Client, key: &str) -> String {
    let entries = client.ask(&format!("XRANGE {key} - +"));
    let info = client.ask(&format!("XINFO STREAM {key}"));
    let mut lines = vec![format!("{entries:?}")];
    for name in ["length", "last-generated-id", "max-deleted-entry-id", "entries-added"] {
        lines.push(format!("{name} {:?}", field(&info, name)));
    }
    for group in client.ask(&format!("XINFO GROUPS {key}")).items().unwrap() {
        let name = text(field(group, "name"));
        lines.push(format!("{group:?}"));
        for consumer in client.ask(&format!("XINFO CONSUMERS {key} {name}")).items().unwrap() {
            lines.push(format!("{:?} {:?}", field(consumer, "name"), field(consumer, "pending")));
        }
        for entry in client.ask(&format!("XPENDING {key} {name} - + 1000")).items().unwrap() {
            let entry = entry.items().unwrap();
            lines.push(format!("{:?} {:?} {:?}", entry[0], entry[1], entry[3]));
        }
    }
    lines.join("\n")
}

fn field<'a>(record: &'a Reply, name: &str) -> &'a Reply {
    let mut pairs = record.items().unwrap().chunks(2);
    &pairs.find(|pair| text(&pair[0]) == name).unwrap()[1]
}
