//! Telling a real difference from one in flight.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::Verify;
use super::walk::{VerifyError, pause};
use crate::diff::Difference;
use crate::engine::Named;
use crate::lane::Held;
use crate::value::{Comparer, Verdict};

/// How often keys that keep being written are looked at before they are held for a look.
const ATTEMPTS: u32 = 8;
/// How long the secondary may take to get what keys that are looked at were given.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a key may be held for a look.
const HOLD: Duration = Duration::from_secs(1);

impl Verify {
    /// Which of the suspects differ although everything that was done to them has arrived, and
    /// nobody wrote to them while they were compared.
    ///
    /// # Errors
    /// A server can't be asked, or the secondary is too far behind to tell.
    pub(super) async fn settle(
        &self,
        db: u32,
        suspects: Vec<Bytes>,
        comparer: &mut Comparer,
    ) -> Result<Vec<(Bytes, Difference)>, VerifyError> {
        let deadline = Instant::now() + PATIENCE;
        let mut real = Vec::new();
        let mut open = suspects;
        for attempt in 0..ATTEMPTS {
            if open.is_empty() {
                return Ok(real);
            }
            sleep(Duration::from_millis(u64::from(attempt) * 10)).await;
            open = self.look(db, open, deadline, comparer, &mut real).await?;
        }
        for key in open {
            if let Some(difference) = self.hold_and_look(db, &key, deadline, comparer).await? {
                real.push((key, difference));
            }
        }
        Ok(real)
    }

    /// One undisturbed look at each; gives back those that were written meanwhile.
    async fn look(
        &self,
        db: u32,
        keys: Vec<Bytes>,
        deadline: Instant,
        comparer: &mut Comparer,
        real: &mut Vec<(Bytes, Difference)>,
    ) -> Result<Vec<Bytes>, VerifyError> {
        let named: Vec<Named> = self.hub.with(|engine| {
            let named: Vec<Named> = keys.iter().map(|key| engine.named(db, key.clone())).collect();
            for named in &named {
                engine.watch(named);
            }
            named
        });
        let arrived = self.wait_for_effects(&named, deadline).await;
        let verdicts = comparer.compare(&keys).await?;
        let mut again = Vec::new();
        self.hub.with(|engine| {
            for ((key, named), verdict) in keys.into_iter().zip(&named).zip(verdicts) {
                match (arrived && engine.was_still(named), verdict) {
                    (_, Verdict::Equal | Verdict::Absent) => {}
                    (true, Verdict::Different(difference)) => real.push((key, difference)),
                    (false, Verdict::Different(_)) => again.push(key),
                }
            }
            engine.watch_no_more(&named);
        });
        Ok(again)
    }

    /// Waits until the secondary has got what has been done so far, and each of `keys` has been
    /// settled at some moment: all of them at once they seldom are where some are copied again and
    /// again. False when that takes too long.
    async fn wait_for_effects(&self, keys: &[Named], deadline: Instant) -> bool {
        let (last, _) = self.hub.with(|engine| engine.positions());
        let mut unsettled: Vec<&Named> = keys.iter().collect();
        loop {
            let arrived = self.hub.with(|engine| {
                unsettled.retain(|key| !engine.is_settled(key));
                engine.positions().1 >= last
            });
            if arrived && unsettled.is_empty() {
                return true;
            }
            if Instant::now() >= deadline {
                return arrived;
            }
            pause().await;
        }
    }

    /// The last resort for a key that is written all the time: its writes wait for one look.
    async fn hold_and_look(
        &self,
        db: u32,
        key: &Bytes,
        deadline: Instant,
        comparer: &mut Comparer,
    ) -> Result<Option<Difference>, VerifyError> {
        let named = self.hub.with(|engine| engine.named(db, key.clone()));
        loop {
            let held = Held::take(&self.hub, &named).await;
            if self.wait_while_held(&named).await {
                let verdicts = comparer.compare(std::slice::from_ref(key)).await?;
                drop(held);
                return Ok(match verdicts.first() {
                    Some(Verdict::Different(difference)) => Some(*difference),
                    _ => None,
                });
            }
            drop(held);
            if Instant::now() >= deadline {
                return Err(VerifyError::Behind);
            }
            sleep(HOLD).await;
        }
    }

    /// Waits until the secondary has all of a key that is held; false when that takes too long.
    async fn wait_while_held(&self, named: &Named) -> bool {
        let keys = std::slice::from_ref(named);
        self.wait_for_effects(keys, Instant::now() + HOLD).await
            && self.hub.with(|engine| engine.is_settled(named))
    }
}
