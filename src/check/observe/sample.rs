//! A sample of keys: how large values are, and how fast they can be read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::sleep;

use crate::engine::pattern;
use crate::protocol::reserved_keys::is_reserved;
use crate::protocol::resp::Request;
use crate::server::{Connection, Scan, ScanError};
use crate::status::Big;
use crate::value::ReadError;

/// Keys that are looked at, and for how long at most.
const KEYS: u64 = 20_000;
const TIME: Duration = Duration::from_secs(5);
/// Keys in a step; the server rests as long as it took.
const STEP: usize = 100;
/// From so much memory on a value is copied part by part, in bytes.
const BIG: u64 = 512 * 1024;
/// Patterns of big values.
const NAMED: usize = 20;
/// Fewer keys say nothing of how fast they are read.
const ENOUGH: u64 = 100;

/// What was seen.
#[derive(Debug, Default, Serialize)]
pub(super) struct Sample {
    pub(super) keys: u64,
    /// Whether these are all there are.
    pub(super) complete: bool,
    /// Memory of all of them.
    pub(super) bytes: u64,
    pub(super) keys_per_second: Option<f64>,
    #[serde(skip)]
    pub(super) big: Vec<Big>,
}

/// Looks at some keys of each database.
pub(super) async fn take(
    server: &mut Connection,
    keyspace: &[(u32, u64)],
) -> Result<Sample, ReadError> {
    let began = Instant::now();
    let mut taking = Taking::default();
    let mut complete = true;
    for (db, _) in keyspace {
        server.command(["SELECT", &db.to_string()]).await?;
        complete &= taking.walk(*db, server, began).await?;
    }
    server.command(["SELECT", "0"]).await?;
    Ok(taking.done(complete))
}

#[derive(Debug, Default)]
struct Taking {
    keys: u64,
    bytes: u64,
    worked: Duration,
    big: BTreeMap<(u32, String), (u64, u64)>,
}

impl Taking {
    /// True when the database has no more keys.
    async fn walk(
        &mut self,
        db: u32,
        server: &mut Connection,
        began: Instant,
    ) -> Result<bool, ReadError> {
        let mut scan = Scan::default();
        while self.keys < KEYS && began.elapsed() < TIME {
            let step = Instant::now();
            let keys = match scan.next(STEP, server).await {
                Ok(Some(keys)) => keys,
                Ok(None) => return Ok(true),
                Err(ScanError::Refused(_)) => return Ok(false),
                Err(ScanError::Broken(broken)) => return Err(broken.into()),
            };
            self.weigh(db, &keys, server).await?;
            self.worked += step.elapsed();
            sleep(step.elapsed()).await;
        }
        Ok(false)
    }

    async fn weigh(
        &mut self,
        db: u32,
        keys: &[Bytes],
        server: &mut Connection,
    ) -> Result<(), ReadError> {
        let keys: Vec<&Bytes> = keys.iter().filter(|key| !is_reserved(db, key)).collect();
        let ask = |key: &&Bytes| Request::new([b"MEMORY".as_ref(), b"USAGE", key]);
        let requests: Vec<Request> = keys.iter().map(ask).collect();
        let replies = server.ask_all(&requests).await?;
        for (key, reply) in keys.into_iter().zip(replies) {
            self.count(db, key, reply.integer().and_then(|bytes| u64::try_from(bytes).ok()));
        }
        Ok(())
    }

    fn count(&mut self, db: u32, key: &[u8], bytes: Option<u64>) {
        let bytes = bytes.unwrap_or(0);
        self.keys += 1;
        self.bytes += bytes;
        if bytes >= BIG {
            let (count, largest) = self.big.entry((db, pattern(key))).or_default();
            *count += 1;
            *largest = bytes.max(*largest);
        }
    }

    fn done(self, complete: bool) -> Sample {
        let mut big: Vec<Big> = self
            .big
            .into_iter()
            .map(|((db, pattern), (count, bytes))| Big { db, pattern, count, bytes })
            .collect();
        big.sort_by_key(|big| std::cmp::Reverse(big.bytes));
        big.truncate(NAMED);
        let seconds = self.worked.as_secs_f64();
        let rate = (self.keys >= ENOUGH && seconds > 0.0).then(|| self.keys as f64 / seconds);
        Sample { keys: self.keys, complete, bytes: self.bytes, keys_per_second: rate, big }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_values_are_counted_by_pattern_the_largest_first() {
        let mut taking = Taking::default();
        for (key, bytes) in [("log:1", BIG), ("log:2", 3 * BIG), ("a", 10), ("blob", 2 * BIG)] {
            taking.count(0, key.as_bytes(), Some(bytes));
        }
        taking.count(0, b"gone", None);
        let sample = taking.done(true);
        let like =
            |pattern: &str, count, bytes| Big { db: 0, pattern: pattern.into(), count, bytes };
        assert_eq!(sample.big, [like("log:*", 2, 3 * BIG), like("blob", 1, 2 * BIG)]);
        assert_eq!((sample.keys, sample.keys_per_second), (5, None));
    }
}
