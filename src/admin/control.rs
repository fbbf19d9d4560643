//! What the admin API asks of a running migration.
//!
//! *Guarantees:* a refusal has changed nothing. *Must not know:* HTTP.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;

use crate::admin::audit::Audit;
use crate::admin::report;
use crate::check::Report;
use crate::metrics::history::Point;
use crate::status::{Phase, Status};

/// A running migration, as its operator sees it.
pub(crate) trait Control: Send + Sync + 'static {
    /// Everything, now.
    fn status(&self) -> Status;

    /// Everything, again once a second and at each change.
    fn news(&self) -> watch::Receiver<Arc<Status>>;

    /// The last hour in points, from a time in Unix seconds on.
    fn history(&self, after: f64) -> Vec<Point>;

    /// Looks at both servers for what would make a migration impossible.
    fn check(&self) -> impl Future<Output = Result<Report, Refusal>> + Send;

    /// What has happened in the whole of this migration.
    fn report(&self) -> report::Report;

    fn audit(&self) -> &Audit;

    /// Everything that is counted, now, in Prometheus' text format.
    fn metrics(&self) -> String;

    /// Whether clients can be served; the error says why not.
    fn ready(&self) -> Result<(), String>;

    /// Starts a full comparison in the background. Once it is accepted, [`Self::status`] says that
    /// it runs.
    ///
    /// # Errors
    /// Not in this phase, or one runs already.
    fn verify(&self) -> Result<(), Refusal>;

    /// Hands the clients over to the target, holding them for `timeout` at most. `force` passes over
    /// the blockers that are about certainty, not over those that make it impossible.
    fn cutover(
        &self,
        timeout: Duration,
        force: bool,
    ) -> impl Future<Output = Result<Flipped, Refusal>> + Send;

    /// Hands the clients back to the source, holding them for `timeout` at most. `force`: also when
    /// the target has lost its keys, and what it has got since.
    fn rollback(
        &self,
        timeout: Duration,
        force: bool,
    ) -> impl Future<Output = Result<Flipped, Refusal>> + Send;

    /// Copies everything again. `accept_empty`: also from a primary that has come back (nearly)
    /// empty, while the secondary may hold the only copy.
    fn resync(&self, accept_empty: bool) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Lets the source go.
    fn finalize(&self) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// From now on so many of a hundred reads are asked of the secondary too.
    fn shadow(&self, percent: f64) -> Result<(), Refusal>;

    /// Pauses, resumes, or changes the rate of the backfill; what is `None` stays as it is.
    fn backfill(&self, paused: Option<bool>, rate: Option<Rate>) -> Result<(), Refusal>;
}

/// How fast keys may be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<u64>")]
pub(crate) enum Rate {
    Unlimited,
    /// So many a second.
    Limited(NonZeroU64),
}

impl From<Option<u64>> for Rate {
    /// A limit of nothing a second would be a pause by another name; it is taken for no limit.
    fn from(rate: Option<u64>) -> Self {
        rate.and_then(NonZeroU64::new).map_or(Self::Unlimited, Self::Limited)
    }
}

impl Rate {
    pub(crate) fn limit(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Limited(rate) => Some(rate.get()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("no limit of keys a second"),
            Self::Limited(rate) => write!(f, "at most {rate} keys a second"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flipped {
    /// Where it led.
    pub phase: Phase,
    /// How long clients were held.
    pub hold: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not now, for these reasons.
    Conflict {
        /// In one line.
        error: String,
        /// Each reason of its own.
        blockers: Vec<String>,
    },
    /// It was tried and did not get done in time; everything is as it was before.
    TimedOut {
        /// In one line.
        error: String,
    },
}

impl Refusal {
    /// Not now, for one reason.
    pub(crate) fn because(reason: impl fmt::Display) -> Self {
        let error = reason.to_string();
        Self::Conflict { blockers: vec![error.clone()], error }
    }
}
