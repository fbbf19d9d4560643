//! Telling a real difference from one in flight.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::Verify;
use super::walk::VerifyError;
use crate::engine::{Engine, KeyRef, Observation};
use crate::lane::KeyGuard;
use crate::value::diff::Difference;
use crate::value::{Comparer, Verdict};

/// How often keys that keep being written are looked at before they are held for a look.
const ATTEMPTS: u32 = 8;
/// How long the secondary may take to get what has been done to the keys.
const ARRIVAL: Duration = Duration::from_secs(20);
/// How long a key may be held for a look.
const HOLD: Duration = Duration::from_millis(250);

/// What has become of suspects.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Those that differ although everything that was done to them has arrived, and nobody wrote to
    /// them while they were compared.
    pub(super) different: Vec<(Bytes, Difference)>,
    /// How many can't be told: they are dirty all the time, so they are known to differ, and are
    /// copied.
    pub(super) dirty: usize,
}

/// How long to wait.
#[derive(Clone, Copy)]
struct Patience {
    /// For what has been done so far to arrive, until then.
    arrival: Instant,
    /// For copies of dirty keys, until then.
    copies: Instant,
}

impl Verify {
    /// Finds out which of the suspects really differ, waiting so long for copies of those that are
    /// dirty.
    ///
    /// # Errors
    /// A server can't be asked, or the secondary is too far behind to tell.
    pub(super) async fn settle(
        &self,
        db: u32,
        suspects: Vec<Bytes>,
        for_copies: Duration,
        comparer: &mut Comparer,
    ) -> Result<Settled, VerifyError> {
        let now = Instant::now();
        let patience = Patience { arrival: now + ARRIVAL, copies: now + for_copies };
        let mut settled = Settled::default();
        let mut open = suspects;
        for attempt in 0..ATTEMPTS {
            if open.is_empty() {
                return Ok(settled);
            }
            sleep(Duration::from_millis(u64::from(attempt) * 10)).await;
            open = self.look(db, open, patience, comparer, &mut settled.different).await?;
        }
        for key in open {
            self.hold_and_look(db, key, patience, comparer, &mut settled).await?;
        }
        Ok(settled)
    }

    /// Compares each once; gives back those that were written meanwhile.
    async fn look(
        &self,
        db: u32,
        keys: Vec<Bytes>,
        patience: Patience,
        comparer: &mut Comparer,
        real: &mut Vec<(Bytes, Difference)>,
    ) -> Result<Vec<Bytes>, VerifyError> {
        let (named, observations) = self.engine.look(|engine| {
            let named: Vec<KeyRef> =
                keys.iter().map(|key| engine.key_ref(db, key.clone())).collect();
            let observations: Vec<Observation> =
                named.iter().map(|named| engine.observe(named)).collect();
            (named, observations)
        });
        let arrived = self.wait_for_effects(&named, patience).await;
        let verdicts = comparer.compare(&keys).await?;
        let mut again = Vec::new();
        self.engine.look(|engine| {
            for ((key, observed), verdict) in keys.into_iter().zip(&observations).zip(verdicts) {
                match (arrived && engine.was_untouched(observed), verdict) {
                    (_, Verdict::Equal | Verdict::Absent) => {}
                    (true, Verdict::Different(difference)) => real.push((key, difference)),
                    (false, Verdict::Different(_)) => again.push(key),
                }
            }
        });
        Ok(again)
    }

    /// Waits until the secondary has got what has been done so far, and each of `keys` has been
    /// settled at some moment: all of them at once they seldom are where some are copied again and
    /// again. False when the former takes too long.
    async fn wait_for_effects(&self, keys: &[KeyRef], patience: Patience) -> bool {
        let (last, _) = self.engine.look(Engine::positions);
        let mut unsettled: Vec<&KeyRef> = keys.iter().collect();
        let mut arrived = false;
        let settled = self.engine.until(|engine| {
            unsettled.retain(|key| !engine.is_settled(key));
            arrived = engine.positions().1 >= last;
            arrived && (unsettled.is_empty() || Instant::now() >= patience.copies)
        });
        let _ = timeout_at(patience.arrival, settled).await;
        arrived
    }

    /// The last resort for a key that is written all the time: its writes wait for one look.
    async fn hold_and_look(
        &self,
        db: u32,
        key: Bytes,
        patience: Patience,
        comparer: &mut Comparer,
        settled: &mut Settled,
    ) -> Result<(), VerifyError> {
        let named = self.engine.look(|engine| engine.key_ref(db, key.clone()));
        loop {
            let held = KeyGuard::take(&self.engine, &named).await;
            // A copier may have to hold a dirty key too.
            let dirty = !self.engine.look(|engine| engine.is_migrated(&named));
            if !dirty && self.has_arrived(&named).await {
                let verdicts = comparer.compare(std::slice::from_ref(&key)).await?;
                if let Some(Verdict::Different(difference)) = verdicts.first() {
                    settled.different.push((key, *difference));
                }
                return Ok(());
            }
            drop(held);
            let now = Instant::now();
            if dirty && now >= patience.copies {
                settled.dirty += 1;
                return Ok(());
            }
            if now >= patience.arrival {
                return Err(VerifyError::Behind);
            }
            self.wait_for_effects(std::slice::from_ref(&named), patience).await;
        }
    }

    /// Waits until the secondary has all of a key that is held; false when that takes too long.
    async fn has_arrived(&self, held: &KeyRef) -> bool {
        let soon = Instant::now() + HOLD;
        let patience = Patience { arrival: soon, copies: soon };
        self.wait_for_effects(std::slice::from_ref(held), patience).await
            && self.engine.look(|engine| engine.is_settled(held))
    }
}
