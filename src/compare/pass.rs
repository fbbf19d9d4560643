//! One pair of databases: every key of the source compared, then every key of the target looked for.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::report::Report;
use super::scan::Scan;
use super::{Error, Fault, Options, side};
use crate::backend::Endpoint;
use crate::courtesy::Courtesy;
use crate::diff::{Difference, Leeway};
use crate::value::{Comparer, Verdict};

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
    pub(super) courtesy: Arc<Courtesy>,
}

/// Which server's keys are gone over.
#[derive(Clone, Copy, Debug)]
enum Way {
    There,
    Back,
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
        let scan = match way {
            Way::There => self.scan(&self.options.source, self.from).await.map_err(Error::Source),
            Way::Back => self.scan(&self.options.target, self.to).await.map_err(Error::Target),
        };
        let scan = Arc::new(Mutex::new(scan?));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let (pass, scan) = (self.clone(), scan.clone());
            workers.spawn(async move { pass.work(way, &scan).await });
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

    async fn scan(&self, endpoint: &Endpoint, db: u32) -> Result<Scan, Fault> {
        let mut connection = side(endpoint, db).await?.connection;
        let size = connection.command(["DBSIZE"]).await?.integer().unwrap_or(0);
        self.options.progress.send_modify(|progress| progress.total += size.unsigned_abs());
        Ok(Scan::new(connection, db))
    }

    async fn work(&self, way: Way, scan: &Mutex<Scan>) -> Result<Report, Error> {
        let source = side(&self.options.source, self.from).await.map_err(Error::Source)?;
        let target = side(&self.options.target, self.to).await.map_err(Error::Target)?;
        let mut comparer = Comparer::new(source, target, self.leeway);
        let mut report = Report::new(self.options.show);
        loop {
            let page = scan.lock().await.next(self.courtesy.step(PAGE)).await;
            let began = Instant::now();
            let page = match (page, way) {
                (Ok(Some(page)), _) => page,
                (Ok(None), _) => return Ok(report),
                (Err(fault), Way::There) => return Err(Error::Source(fault)),
                (Err(fault), Way::Back) => return Err(Error::Target(fault)),
            };
            self.options.progress.send_modify(|progress| progress.done += page.len() as u64);
            match way {
                Way::There => self.compare(&page, &mut comparer, &mut report).await?,
                Way::Back => self.look_for(&page, &mut comparer, &mut report).await?,
            }
            self.courtesy.rest(page.len(), began.elapsed()).await;
        }
    }

    async fn compare(
        &self,
        page: &[Bytes],
        comparer: &mut Comparer,
        report: &mut Report,
    ) -> Result<(), Error> {
        let verdicts = judge(page, comparer, report).await?;
        for (key, verdict) in page.iter().zip(verdicts) {
            match verdict {
                // What the source has lost since is the way back's to find.
                Verdict::Absent | Verdict::Different(Difference::Extra) => {}
                Verdict::Equal => report.count_equal(),
                Verdict::Different(difference) => report.note(self.from, key, difference),
            }
        }
        Ok(())
    }

    async fn look_for(
        &self,
        page: &[Bytes],
        comparer: &mut Comparer,
        report: &mut Report,
    ) -> Result<(), Error> {
        let lacking = comparer.lacking_first(page).await?;
        let verdicts = judge(&lacking, comparer, report).await?;
        for (key, verdict) in lacking.iter().zip(verdicts) {
            if verdict == Verdict::Different(Difference::Extra) {
                report.note(self.from, key, Difference::Extra);
            }
        }
        Ok(())
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
