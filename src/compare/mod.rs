//! `crossfade compare`: two servers held against each other, key by key, both ways.
//!
//! *Guarantees:* nothing is changed on either server, not even the eviction clocks of its keys
//! where it can leave them alone; the source's clients are given way to; memory does not grow with
//! the number of keys or of differences; every difference that is counted was seen again after a
//! pause, except when there are very many.
//!
//! *Must not know:* arguments, terminals, exit codes.

mod pass;
mod report;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::failure::ServerError as Error;
use crate::protocol::databases::Databases;
use crate::server::throttle::Throttle;
use crate::server::throttle::foreign_load::give_way;
use crate::server::{ClockGap, Connection, Endpoint, ServerInfo, Setup};
use crate::status::Progress;
use crate::value::diff::Leeway;
use crate::value::{Fault, ReadError, Side};

pub use report::{Report, Shown};

/// The name of our connections in `CLIENT LIST`.
const NAME: &str = "crossfade-compare";

/// What to compare and how to tell it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server whose keys must be on the other; its clients must not wait.
    pub source: Endpoint,
    /// The server that must have no others.
    pub target: Endpoint,
    /// Which databases.
    pub databases: Databases,
    /// How far expiries may be apart.
    pub expiry_tolerance: Duration,
    /// How many differences to name; the rest is counted.
    pub show: usize,
    /// Where to tell how far the comparison is.
    pub progress: watch::Sender<Progress>,
}

/// Compares, and tells what differs.
pub async fn run(options: Options) -> Result<Report, Error> {
    let mut source = side(&options.source, 0).await.map_err(Error::Source)?;
    let mut target = side(&options.target, 0).await.map_err(Error::Target)?;
    let gap = ClockGap::measure(&mut source.connection, &mut target.connection).await;
    let leeway = Leeway {
        clock_offset: gap.map_err(Error::from)?.offset,
        tolerance: options.expiry_tolerance.as_millis() as i64,
    };
    let pairs = pairs(&options.databases, &mut source, &mut target).await?;
    let mut report = Report::new(options.show);
    let options = Arc::new(options);
    let throttle = Arc::new(Throttle::default());
    let passes = async {
        for (from, to) in pairs {
            let (options, throttle) = (options.clone(), throttle.clone());
            let pass = pass::Pass { options, from, to, leeway, throttle };
            report.add(pass.run().await?);
        }
        Ok(report)
    };
    tokio::select! {
        report = passes => report,
        never = give_way(&options.source, &throttle) => match never {},
    }
}

/// The databases to compare: the source's number, the target's.
async fn pairs(
    databases: &Databases,
    source: &mut Side,
    target: &mut Side,
) -> Result<Vec<(u32, u32)>, Error> {
    if let Databases::Only(pairs) = databases {
        return Ok(pairs.clone());
    }
    let mut used = held(source).await.map_err(Error::Source)?;
    used.extend(held(target).await.map_err(Error::Target)?);
    let numbers: BTreeSet<u32> = used.into_iter().map(|(db, _)| db).collect();
    Ok(numbers.into_iter().map(|db| (db, db)).collect())
}

async fn held(side: &mut Side) -> Result<Vec<(u32, u64)>, Fault> {
    let info = side.connection.info("keyspace").await?;
    let info = info.map_err(|_| Fault::Read(ReadError::Unexpected("INFO")))?;
    Ok(info.keyspace())
}

async fn side(endpoint: &Endpoint, db: u32) -> Result<Side, Fault> {
    let setup = Setup { no_touch: true, ..Setup::own(endpoint, db, NAME) };
    let mut connection = Connection::open(endpoint, &setup).await?;
    let server = ServerInfo::ask(&mut connection).await?.capabilities;
    Ok(Side { connection, server })
}
