//! Clients as `CLIENT LIST` shows them, and choosing some of them as it and `CLIENT KILL` do.
//!
//! The grammar of the options is the server's: whoever asks has had it checked there, in whatever
//! version it is. Here they are only applied, to the proxy's clients.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use super::client::Client;
use super::registry::{Entry, Seen, Tracking};
use super::session::Wait;
use crate::protocol::resp::parse_integer;

impl Client {
    /// Lets others see what the client is doing: whenever it comes to wait, or looks itself.
    pub(super) fn show(&self) {
        let mut seen = self.entry.seen.lock();
        seen.last_active = self.came;
        seen.last_command = self.last_command;
        seen.subscriptions = self.session.channels.counts();
        seen.queued = self.session.queued();
        seen.watched = self.session.watched();
        seen.no_touch = self.session.standing.avoids_touch();
        seen.tracking = Tracking {
            on: self.session.standing.has_tracking(),
            broadcasts: self.session.standing.broadcasts(),
            redirect: self.session.standing.redirect(),
        };
    }

    /// Lets others see that a command of the client waits, or does no longer.
    pub(super) fn show_wait(&self, wait: Option<Wait>) {
        self.entry.seen.lock().wait = wait;
    }
}

/// The fields of a line of `CLIENT LIST`, as Redis 7.4 has them.
const FIELDS: [&str; 31] = [
    "id",
    "addr",
    "laddr",
    "fd",
    "name",
    "age",
    "idle",
    "flags",
    "db",
    "sub",
    "psub",
    "ssub",
    "multi",
    "watch",
    "qbuf",
    "qbuf-free",
    "argv-mem",
    "multi-mem",
    "rbs",
    "rbp",
    "obl",
    "oll",
    "omem",
    "tot-mem",
    "events",
    "cmd",
    "user",
    "redir",
    "resp",
    "lib-name",
    "lib-ver",
];

/// The fields of a line, in the order of the server that has answered with some.
pub(super) fn fields(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let line = text.find("id=").and_then(|start| text.get(start..)?.lines().next());
    match line {
        Some(line) => {
            line.split(' ').filter_map(|part| Some(part.split_once('=')?.0.to_owned())).collect()
        }
        None => FIELDS.map(str::to_owned).to_vec(),
    }
}

/// A client as a line of `CLIENT LIST`. What only a server has (buffers, memory) is 0; `asks` is the
/// size of the request that is being answered, when it is this client's.
pub(super) fn describe(entry: &Entry, fields: &[String], asks: usize) -> String {
    let seen = entry.seen.lock().clone();
    let mut line = String::with_capacity(300);
    for field in fields {
        let separator = if line.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(line, "{separator}{field}={}", value(field, entry, &seen, asks));
    }
    line.push('\n');
    line
}

fn value(field: &str, entry: &Entry, seen: &Seen, asks: usize) -> String {
    let [channels, patterns, shard_channels] = seen.subscriptions;
    let seconds = |since: Instant| since.elapsed().as_secs().to_string();
    match field {
        "id" => entry.id.to_string(),
        "addr" => text(entry.address),
        "laddr" => text(entry.local),
        "name" => seen.name.clone(),
        "age" => seconds(entry.since),
        "idle" => seconds(seen.last_active),
        "flags" => flags(seen),
        "db" => seen.db.to_string(),
        "sub" => channels.to_string(),
        "psub" => patterns.to_string(),
        "ssub" => shard_channels.to_string(),
        "multi" => seen.queued.map_or_else(|| "-1".to_owned(), |count| count.to_string()),
        "watch" => seen.watched.to_string(),
        "qbuf" => asks.to_string(),
        "events" => "r".to_owned(),
        "cmd" => command(seen.last_command),
        "user" => seen.user.clone(),
        "redir" => redirection(seen).to_string(),
        "resp" => seen.resp.to_string(),
        "lib-name" => seen.library.name.clone(),
        "lib-ver" => seen.library.version.clone(),
        "capa" => String::new(),
        _ => "0".to_owned(),
    }
}

fn text(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "?:0".to_owned(), |address| address.to_string())
}

/// A command's name as the server writes it there: `client|list`.
fn command(name: &str) -> String {
    if name == "NULL" { name.to_owned() } else { name.to_lowercase().replace(' ', "|") }
}

/// -1 without tracking, 0 when the client itself is told.
fn redirection(seen: &Seen) -> i64 {
    match (seen.tracking.on, seen.tracking.redirect) {
        (false, _) => -1,
        (true, client) => client.and_then(|id| i64::try_from(id).ok()).unwrap_or(0),
    }
}

fn flags(seen: &Seen) -> String {
    let flags: String = [
        ('O', seen.monitors),
        ('P', seen.subscribes()),
        ('x', seen.queued.is_some()),
        ('b', seen.wait.is_some()),
        ('t', seen.tracking.on),
        ('B', seen.tracking.broadcasts),
        ('e', seen.no_evict),
        ('T', seen.no_touch),
    ]
    .into_iter()
    .filter_map(|(flag, set)| set.then_some(flag))
    .collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}

/// One condition on a client.
#[derive(Debug)]
struct Condition {
    wanted: Wanted,
    /// `NOT-…`.
    negated: bool,
}

#[derive(Debug)]
enum Wanted {
    Ids(Vec<u64>),
    Kind(String),
    Address(String),
    Local(String),
    Host(String),
    User(String),
    Name(String),
    Flags(String),
    Library(String),
    LibraryVersion(String),
    Database(i64),
    /// Connected for so many seconds at least.
    Age(u64),
    /// Silent for so many.
    Idle(u64),
}

/// The conditions that all have to hold.
#[derive(Debug, Default)]
pub(super) struct Filter {
    conditions: Vec<Condition>,
    /// Whether the asking client is left out.
    pub(super) skips_asker: Option<bool>,
}

impl Filter {
    /// From the options of `CLIENT LIST` or `CLIENT KILL`; an option that only the server knows is
    /// the error.
    pub(super) fn parse(options: &[&[u8]]) -> Result<Self, String> {
        let mut filter = Self::default();
        let mut rest = options;
        while let [name, value, after @ ..] = rest {
            let name = String::from_utf8_lossy(name).to_uppercase();
            let value = String::from_utf8_lossy(value).into_owned();
            rest = after;
            if name == "SKIPME" {
                filter.skips_asker = Some(value.eq_ignore_ascii_case("yes"));
                continue;
            }
            let negated = name.starts_with("NOT-");
            let plain = name.strip_prefix("NOT-").unwrap_or(&name);
            let wanted = if plain == "ID" {
                let more = after.iter().map_while(|value| parse_integer(value)).count();
                let (ids, others) = after.split_at(more);
                rest = others;
                Some(Wanted::ids(&value, ids))
            } else {
                Wanted::of(plain, value)
            };
            let wanted = wanted.ok_or(name)?;
            filter.conditions.push(Condition { wanted, negated });
        }
        Ok(filter)
    }

    pub(super) fn admits(&self, entry: &Entry) -> bool {
        let seen = entry.seen.lock();
        self.conditions
            .iter()
            .all(|condition| condition.wanted.describes(entry, &seen) != condition.negated)
    }
}

impl Wanted {
    fn ids(first: &str, more: &[&[u8]]) -> Self {
        let ids = std::iter::once(first.as_bytes()).chain(more.iter().copied());
        Self::Ids(ids.filter_map(|id| u64::try_from(parse_integer(id)?).ok()).collect())
    }

    fn of(name: &str, value: String) -> Option<Self> {
        Some(match name {
            "TYPE" => Self::Kind(value.to_lowercase()),
            "ADDR" => Self::Address(value),
            "LADDR" => Self::Local(value),
            "IP" => Self::Host(value),
            "USER" => Self::User(value),
            "NAME" => Self::Name(value),
            "FLAGS" => Self::Flags(value),
            "LIB-NAME" => Self::Library(value),
            "LIB-VER" => Self::LibraryVersion(value),
            "DB" => Self::Database(value.parse().ok()?),
            "MAXAGE" => Self::Age(value.parse().ok()?),
            "IDLE" => Self::Idle(value.parse().ok()?),
            _ => return None,
        })
    }

    fn describes(&self, entry: &Entry, seen: &Seen) -> bool {
        let seconds = |since: Instant| since.elapsed().as_secs();
        match self {
            Self::Ids(ids) => ids.contains(&entry.id),
            Self::Kind(kind) => kind == if seen.subscribes() { "pubsub" } else { "normal" },
            Self::Address(address) => *address == text(entry.address),
            Self::Local(address) => *address == text(entry.local),
            Self::Host(host) => entry.address.is_some_and(|own| own.ip().to_string() == *host),
            Self::User(user) => *user == seen.user,
            Self::Name(name) => *name == seen.name,
            Self::Flags(wanted) => {
                let flags = flags(seen);
                wanted.chars().all(|flag| flags.contains(flag))
            }
            Self::Library(library) => *library == seen.library.name,
            Self::LibraryVersion(version) => *version == seen.library.version,
            Self::Database(db) => *db == i64::from(seen.db),
            Self::Age(least) => seconds(entry.since) >= *least,
            Self::Idle(least) => seconds(seen.last_active) >= *least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    fn entry() -> std::sync::Arc<Entry> {
        let address = "127.0.0.1:1234".parse().unwrap();
        let entry = Registry::default().enter(Some(address), None, std::sync::Arc::default());
        entry.seen.lock().name = "worker".to_owned();
        entry
    }

    fn admits(options: &str) -> Result<bool, String> {
        let options: Vec<&[u8]> = options.split(' ').map(str::as_bytes).collect();
        Ok(Filter::parse(&options)?.admits(&entry()))
    }

    #[test]
    fn every_condition_has_to_hold() {
        assert_eq!(admits("ID 1 2 TYPE normal ADDR 127.0.0.1:1234"), Ok(true));
        assert_eq!(admits("ID 1 2 type PubSub"), Ok(false));
        assert_eq!(admits("ID 2 NAME worker"), Ok(false));
        assert_eq!(admits("NOT-ID 2 3 NOT-NAME other IP 127.0.0.1 FLAGS N"), Ok(true));
        assert_eq!(admits("NOT-ID 1 NAME worker"), Ok(false));
        assert_eq!(admits("MAXAGE 1000"), Ok(false));
        assert_eq!(admits("FUTURE x"), Err("FUTURE".to_owned()));
    }

    #[test]
    fn a_line_names_what_the_client_is_doing() {
        let entry = entry();
        {
            let mut seen = entry.seen.lock();
            seen.subscriptions = [2, 1, 0];
            seen.queued = Some(3);
            seen.last_command = "XGROUP CREATE";
        }
        let line = describe(&entry, &fields(b""), 0);
        for part in [" name=worker ", " flags=Px ", " sub=2 psub=1 ssub=0 multi=3 ", " redir=-1 "] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(line.contains(" cmd=xgroup|create "), "{line}");
        let old = fields(b"$42\r\nid=3 addr=1.2.3.4:5 qbuf=26 cmd=client\n\r\n");
        let line = describe(&entry, &old, 17);
        assert_eq!(line, "id=1 addr=127.0.0.1:1234 qbuf=17 cmd=xgroup|create\n");
    }
}
