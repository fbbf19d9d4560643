//! Whether two servers hold the same under the same keys.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::sleep;

use super::ReadError;
use super::by_element::counterpart;
use super::by_value::{Dumps, dumped_kind, same_contents, whole};

use super::key_info::{KeyInfo, Outline, Type, key_info, lacking, outlines};
use super::reader::{Reader, size_request};
use crate::engine::effect::Expiry;
use crate::protocol::capability::Capabilities;
use crate::server::Connection;
use crate::value::diff::{Difference, Kind, Leeway, same_expiry, same_part};

/// How long a key that differs is given to become equal before it is looked at again: a write or
/// an expiry may be under way from one server to the other.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(60), Duration::from_millis(250)];
/// How often a key that changes while it is read is read again at once.
const ATTEMPTS: usize = 3;

/// One of the two servers, by a connection that is in the right database.
#[derive(Debug)]
pub struct Side {
    /// For the comparer alone; best opened with `no_touch`.
    pub connection: Connection,
    /// What the server can do.
    pub server: Capabilities,
}

/// What the comparer saw of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both have it, and it is the same.
    Equal,
    /// Neither has it.
    Absent,
    /// They differ.
    Different(Difference),
}

/// A server could not be asked.
#[derive(Debug, Error)]
pub enum CompareError {
    /// The first one.
    #[error("first server: {0}")]
    First(#[source] ReadError),
    /// The second one.
    #[error("second server: {0}")]
    Second(#[source] ReadError),
}

/// Holds the keys of two servers against each other.
#[derive(Debug)]
pub struct Comparer {
    first: Side,
    second: Side,
    leeway: Leeway,
}

impl Comparer {
    /// A comparer of these two.
    pub fn new(first: Side, second: Side, leeway: Leeway) -> Self {
        Self { first, second, leeway }
    }

    /// As [`Self::compare`], and whatever differs is looked at again a few times, for up to a third
    /// of a second in all: what still differs then did not just change.
    pub async fn settle(&mut self, keys: &[Bytes]) -> Result<Vec<Verdict>, CompareError> {
        let mut verdicts = self.compare(keys).await?;
        for pause in PAUSES {
            let open: Vec<usize> = (0..keys.len())
                .filter(|index| matches!(verdicts.get(*index), Some(Verdict::Different(_))))
                .collect();
            if open.is_empty() {
                break;
            }
            sleep(pause).await;
            let again: Vec<Bytes> =
                open.iter().filter_map(|index| keys.get(*index).cloned()).collect();
            for (index, verdict) in open.into_iter().zip(self.compare(&again).await?) {
                if let Some(slot) = verdicts.get_mut(index) {
                    *slot = verdict;
                }
            }
        }
        Ok(verdicts)
    }

    /// One verdict a key, in order; after an error the comparer can't be used any more. Several hundred keys at once keep both servers busy.
    pub async fn compare(&mut self, keys: &[Bytes]) -> Result<Vec<Verdict>, CompareError> {
        let (first, second) = both(
            outlines(keys, &self.first.server, &mut self.first.connection),
            outlines(keys, &self.second.server, &mut self.second.connection),
        )
        .await?;
        let mut seen: Vec<_> =
            first.iter().zip(&second).map(|(a, b)| self.by_outline(a, b)).collect();
        self.compare_dumps(keys, &mut seen).await?;
        self.compare_contents(keys, &mut seen).await?;
        let mut verdicts = Vec::with_capacity(keys.len());
        for (key, seen) in keys.iter().zip(seen) {
            verdicts.push(match seen {
                Seen::Settled(verdict) => verdict,
                Seen::Small { .. } | Seen::Alike(_) | Seen::Open => self.closely(key).await?,
            });
        }
        Ok(verdicts)
    }

    /// Those of the keys that the first server does not have.
    pub async fn lacking_first(&mut self, keys: &[Bytes]) -> Result<Vec<Bytes>, CompareError> {
        lacking(keys, &mut self.first.connection).await.map_err(CompareError::First)
    }

    fn by_outline(&self, a: &Outline, b: &Outline) -> Seen {
        match (a.expiry, b.expiry) {
            (Expiry::Missing, Expiry::Missing) => Seen::Settled(Verdict::Absent),
            (_, Expiry::Missing) => Seen::Settled(Verdict::Different(Difference::Missing)),
            (Expiry::Missing, _) => Seen::Settled(Verdict::Different(Difference::Extra)),
            _ if a.big || b.big => Seen::Open,
            (a, b) => Seen::Small { same_end: same_expiry(a.at(), b.at(), self.leeway) },
        }
    }

    /// Dumps the small ones on both servers: equal bytes are equal values.
    async fn compare_dumps(
        &mut self,
        keys: &[Bytes],
        seen: &mut [Seen],
    ) -> Result<(), CompareError> {
        let small = |seen: &Seen| matches!(seen, Seen::Small { .. });
        let dumped: Vec<&Bytes> =
            keys.iter().zip(&*seen).filter(|(_, seen)| small(seen)).map(|(key, _)| key).collect();
        let (first, second) = self.dump(&dumped).await?;
        let slots = seen.iter_mut().filter(|seen| small(seen));
        for (slot, (a, b)) in slots.zip(first.values().zip(second.values())) {
            let same_kind =
                || dumped_kind(a?).filter(|kind| Some(*kind) == b.and_then(dumped_kind));
            *slot = match slot {
                Seen::Small { same_end: true } if a == b => Seen::Settled(Verdict::Equal),
                Seen::Small { same_end: true } => same_kind().map_or(Seen::Open, Seen::Alike),
                _ => Seen::Open,
            };
        }
        Ok(())
    }

    /// Reads those of one type whose payloads differ on both servers, all of them at once.
    async fn compare_contents(
        &mut self,
        keys: &[Bytes],
        seen: &mut [Seen],
    ) -> Result<(), CompareError> {
        let ask = |(key, seen): (&Bytes, &Seen)| match seen {
            Seen::Alike(kind) => Some(whole(key, *kind)),
            _ => None,
        };
        let questions: Vec<_> = keys.iter().zip(&*seen).filter_map(ask).collect();
        if questions.is_empty() {
            return Ok(());
        }
        let (first, second) =
            both(async { Ok(self.first.connection.ask_all(&questions).await?) }, async {
                Ok(self.second.connection.ask_all(&questions).await?)
            })
            .await?;
        let mut answers = first.into_iter().zip(second);
        for slot in seen {
            let Seen::Alike(kind) = slot else { continue };
            if answers.next().is_some_and(|(a, b)| same_contents(*kind, a, b)) {
                *slot = Seen::Settled(Verdict::Equal);
            }
        }
        Ok(())
    }

    /// Type, expiry and value of one key, by commands.
    async fn closely(&mut self, key: &Bytes) -> Result<Verdict, CompareError> {
        for _ in 0..ATTEMPTS {
            let infos = both(
                key_info(key, &mut self.first.connection, &self.first.server),
                key_info(key, &mut self.second.connection, &self.second.server),
            )
            .await?;
            let (a, b) = match infos {
                (None, None) => return Ok(Verdict::Absent),
                (Some(_), None) => return Ok(Verdict::Different(Difference::Missing)),
                (None, Some(_)) => return Ok(Verdict::Different(Difference::Extra)),
                (Some(a), Some(b)) => (a, b),
            };
            match self.held(key, &a, &b).await {
                Err(
                    CompareError::First(ReadError::Changed)
                    | CompareError::Second(ReadError::Changed),
                ) => {}
                verdict => return verdict,
            }
        }
        Ok(Verdict::Different(Difference::Value))
    }

    async fn held(
        &mut self,
        key: &Bytes,
        a: &KeyInfo,
        b: &KeyInfo,
    ) -> Result<Verdict, CompareError> {
        let same = match (&a.kind, &b.kind) {
            (a, b) if a != b => return Ok(Verdict::Different(Difference::Type)),
            (Type::Known(kind), _) => self.same_value(key, *kind).await?,
            (Type::Opaque(_), _) => self.same_payload(key).await?,
        };
        Ok(if !same {
            Verdict::Different(Difference::Value)
        } else if same_expiry(a.expires_at, b.expires_at, self.leeway) {
            Verdict::Equal
        } else {
            Verdict::Different(Difference::Expiry)
        })
    }

    async fn same_payload(&mut self, key: &Bytes) -> Result<bool, CompareError> {
        let (first, second) = self.dump(&[key]).await?;
        Ok(first.values().eq(second.values()))
    }

    async fn dump(&mut self, keys: &[&Bytes]) -> Result<(Dumps, Dumps), CompareError> {
        both(
            Dumps::ask(keys, &mut self.first.connection),
            Dumps::ask(keys, &mut self.second.connection),
        )
        .await
    }

    async fn same_value(&mut self, key: &Bytes, kind: Kind) -> Result<bool, CompareError> {
        match size_request(key, kind) {
            Some(size) => {
                let (a, b) = both(async { Ok(self.first.connection.ask(&size).await?) }, async {
                    Ok(self.second.connection.ask(&size).await?)
                })
                .await?;
                Ok(a == b && self.same_elements(key, kind).await?)
            }
            None => self.same_row(key, kind).await,
        }
    }

    /// Whether the second server has every element of the first, for values of one size.
    async fn same_elements(&mut self, key: &Bytes, kind: Kind) -> Result<bool, CompareError> {
        let mut reader = Reader::new(key.clone(), kind, self.first.server);
        let from = &mut self.first.connection;
        while let Some(part) = reader.next(from).await.map_err(CompareError::First)? {
            let Side { connection, server } = &mut self.second;
            let theirs = counterpart(&part, key, server, connection).await;
            let theirs = theirs.map_err(CompareError::Second)?;
            if !theirs.is_some_and(|theirs| same_part(&part, &theirs, self.leeway)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether two ordered values are equal part by part. Equal values are cut alike.
    async fn same_row(&mut self, key: &Bytes, kind: Kind) -> Result<bool, CompareError> {
        let mut first = Reader::new(key.clone(), kind, self.first.server);
        let mut second = Reader::new(key.clone(), kind, self.second.server);
        loop {
            let parts = both(
                first.next(&mut self.first.connection),
                second.next(&mut self.second.connection),
            )
            .await?;
            match parts {
                (None, None) => return Ok(true),
                (Some(a), Some(b)) if same_part(&a, &b, self.leeway) => {}
                _ => return Ok(false),
            }
        }
    }
}

/// How far a key's comparison has come.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Settled(Verdict),
    /// To be dumped.
    Small {
        same_end: bool,
    },
    /// Dumped and not the same, of one type: perhaps the same value in another encoding or order.
    Alike(Kind),
    /// Too big to be dumped, or dumped and not the same: another value, or the same in another
    /// encoding.
    Open,
}

/// Asks both servers at the same time.
async fn both<A, B>(
    first: impl Future<Output = Result<A, ReadError>>,
    second: impl Future<Output = Result<B, ReadError>>,
) -> Result<(A, B), CompareError> {
    let (first, second) = tokio::join!(first, second);
    Ok((first.map_err(CompareError::First)?, second.map_err(CompareError::Second)?))
}
