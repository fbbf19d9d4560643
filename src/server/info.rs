//! What servers say in texts and lists: `INFO`, `CLIENT LIST`, `FUNCTION LIST`.

use std::collections::HashMap;

use bytes::Bytes;
use redis::{FromRedisValue, InfoDict, ParsingError, Value};

use crate::protocol::resp::Reply;

/// Whatever a server says, to be read by people: paths and names may be any bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(pub String);

impl FromRedisValue for Text {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let bytes: Vec<u8> = redis::from_redis_value(value)?;
        Ok(Self(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// `INFO`, by field.
#[derive(Clone, Debug)]
pub struct Info(InfoDict);

/// How often a command was called, as the server counts (`INFO commandstats`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called<'a> {
    /// Its name, with a bar before a subcommand's.
    pub command: &'a str,
    /// All of its calls.
    pub calls: u64,
    /// Those that failed, where the server says.
    pub failed: u64,
}

impl Default for Info {
    fn default() -> Self {
        Self::new("")
    }
}

impl FromRedisValue for Info {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        Text::from_redis_value(value).map(|text| Self::new(&text.0))
    }
}

impl Info {
    /// Understands a text that a server has sent.
    pub fn new(text: &str) -> Self {
        Self(InfoDict::new(text))
    }

    /// A field; empty where there is none.
    pub fn text(&self, field: &str) -> &str {
        self.0.find(&field).map_or("", text)
    }

    /// A number; 0 where there is none.
    pub fn number(&self, field: &str) -> u64 {
        self.text(field).parse().unwrap_or(0)
    }

    /// The databases that hold keys, in order, and how many.
    pub fn keyspace(&self) -> Vec<(u32, u64)> {
        let database = |(name, value): (&String, &Value)| {
            Some((name.strip_prefix("db")?.parse().ok()?, part(text(value), "keys")?))
        };
        let mut held: Vec<_> = self.0.iter().filter_map(database).collect();
        held.sort_unstable();
        held
    }

    /// Whether a key of this database may end.
    pub fn some_key_ends(&self, db: u32) -> bool {
        part(self.text(&format!("db{db}")), "expires") != Some(0)
    }

    /// What has been called since the statistics began.
    pub fn calls(&self) -> impl Iterator<Item = Called<'_>> {
        self.0.iter().filter_map(|(name, value)| {
            let (command, value) = (name.strip_prefix("cmdstat_")?, text(value));
            let failed = part(value, "failed_calls").unwrap_or(0);
            Some(Called { command, calls: part(value, "calls")?, failed })
        })
    }

    /// How often one command was called; `None` when there are no statistics.
    pub fn calls_of(&self, command: &str) -> Option<u64> {
        self.calls().next()?;
        Some(self.calls().find(|calls| calls.command == command).map_or(0, |calls| calls.calls))
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::SimpleString(text) => text,
        _ => "",
    }
}

/// A number in `name=1,other=2`.
fn part(value: &str, name: &str) -> Option<u64> {
    let of = |part: &str| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    value.split(',').find_map(of)
}

/// The connections of a server, as `CLIENT LIST` tells them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients(String);

/// One of them: a line of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a>(pub &'a str);

impl Clients {
    /// Understands a text that a server has sent.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// By a server's answer; none when it refuses to tell.
    pub(crate) fn answered(reply: &Reply) -> Self {
        reply.text().map(|text| Self::new(String::from_utf8_lossy(text))).unwrap_or_default()
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Client<'_>> {
        self.0.lines().map(Client)
    }
}

impl<'a> Client<'a> {
    /// What stands in a field; empty where there is none.
    pub(crate) fn field(self, name: &str) -> &'a str {
        let of = |field: &'a str| field.strip_prefix(name)?.strip_prefix('=');
        self.0.split(' ').find_map(of).unwrap_or("")
    }
}

/// A library, as `FUNCTION LIST WITHCODE` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Its source text.
    pub code: Bytes,
}

impl FromRedisValue for Library {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut fields: HashMap<String, Value> = redis::from_redis_value(value)?;
        let mut take = |name| fields.remove(name).unwrap_or(Value::Nil);
        let name = redis::from_redis_value(take("library_name"))?;
        let code: Vec<u8> = redis::from_redis_value(take("library_code"))?;
        Ok(Self { name, code: code.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyspace_says_which_databases_hold_keys() {
        let info = "# Keyspace\r\ndb12:keys=40,expires=0\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n";
        let info = Info::new(info);
        assert_eq!(info.keyspace(), [(0, 3), (12, 40)]);
        assert!(info.some_key_ends(0) && !info.some_key_ends(12));
        assert!(Info::new("# Keyspace\r\n").some_key_ends(0));
    }

    #[test]
    fn calls_of_a_command_are_told_from_those_of_its_like() {
        let info = Info::new(
            "cmdstat_swapdb2:calls=9,usec=1\r\ncmdstat_swapdb:calls=12,usec=3,failed_calls=2\r\n",
        );
        let swaps = info.calls().find(|calls| calls.command == "swapdb");
        assert_eq!(swaps, Some(Called { command: "swapdb", calls: 12, failed: 2 }));
        assert_eq!((info.calls_of("swapdb"), info.calls_of("flushdb")), (Some(12), Some(0)));
        assert_eq!(Info::new("# Commandstats\r\n").calls_of("swapdb"), None);
    }

    #[test]
    fn a_library_is_its_name_and_its_code_to_the_byte() {
        let list = b"*1\r\n*4\r\n$12\r\nlibrary_name\r\n$1\r\nl\r\n$12\r\nlibrary_code\r\n$2\r\n\xff\n\r\n";
        let list = redis::parse_redis_value(list).unwrap();
        let libraries: Vec<Library> = redis::from_redis_value(list).unwrap();
        let code = Bytes::from_static(b"\xff\n");
        assert_eq!(libraries, [Library { name: "l".to_owned(), code }]);
    }

    #[test]
    fn clients_are_listed_by_field() {
        let clients = Clients::new("id=7 addr=a:1 name= cmd=set\nid=8 addr=b:1 name=app cmd=get\n");
        let names: Vec<_> = clients.iter().map(|client| client.field("name")).collect();
        assert_eq!(names, ["", "app"]);
    }
    #[test]
    fn what_is_not_utf_8_is_read_all_the_same() {
        let info = b"$36\r\nconfig_file:/\xff.conf\r\nused_memory:7\r\n\r\n";
        let info = redis::parse_redis_value(info).unwrap();
        let info: Info = redis::from_redis_value(info).unwrap();
        assert_eq!(info.number("used_memory"), 7);
        let names = redis::parse_redis_value(b"*2\r\n$1\r\na\r\n$1\r\n\xff\r\n").unwrap();
        let names: Vec<Text> = redis::from_redis_value(names).unwrap();
        assert_eq!(names.len(), 2);
    }
}
