//! `crossfade compare`: two servers held against each other, key by key, both ways.
//!
//! *Guarantees:* nothing is changed on either server, not even the eviction clocks of its keys
//! where it can leave them alone; memory does not grow with the number of keys or of differences;
//! every difference that is counted was seen again after a pause, except when there are very many.
//!
//! *Must not know:* arguments, terminals beyond a progress bar, exit codes.

mod databases;
mod pass;
mod report;
mod scan;

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;

use crate::backend::{Broken, ConnectError, Connection, Endpoint, ServerInfo, Setup, clock_offset};
use crate::diff::Leeway;
use crate::value::{CompareError, ReadError, Side};

pub use databases::{Databases, databases_in_use};
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
    /// How far expiries may be apart, in milliseconds.
    pub expiry_tolerance_ms: u32,
    /// How many differences to name; the rest is counted.
    pub show: usize,
    /// Whether to draw a progress bar on stderr.
    pub progress: bool,
}

/// Why there is no result.
#[derive(Debug, Error)]
pub enum Error {
    /// The source can't be reached, refuses, or went away.
    #[error("source: {0}")]
    Source(#[source] Fault),
    /// The same of the target.
    #[error("target: {0}")]
    Target(#[source] Fault),
}

/// What is wrong with one server.
#[derive(Debug, Error)]
pub enum Fault {
    /// It can't be reached, or refuses the credentials.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refuses a question, or went away.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self::Read(broken.into())
    }
}

impl From<CompareError> for Error {
    fn from(error: CompareError) -> Self {
        match error {
            CompareError::First(error) => Self::Source(error.into()),
            CompareError::Second(error) => Self::Target(error.into()),
        }
    }
}

/// Compares, and tells what differs.
///
/// # Errors
/// One of the servers can't be asked.
pub async fn run(options: Options) -> Result<Report, Error> {
    let mut source = side(&options.source, 0).await.map_err(Error::Source)?;
    let mut target = side(&options.target, 0).await.map_err(Error::Target)?;
    let offset = clock_offset(&mut source.connection, &mut target.connection).await;
    let leeway = Leeway {
        clock_offset: offset.map_err(|error| Error::Source(error.into()))?,
        tolerance: i64::from(options.expiry_tolerance_ms),
    };
    let pairs = options.databases.pairs(&mut source, &mut target).await?;
    let bar = progress_bar(options.progress);
    let mut report = Report::new(options.show);
    let options = Arc::new(options);
    for (from, to) in pairs {
        let pass = pass::Pass { options: options.clone(), from, to, leeway, bar: bar.clone() };
        report.add(pass.run().await?);
    }
    bar.finish_and_clear();
    Ok(report)
}

async fn side(endpoint: &Endpoint, db: u32) -> Result<Side, Fault> {
    let setup = Setup { no_touch: true, ..Setup::own(endpoint, db, NAME) };
    let mut connection = Connection::open(endpoint, &setup).await?;
    let server = ServerInfo::ask(&mut connection).await?.capabilities;
    Ok(Side { connection, server })
}

fn progress_bar(wanted: bool) -> ProgressBar {
    if !wanted {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {per_sec} {eta}");
    let bar = ProgressBar::new(0).with_message("comparing");
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}
