//! Walking over both key spaces.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tracing::{info, warn};

use super::{Tally, Verify, Wrong};
use crate::engine::Cause;
use crate::server::{Broken, ConnectError, Connection, Endpoint, ScanError, Setup};
use crate::value::{CompareError, Comparer, Pages, Side, Verdict, Way};

/// Keys compared at once.
const BATCH: usize = 128;
/// How long a look waits for the copy of a key that is known to differ anyway.
const FOR_A_COPY: Duration = Duration::from_secs(2);
/// How long for that of one that was found to differ.
const FOR_A_REPAIR: Duration = Duration::from_secs(20);
/// Keys that seem different are looked at again when there are so many, or at the end.
const DOUBTFUL: usize = 1000;
/// Differences that are repaired and compared again; beyond it they are only repaired.
const REMEMBERED: usize = 100_000;
/// Differences that are named in the log; the rest is only counted.
const NAMED: u64 = 50;

/// What walkers have found.
type Wrongs = parking_lot::Mutex<Vec<Wrong>>;

/// Why a pass could not be finished.
#[derive(Debug, Error)]
pub(crate) enum VerifyError {
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A connection broke.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A key could not be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// Nobody says which databases there are.
    #[error("INFO is refused")]
    Info,
    /// Keys that seem different can't be told from keys whose effects are on their way.
    #[error(
        "the secondary is too far behind to compare what is written meanwhile: \
         verify again when it has caught up"
    )]
    Behind,
    /// A scan went wrong.
    #[error(transparent)]
    Scan(#[from] ScanError),
}

impl Verify {
    /// Compares everything; true when nothing is wrong, or nothing is any more.
    ///
    /// # Errors
    /// The pass could not be finished.
    pub(crate) async fn run(&self) -> Result<bool, VerifyError> {
        let wrong = Wrongs::default();
        let mut remain = 0;
        for db in self.used(&self.primary.0, |db| self.databases.to(db).is_some()).await? {
            Box::pin(self.go(Way::There, db, db, &wrong)).await?;
        }
        let back = self.databases.reversed();
        for db in self.used(&self.secondary.0, |db| back.to(db).is_some()).await? {
            let Some(home) = back.to(db) else { continue };
            Box::pin(self.go(Way::Back, db, home, &wrong)).await?;
        }
        let mut wrong = wrong.into_inner();
        // Several walkers found them.
        wrong.sort_by_key(|wrong| wrong.db);
        for wrong in wrong.chunks(256) {
            remain += self.check_repair(wrong).await?;
        }
        info!(wrong = wrong.len(), remain, "verify is finished");
        Ok(remain == 0)
    }

    /// Goes over the keys of `db` on one of the servers; `home` is its number on the primary.
    async fn go(&self, way: Way, db: u32, home: u32, wrong: &Wrongs) -> Result<(), VerifyError> {
        let endpoint = way.of(&self.primary.0, &self.secondary.0);
        let pages = Pages::new(open(endpoint, db).await?, db, BATCH, self.throttle.clone());
        let work = || self.work(way, home, &pages, wrong);
        // While one waits for a server, the others keep it busy.
        tokio::try_join!(work(), work(), work()).map(drop)
    }

    async fn work(
        &self,
        way: Way,
        home: u32,
        pages: &Pages,
        wrong: &Wrongs,
    ) -> Result<(), VerifyError> {
        let mut comparer = self.comparer(home).await?;
        let mut doubtful = Vec::new();
        while let Some(page) = pages.next().await? {
            let keys = way.candidates(&page, &mut comparer).await?;
            let verdicts = comparer.compare(&keys).await?;
            let differs = |verdict: &Verdict| matches!(verdict, Verdict::Different(_));
            let suspects = keys.iter().zip(&verdicts).filter(|(_, verdict)| differs(verdict));
            doubtful.extend(suspects.map(|(key, _)| key.clone()));
            Tally::add(&self.tally.checked, keys.len());
            if doubtful.len() >= DOUBTFUL {
                self.judge(home, std::mem::take(&mut doubtful), &mut comparer, wrong).await?;
            }
            drop(keys);
            pages.rest(page).await;
        }
        self.judge(home, doubtful, &mut comparer, wrong).await
    }

    /// Finds out which suspects are really different, and has them copied again.
    async fn judge(
        &self,
        db: u32,
        suspects: Vec<Bytes>,
        comparer: &mut Comparer,
        wrong: &Wrongs,
    ) -> Result<(), VerifyError> {
        let settled = self.settle(db, suspects, FOR_A_COPY, comparer).await?;
        for (key, difference) in settled.different {
            self.tally.found.lock().add(db, &key, difference);
            let is_extra = difference == crate::value::diff::Difference::Extra;
            let counter = match difference {
                crate::value::diff::Difference::Missing => &self.tally.missing,
                crate::value::diff::Difference::Extra => &self.tally.extra,
                _ => &self.tally.different,
            };
            let before = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if is_extra && self.keeps_extras {
                continue;
            }
            if before < NAMED {
                let name = key.escape_ascii().to_string();
                warn!(db, key = %name, ?difference, "the servers differ; the key is copied again");
            }
            self.engine.with(|engine| {
                let named = engine.key_ref(db, key.clone());
                engine.mark_dirty(&named, Cause::Verify);
            });
            let mut wrong = wrong.lock();
            if wrong.len() < REMEMBERED {
                wrong.push(Wrong { db, key });
            }
        }
        Ok(())
    }

    /// How many of these are still wrong after they were copied again.
    async fn check_repair(&self, wrong: &[Wrong]) -> Result<usize, VerifyError> {
        let mut remain = 0;
        let mut dbs: Vec<u32> = wrong.iter().map(|wrong| wrong.db).collect();
        dbs.dedup();
        for db in dbs {
            let keys = wrong.iter().filter(|wrong| wrong.db == db).map(|wrong| wrong.key.clone());
            let keys: Vec<Bytes> = keys.collect();
            let count = keys.len();
            let mut comparer = self.comparer(db).await?;
            let settled = self.settle(db, keys, FOR_A_REPAIR, &mut comparer).await?;
            let still = settled.different.len() + settled.dirty;
            Tally::add(&self.tally.repaired, count - still);
            remain += still;
        }
        Ok(remain)
    }

    async fn comparer(&self, db: u32) -> Result<Comparer, VerifyError> {
        let other = self.databases.to(db).unwrap_or(db);
        let first = Side { connection: open(&self.primary.0, db).await?, server: self.primary.1 };
        let second =
            Side { connection: open(&self.secondary.0, other).await?, server: self.secondary.1 };
        Ok(Comparer::new(first, second, self.leeway))
    }

    /// Databases that hold keys.
    async fn used(
        &self,
        endpoint: &Endpoint,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Vec<u32>, VerifyError> {
        let mut connection = open(endpoint, 0).await?;
        let info = connection.info("keyspace").await?.map_err(|_| VerifyError::Info)?;
        Ok(info.keyspace().into_iter().map(|(db, _)| db).filter(|db| wanted(*db)).collect())
    }
}

async fn open(endpoint: &Endpoint, db: u32) -> Result<Connection, ConnectError> {
    let setup = Setup { no_touch: true, ..Setup::own(endpoint, db, "crossfade-verify") };
    Connection::open(endpoint, &setup).await
}
