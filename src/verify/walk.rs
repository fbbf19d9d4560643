//! Walking over both key spaces.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{Tally, Verify, Wrong};
use crate::backend::{Broken, ConnectError, Connection, Endpoint, Setup, keyspace};
use crate::engine::Cause;
use crate::own_keys::is_ours;
use crate::resp::{Reply, Request};
use crate::value::{CompareError, Comparer, Side, Verdict};

/// Keys compared at once.
const BATCH: &str = "500";
/// Keys that seem different are looked at again when there are so many, or at the end.
const DOUBTFUL: usize = 1000;
/// Differences that are repaired and compared again; beyond it they are only repaired.
const REMEMBERED: usize = 100_000;
/// Differences that are named in the log; the rest is only counted.
const NAMED: u64 = 50;

/// Why a pass could not be finished.
#[derive(Debug, Error)]
pub enum VerifyError {
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
    /// A scan went wrong.
    #[error("SCAN is refused: {0}")]
    Scan(String),
}

impl Verify {
    /// Compares everything; true when nothing is wrong, or nothing is any more.
    ///
    /// # Errors
    /// The pass could not be finished.
    pub async fn run(&self) -> Result<bool, VerifyError> {
        let mut wrong = Vec::new();
        let mut remain = 0;
        for db in self.used(&self.primary.0, |db| self.databases.to(db).is_some()).await? {
            self.forward(db, &mut wrong).await?;
        }
        let back = self.databases.reversed();
        for db in self.used(&self.secondary.0, |db| back.to(db).is_some()).await? {
            let Some(home) = back.to(db) else { continue };
            self.backward(db, home, &mut wrong).await?;
        }
        for wrong in wrong.chunks(256) {
            remain += self.check_repair(wrong).await?;
        }
        info!(wrong = wrong.len(), remain, "verify is finished");
        Ok(remain == 0)
    }

    async fn forward(&self, db: u32, wrong: &mut Vec<Wrong>) -> Result<(), VerifyError> {
        let mut scan = open(&self.primary.0, db).await?;
        let mut comparer = self.comparer(db).await?;
        let mut cursor = Bytes::from_static(b"0");
        let mut doubtful = Vec::new();
        loop {
            let keys = step(&mut scan, &mut cursor).await?;
            let keys: Vec<Bytes> = keys.into_iter().filter(|key| !is_ours(db, key)).collect();
            let verdicts = comparer.compare(&keys).await?;
            let suspects = keys.iter().zip(&verdicts);
            let suspects = suspects.filter(|(_, verdict)| matches!(verdict, Verdict::Different(_)));
            doubtful.extend(suspects.map(|(key, _)| key.clone()));
            Tally::add(&self.tally.checked, keys.len());
            let last = cursor.as_ref() == b"0";
            if last || doubtful.len() >= DOUBTFUL {
                self.judge(db, std::mem::take(&mut doubtful), &mut comparer, wrong).await?;
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Keys of the secondary that the primary does not hold.
    async fn backward(
        &self,
        db: u32,
        home: u32,
        wrong: &mut Vec<Wrong>,
    ) -> Result<(), VerifyError> {
        let mut scan = open(&self.secondary.0, db).await?;
        let mut primary = open(&self.primary.0, home).await?;
        let mut comparer = self.comparer(home).await?;
        let mut cursor = Bytes::from_static(b"0");
        let mut doubtful = Vec::new();
        loop {
            let keys = step(&mut scan, &mut cursor).await?;
            let keys: Vec<Bytes> = keys.into_iter().filter(|key| !is_ours(db, key)).collect();
            let exists = |key: &Bytes| Request::new([b"EXISTS".as_ref(), key]);
            let replies = primary.ask_all(&keys.iter().map(exists).collect::<Vec<_>>()).await?;
            let absent = keys.iter().zip(replies);
            let absent = absent.filter(|(_, reply)| reply.integer() == Some(0));
            let suspects: Vec<Bytes> = absent.map(|(key, _)| key.clone()).collect();
            Tally::add(&self.tally.checked, suspects.len());
            doubtful.extend(suspects);
            let last = cursor.as_ref() == b"0";
            if last || doubtful.len() >= DOUBTFUL {
                self.judge(home, std::mem::take(&mut doubtful), &mut comparer, wrong).await?;
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Finds out which suspects are really different, and has them copied again.
    async fn judge(
        &self,
        db: u32,
        suspects: Vec<Bytes>,
        comparer: &mut Comparer,
        wrong: &mut Vec<Wrong>,
    ) -> Result<(), VerifyError> {
        for (key, difference) in self.settle(db, suspects, comparer).await? {
            let is_extra = difference == crate::diff::Difference::Extra;
            let counter = match difference {
                crate::diff::Difference::Missing => &self.tally.missing,
                crate::diff::Difference::Extra => &self.tally.extra,
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
            self.hub.with(|engine| {
                let named = engine.named(db, key.clone());
                engine.soil(&named, Cause::Verify);
            });
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
            let still = self.settle(db, keys, &mut comparer).await?.len();
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
        let held = keyspace(&mut connection).await?.ok_or(VerifyError::Info)?.into_iter();
        Ok(held.map(|(db, _)| db).filter(|db| wanted(*db)).collect())
    }
}

pub(super) async fn pause() {
    sleep(Duration::from_millis(2)).await;
}

async fn open(endpoint: &Endpoint, db: u32) -> Result<Connection, ConnectError> {
    let setup = Setup { no_touch: true, ..Setup::own(endpoint, db, "crossfade-verify") };
    Connection::open(endpoint, &setup).await
}

async fn step(scan: &mut Connection, cursor: &mut Bytes) -> Result<Vec<Bytes>, VerifyError> {
    let request = Request::new([b"SCAN".as_ref(), cursor, b"COUNT", BATCH.as_bytes()]);
    let reply = scan.ask(&request).await?;
    let Some([next, Reply::Array(keys)]) = reply.items() else {
        return Err(VerifyError::Scan(format!("{reply:?}")));
    };
    *cursor = next.text().cloned().unwrap_or_default();
    Ok(keys.iter().filter_map(|key| key.text().cloned()).collect())
}
