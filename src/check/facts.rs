//! What the two servers say of themselves, as plain data.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::backend::{Connection, ServerInfo};
use crate::capability::Capabilities;
use crate::own_keys::MARKER;
use crate::resp::Reply;
use crate::value::ReadError;

/// One server.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Kind and version.
    pub capabilities: Capabilities,
    /// The version as it prints it.
    pub version: String,
    /// Changes with each start.
    pub run_id: String,
    /// `master` or `slave`.
    pub role: String,
    /// `INFO`, by field.
    pub info: BTreeMap<String, String>,
    /// The commands that it has served since its start.
    pub used: Vec<String>,
    /// The names of loaded modules.
    pub modules: Vec<String>,
    /// Function libraries.
    pub libraries: Vec<Library>,
    /// The names of its users; empty where they may not be asked for.
    pub users: Vec<String>,
    /// Who we are there.
    pub user: String,
    /// Whether a cut-over left its marker.
    pub marked: bool,
}

/// A function library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Its source text.
    pub code: Bytes,
}

impl Facts {
    /// A number of `INFO`; 0 where it says none.
    pub fn number(&self, field: &str) -> u64 {
        self.info.get(field).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// A text of `INFO`.
    pub fn text(&self, field: &str) -> &str {
        self.info.get(field).map_or("", String::as_str)
    }

    /// The databases that hold keys, and how many.
    pub fn keyspace(&self) -> BTreeMap<u32, u64> {
        let keys = |value: &str| value.strip_prefix("keys=")?.split(',').next()?.parse().ok();
        self.info
            .iter()
            .filter_map(|(name, value)| {
                Some((name.strip_prefix("db")?.parse().ok()?, keys(value)?))
            })
            .collect()
    }

    /// Each database that holds keys, to keep its number.
    pub(super) fn own_databases(&self) -> Vec<(u32, u32)> {
        self.keyspace().into_keys().map(|db| (db, db)).collect()
    }
}

/// Asks a server for everything but its permissions.
pub(super) async fn gather(connection: &mut Connection) -> Result<Facts, ReadError> {
    let who = ServerInfo::ask(connection).await?;
    Ok(Facts {
        capabilities: who.capabilities,
        version: who.version,
        run_id: who.run_id,
        role: who.role,
        info: fields(&connection.command(["INFO"]).await?),
        used: used(&connection.command(["INFO", "commandstats"]).await?),
        modules: modules(&connection.command(["MODULE", "LIST"]).await?),
        libraries: libraries(&connection.command(["FUNCTION", "LIST", "WITHCODE"]).await?),
        users: texts(&connection.command(["ACL", "USERS"]).await?),
        user: string(&connection.command(["ACL", "WHOAMI"]).await?),
        marked: connection.command([b"EXISTS".as_ref(), MARKER]).await?.integer() == Some(1),
    })
}

/// Whether the server has so many databases. The connection is in database 0 afterwards.
pub(super) async fn selects(highest: u32, connection: &mut Connection) -> Result<bool, ReadError> {
    let selected = connection.command(["SELECT", &highest.to_string()]).await?.is_ok();
    connection.command(["SELECT", "0"]).await?;
    Ok(selected)
}

fn string(reply: &Reply) -> String {
    reply.text().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

fn texts(reply: &Reply) -> Vec<String> {
    reply.items().unwrap_or_default().iter().map(string).collect()
}

fn fields(info: &Reply) -> BTreeMap<String, String> {
    let text = string(info);
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// `cmdstat_NAME:calls=…` a line.
fn used(stats: &Reply) -> Vec<String> {
    let stats = fields(stats);
    stats.keys().filter_map(|name| Some(name.strip_prefix("cmdstat_")?.to_owned())).collect()
}

/// The value behind a name in a flat list of names and values.
fn named<'a>(list: &'a Reply, name: &str) -> Option<&'a Reply> {
    let items = list.items()?;
    let index = items.iter().position(|item| item.text().is_some_and(|text| text == name))?;
    items.get(index + 1)
}

fn modules(reply: &Reply) -> Vec<String> {
    let modules = reply.items().unwrap_or_default().iter();
    modules.filter_map(|module| Some(string(named(module, "name")?))).collect()
}

fn libraries(reply: &Reply) -> Vec<Library> {
    let library = |library: &Reply| {
        Some(Library {
            name: string(named(library, "library_name")?),
            code: named(library, "library_code")?.text()?.clone(),
        })
    };
    reply.items().unwrap_or_default().iter().filter_map(library).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_by_field() {
        let info = "# Memory\r\nused_memory:10\r\n# Keyspace\r\ndb3:keys=7,expires=0\r\n";
        let facts = Facts {
            info: fields(&Reply::Bulk(Bytes::from_static(info.as_bytes()))),
            ..Facts::default()
        };
        assert_eq!(facts.number("used_memory"), 10);
        assert_eq!(facts.own_databases(), [(3, 3)]);
        assert_eq!(facts.keyspace().get(&3), Some(&7));
    }
}
