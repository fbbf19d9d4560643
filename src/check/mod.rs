//! `crossfade check`: whether a migration from here to there can work, before anything is begun.
//!
//! What can be known is gathered from both servers (`facts`, `permissions`); what it means is
//! decided from plain data (`judge`).
//!
//! *Guarantees:* nothing is changed on either server, but for one scratch key on the target that
//! is removed again; every finding says what to do about it.
//!
//! *Must not know:* arguments, exit codes, what a running migration does.

pub(crate) mod asking;
mod facts;
mod finding;
mod judge;
pub(crate) mod observe;
mod permissions;
pub(crate) mod rehearsal;
mod sentinels;

use crate::config::TargetPolicy;
use crate::failure::ServerError as Error;
use crate::protocol::databases::Databases;
use crate::server::{ClockGap, Connection, Endpoint, Setup};
use crate::value::{Fault, ReadError, probe};

pub use facts::Facts;
pub use finding::{Finding, Level, Report};

/// The name of our connections in `CLIENT LIST`.
const NAME: &str = "crossfade-check";

/// What to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the data is.
    pub source: Endpoint,
    /// Where it is to go.
    pub target: Endpoint,
    /// Which databases.
    pub databases: Databases,
    /// What is to become of keys that the target holds.
    pub target_policy: TargetPolicy,
}

/// Looks at both servers and says what stands in the way.
pub async fn run(options: Options) -> Result<Report, Error> {
    let mut source = connect(&options.source).await.map_err(Error::Source)?;
    let mut target = connect(&options.target).await.map_err(Error::Target)?;
    let at_source = |error: ReadError| Error::Source(error.into());
    let at_target = |error: ReadError| Error::Target(error.into());

    let here = facts::gather(&mut source).await.map_err(at_source)?;
    let there = facts::gather(&mut target).await.map_err(at_target)?;
    let pairs = match &options.databases {
        Databases::All => here.own_databases(),
        Databases::Only(pairs) => pairs.clone(),
    };
    let highest = pairs.iter().map(|(_, to)| *to).max().unwrap_or(0);
    let selects = facts::selects(highest, &mut target).await.map_err(at_target)?;
    let reads = permissions::of_source(&here.capabilities, &mut source).await.map_err(at_source)?;
    let writes =
        permissions::of_target(&there.capabilities, &mut target).await.map_err(at_target)?;
    let taken = probe(&there.capabilities, &mut target).await.map_err(at_target)?;
    let gap = ClockGap::measure(&mut source, &mut target).await;
    let gap = gap.map_err(Error::from)?;

    let watched =
        (sentinels::gather(&options.source).await, sentinels::gather(&options.target).await);

    let findings = [
        sentinels::judge("source", &watched.0),
        sentinels::judge("target", &watched.1),
        judge::servers(&here, &there, &pairs),
        judge::clocks(gap.offset),
        judge::keys(&here, &there, &options.databases, options.target_policy),
        judge::databases(selects),
        judge::memory(&here, &there),
        judge::code(&here, &there),
        judge::payloads(&here, &there, taken),
        judge::commands(&here, &there),
        judge::scripts(&here, &options.databases),
        judge::permissions("source", &here, &reads),
        judge::permissions("target", &there, &writes),
    ];
    Ok(Report::new(findings.concat()))
}

async fn connect(endpoint: &Endpoint) -> Result<Connection, Fault> {
    let setup = Setup { no_touch: true, ..Setup::own(endpoint, 0, NAME) };
    Ok(Connection::open(endpoint, &setup).await?)
}
