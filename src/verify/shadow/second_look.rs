//! Telling a real difference from a key that ended between two answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::lines::{Answer, Lines, PATIENCE};
use super::tally::Outcome;
use crate::engine::{Ends, Witness};
use crate::lane::{Sample, SharedEngine};
use crate::protocol::resp::{Reply, Request};

/// How often keys are looked at that are written meanwhile, or end soon.
const ATTEMPTS: u32 = 8;

/// What both servers say now.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// It can't be told.
    Unclear,
    Same,
    Refused,
    /// The primary's answer and the secondary's.
    Different(Bytes, Bytes),
}

/// Asks both servers again.
#[derive(Debug)]
pub(super) struct SecondLook {
    pub(super) engine: Arc<SharedEngine>,
    pub(super) primary: Lines,
    pub(super) secondary: Lines,
    /// Whether a field of a hash may end by itself.
    pub(super) fields_end: bool,
    /// How far the ends of a key may lie apart.
    pub(super) tolerance: Duration,
}

impl SecondLook {
    /// What comes of a read that the secondary answered otherwise at first.
    pub(super) async fn settle(&mut self, sample: &Sample) -> Outcome {
        for attempt in 0..ATTEMPTS {
            sleep(Duration::from_millis(10) * attempt).await;
            match self.look(sample).await {
                Look::Unclear => {}
                Look::Same => return Outcome::Discarded,
                Look::Refused => return Outcome::Refused,
                found @ Look::Different(..) => {
                    if !self.may_lose_fields(sample) || self.lasts(&found, sample).await {
                        return Outcome::Different;
                    }
                }
            }
        }
        Outcome::Discarded
    }

    /// Fields end without a word, so that what is read of a hash must stay as it is for a while.
    fn may_lose_fields(&self, sample: &Sample) -> bool {
        let is_of_a_hash = sample.request.name().first().is_some_and(|letter| letter | 32 == b'h');
        is_of_a_hash && self.fields_end
    }

    async fn lasts(&mut self, found: &Look, sample: &Sample) -> bool {
        sleep(2 * self.tolerance).await;
        self.look(sample).await == *found
    }

    /// Asks both servers when the keys end, and then what the client asked.
    async fn look(&mut self, sample: &Sample) -> Look {
        let Some(witness) = self.witness(sample).await else { return Look::Unclear };
        let since = Instant::now();
        let ends = witness.keys().map(|key| Request::new([b"PTTL".as_ref(), key]));
        let requests: Vec<Request> = ends.chain([sample.request.clone()]).collect();
        let lines = (self.primary.of(sample), self.secondary.of(sample));
        let (primary, secondary) = tokio::join!(
            self.primary.ask(lines.0, &requests),
            self.secondary.ask(lines.1, &requests),
        );
        let Some((mut primary, mut secondary)) = primary.zip(secondary) else {
            return Look::Unclear;
        };
        let replies = primary.pop().zip(secondary.pop());
        let Some((of_primary, of_secondary)) = replies else { return Look::Unclear };
        let margin = self.tolerance + since.elapsed();
        let near = primary.iter().chain(&secondary).any(|answer| is_near(answer, margin));
        if near || !self.engine.look(|engine| engine.bears_out(&witness)) {
            return Look::Unclear;
        }
        judge(sample, of_primary, of_secondary)
    }

    /// Of the keys, once the secondary has what was done to them.
    async fn witness(&self, sample: &Sample) -> Option<Witness> {
        let keys = sample.witness.keys().cloned();
        let witness = self.engine.look(|engine| engine.witness(sample.db, keys))?;
        let arrived = self.engine.until(|engine| engine.has_caught_up_with(&witness));
        timeout(PATIENCE, arrived).await.ok()?;
        Some(witness)
    }
}

/// Whether a key ends so soon that it may be gone by now, or on the other server. What is no answer is
/// taken for near.
fn is_near(answer: &Answer, margin: Duration) -> bool {
    let margin = i64::try_from(margin.as_millis()).unwrap_or(i64::MAX).saturating_add(1);
    let pttl = Reply::parse(&answer.reply).ok().and_then(|reply| reply.integer());
    pttl.is_none_or(|pttl| Ends::told(pttl).is_near(margin))
}

fn judge(sample: &Sample, primary: Answer, secondary: Answer) -> Look {
    match sample.likeness.holds(&primary.reply, &secondary.reply) {
        Some(true) => Look::Same,
        _ if primary.reply.starts_with(b"-") => Look::Unclear,
        _ if secondary.is_refusal() => Look::Refused,
        Some(false) => Look::Different(primary.reply, secondary.reply),
        None => Look::Unclear,
    }
}
