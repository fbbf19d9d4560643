//! What the two servers say of themselves, as plain data.

use std::collections::HashMap;

use redis::{Cmd, FromRedisValue, Value, cmd};

use crate::protocol::capability::Capabilities;
use crate::protocol::reserved_keys::MARKER;
use crate::server::{Answer, Connection, Info, Library, ServerInfo, Text};
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
    pub info: Info,
    /// What it has counted of the commands that it has served since its start.
    pub calls: Info,
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

impl Facts {
    /// The commands that were called.
    pub(super) fn used(&self) -> impl Iterator<Item = &str> {
        self.calls.calls().map(|calls| calls.command)
    }

    /// Each database that holds keys, to keep its number.
    pub(super) fn own_databases(&self) -> Vec<(u32, u32)> {
        self.info.keyspace().into_iter().map(|(db, _)| (db, db)).collect()
    }
}

/// Asks a server for everything but its permissions. What it does not tell stays empty.
pub(super) async fn gather(connection: &mut Connection) -> Result<Facts, ReadError> {
    let info = connection.info("").await?.unwrap_or_default();
    let who = ServerInfo::of(&info);
    let calls = connection.info("commandstats").await?.unwrap_or_default();
    let users: Vec<Text> = tell(connection, cmd("ACL").arg("USERS")).await?;
    Ok(Facts {
        capabilities: who.capabilities,
        version: who.version,
        run_id: who.run_id,
        role: who.role,
        info,
        calls,
        modules: modules(tell(connection, cmd("MODULE").arg("LIST")).await?),
        libraries: tell(connection, cmd("FUNCTION").arg("LIST").arg("WITHCODE")).await?,
        users: users.into_iter().map(|user| user.0).collect(),
        user: tell::<Text>(connection, cmd("ACL").arg("WHOAMI")).await?.0,
        marked: tell(connection, cmd("EXISTS").arg(MARKER)).await?,
    })
}

async fn tell<T: FromRedisValue + Default>(
    connection: &mut Connection,
    question: &Cmd,
) -> Result<T, ReadError> {
    Ok(connection.query(question).await?.unwrap_or_default())
}

/// Whether the server has so many databases. The connection is in database 0 afterwards.
pub(super) async fn selects(highest: u32, connection: &mut Connection) -> Result<bool, ReadError> {
    let selected: Answer<()> = connection.query(cmd("SELECT").arg(highest)).await?;
    let _back: Answer<()> = connection.query(cmd("SELECT").arg(0)).await?;
    Ok(selected.is_ok())
}

fn modules(list: Vec<HashMap<String, Value>>) -> Vec<String> {
    let name = |mut module: HashMap<String, Value>| {
        module.remove("name").and_then(|name| redis::from_redis_value(name).ok())
    };
    list.into_iter().filter_map(name).collect()
}
