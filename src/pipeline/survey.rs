//! What must be known of both servers before a direction can start.

use crate::config::RunConfig;
use crate::failure::Failure;
use crate::protocol::payload::Acceptance;
use crate::server::{Broken, ClockGap, ConnectError, Connection, Endpoint, ServerInfo, Setup};
use crate::status::Side;
use crate::value::probe;

/// Both servers, seen from one direction.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    pub(crate) primary: ServerInfo,
    pub(crate) secondary: ServerInfo,
    pub(crate) by_frequency: bool,
    pub(crate) clock_offset: i64,
}

impl Survey {
    /// Asks both.
    pub(crate) async fn make(primary: &Endpoint, secondary: &Endpoint) -> Result<Self, String> {
        let mut first = connect(primary).await.map_err(|error| error.to_string())?;
        let mut second = connect(secondary).await.map_err(|error| error.to_string())?;
        Self::ask(&mut first, &mut second).await.map_err(|error| error.to_string())
    }

    /// Asks a server that has no other beside it any more.
    pub(crate) async fn of_one(primary: &mut Connection) -> Result<Self, Broken> {
        let primary = ServerInfo::ask(primary).await?;
        let secondary = ServerInfo::default();
        Ok(Self { primary, secondary, by_frequency: false, clock_offset: 0 })
    }

    pub(crate) async fn ask(
        first: &mut Connection,
        second: &mut Connection,
    ) -> Result<Self, Broken> {
        let primary = ServerInfo::ask(first).await?;
        let secondary = ServerInfo::ask(second).await?;
        let memory = first.info("memory").await?.unwrap_or_default();
        let by_frequency = memory.text("maxmemory_policy").ends_with("-lfu");
        let clock_offset = ClockGap::measure(first, second).await?.offset;
        Ok(Self { primary, secondary, by_frequency, clock_offset })
    }
}

/// Asks a server which payloads it takes. Where the question is not let in, the table of versions
/// stands.
pub(crate) async fn acceptance(server: &ServerInfo, connection: &mut Connection) -> Acceptance {
    let capabilities = &server.capabilities;
    probe(capabilities, connection).await.unwrap_or_else(|_| Acceptance::expected(capabilities))
}

pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Connection, ConnectError> {
    let db = endpoint.db.unwrap_or(0);
    Connection::open(endpoint, &Setup::own(endpoint, db, "crossfade-control")).await
}

/// A connection to one of the servers.
pub(crate) async fn open(config: &RunConfig, side: Side) -> Result<Connection, Failure> {
    let endpoint = config.servers.endpoint(side);
    connect(endpoint).await.map_err(|error| Failure::connect(side.name(), &error))
}
