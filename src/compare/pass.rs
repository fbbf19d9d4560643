//! One pair of databases: every key of the source compared, then every key of the target looked for.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::report::Report;
use super::{Error, Fault, Options, side};
use crate::server::throttle::Throttle;
use crate::value::diff::{Difference, Leeway};
use crate::value::{Comparer, Pages, Verdict, Way};

/// Keys asked for at once. Enough for one page to keep both servers busy for a millisecond.
const PAGE: usize = 256;
/// Comparers at work at once: while one waits for a server, others keep it busy.
const WORKERS: usize = 3;
/// From this many differences on (for each worker) they are no matter of a moment, and are not
/// looked at a second time.
const MANY: u64 = 1000;

/// What a pass needs to know.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) options: Arc<Options>,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) leeway: Leeway,
    pub(super) throttle: Arc<Throttle>,
}

impl Pass {
    pub(super) async fn run(self) -> Result<Report, Error> {
        let mut report = Report::new(self.options.show);
        for way in [Way::There, Way::Back] {
            report.add(self.go(way).await?);
        }
        Ok(report)
    }

    async fn go(&self, way: Way) -> Result<Report, Error> {
        let pages = Arc::new(self.pages(way).await.map_err(|fault| of(way, fault))?);
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let (pass, pages) = (self.clone(), pages.clone());
            workers.spawn(async move { pass.work(way, &pages).await });
        }
        let mut report = Report::new(self.options.show);
        while let Some(done) = workers.join_next().await {
            match done {
                Ok(part) => report.add(part?),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        Ok(report)
    }

    async fn pages(&self, way: Way) -> Result<Pages, Fault> {
        let endpoint = way.of(&self.options.source, &self.options.target);
        let db = way.of(self.from, self.to);
        let mut connection = side(endpoint, db).await?.connection;
        let size = connection.command(["DBSIZE"]).await?.integer().unwrap_or(0);
        self.options.progress.send_modify(|progress| progress.total += size.unsigned_abs());
        Ok(Pages::new(connection, db, PAGE, self.throttle.clone()))
    }

    async fn work(&self, way: Way, pages: &Pages) -> Result<Report, Error> {
        let source = side(&self.options.source, self.from).await.map_err(Error::Source)?;
        let target = side(&self.options.target, self.to).await.map_err(Error::Target)?;
        let mut comparer = Comparer::new(source, target, self.leeway);
        let mut report = Report::new(self.options.show);
        while let Some(page) = pages.next().await.map_err(|error| of(way, error.into()))? {
            let count = page.keys.len() as u64;
            self.options.progress.send_modify(|progress| progress.done += count);
            let keys = way.candidates(&page, &mut comparer).await?;
            let verdicts = judge(&keys, &mut comparer, &report).await?;
            for (key, verdict) in keys.iter().zip(verdicts) {
                self.note(way, key, verdict, &mut report);
            }
            drop(keys);
            pages.rest(page).await;
        }
        Ok(report)
    }

    fn note(&self, way: Way, key: &Bytes, verdict: Verdict, report: &mut Report) {
        match (way, verdict) {
            (Way::There, Verdict::Equal) => report.count_equal(),
            // What only the target has is the way back's to find, also what the source has just lost.
            (_, Verdict::Different(difference))
                if (difference == Difference::Extra) == (way == Way::Back) =>
            {
                report.note(self.from, key, difference);
            }
            _ => {}
        }
    }
}

/// A fault of the server whose keys are gone over.
fn of(way: Way, fault: Fault) -> Error {
    match way {
        Way::There => Error::Source(fault),
        Way::Back => Error::Target(fault),
    }
}

async fn judge(
    keys: &[Bytes],
    comparer: &mut Comparer,
    report: &Report,
) -> Result<Vec<Verdict>, Error> {
    Ok(if report.different() < MANY {
        comparer.settle(keys).await?
    } else {
        comparer.compare(keys).await?
    })
}
