//! What must be known of both servers before a direction can start.

use crate::config::RunConfig;
use crate::failure::Failure;
use crate::protocol::payload::Acceptance;
use crate::server::{
    Broken, ClockGap, ConnectError, Connection, Endpoint, OneBroke, ServerInfo, Setup,
};
use crate::status::Side;
use crate::value::probe;

/// Both servers, seen from one direction.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    pub(crate) primary: ServerInfo,
    pub(crate) secondary: ServerInfo,
    /// Whether the secondary was not there to be asked, and this is what was known of it.
    pub(crate) alone: bool,
    pub(crate) by_frequency: bool,
    pub(crate) clock_offset: i64,
}

impl Survey {
    /// Asks both.
    pub(crate) async fn make(
        primary: &Endpoint,
        secondary: &Endpoint,
    ) -> Result<Self, ConnectError> {
        let (mut first, mut second) = (connect(primary).await?, connect(secondary).await?);
        let survey = Self::ask(&mut first, &mut second).await;
        survey.map_err(|error| match error {
            OneBroke::First(broken) => primary.lost(&broken),
            OneBroke::Second(broken) => secondary.lost(&broken),
        })
    }

    /// Asks the one that serves; of the other one stands what is known of it, and of their clocks.
    pub(crate) async fn beside(
        primary: &mut Connection,
        secondary: ServerInfo,
        clock_offset: i64,
    ) -> Result<Self, Broken> {
        let (info, by_frequency) = (ServerInfo::ask(primary).await?, by_frequency(primary).await?);
        Ok(Self { primary: info, secondary, alone: true, by_frequency, clock_offset })
    }

    pub(crate) async fn ask(
        first: &mut Connection,
        second: &mut Connection,
    ) -> Result<Self, OneBroke> {
        let secondary = ServerInfo::ask(second).await.map_err(OneBroke::Second)?;
        let clock_offset = ClockGap::measure(first, second).await?.offset;
        let survey = Self::beside(first, secondary, clock_offset).await;
        Ok(Self { alone: false, ..survey.map_err(OneBroke::First)? })
    }
}

/// Whether the server evicts by how often keys are used.
async fn by_frequency(connection: &mut Connection) -> Result<bool, Broken> {
    let memory = connection.info("memory").await?.unwrap_or_default();
    Ok(memory.text("maxmemory_policy").ends_with("-lfu"))
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

/// A server that went away while it was asked.
pub(crate) fn lost(config: &RunConfig, side: Side, error: &Broken) -> Failure {
    Failure::connect(side, &config.servers.endpoint(side).lost(error))
}

/// The same of one of two, of which `primary` was asked first.
pub(crate) fn lost_one(config: &RunConfig, primary: Side, error: &OneBroke) -> Failure {
    match error {
        OneBroke::First(error) => lost(config, primary, error),
        OneBroke::Second(error) => lost(config, primary.other(), error),
    }
}
