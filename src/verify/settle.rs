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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant as Clock;

    use super::*;
    use crate::engine::example::{SERVER, in_step, write};
    use crate::engine::{Cause, Engine};
    use crate::lane::SharedEngine;
    use crate::protocol::databases::Databases;
    use crate::server::scripted::{ONE, Scripted};
    use crate::server::{Connection, Setup};
    use crate::value::Side;
    use crate::value::diff::Leeway;

    const LEEWAY: Leeway = Leeway { clock_offset: 0, tolerance: 50 };

    async fn verify(primary: &Scripted, secondary: &Scripted) -> (Verify, Comparer) {
        let side = async |server: &Scripted| Side {
            connection: Connection::open(&server.endpoint, &Setup::default()).await.unwrap(),
            server: SERVER,
        };
        let comparer = Comparer::new(side(primary).await, side(secondary).await, LEEWAY);
        let verify = Verify {
            engine: SharedEngine::new(in_step(), Clock::now(), None, Arc::default()),
            primary: (primary.endpoint.clone(), SERVER),
            secondary: (secondary.endpoint.clone(), SERVER),
            databases: Databases::All,
            leeway: LEEWAY,
            keeps_extras: false,
            throttle: Arc::default(),
            tally: Arc::default(),
        };
        (verify, comparer)
    }

    async fn settled((verify, mut comparer): (Verify, Comparer)) -> (usize, usize) {
        let suspects = vec![Bytes::from_static(b"k")];
        let settled = verify.settle(0, suspects, Duration::ZERO, &mut comparer).await.unwrap();
        (settled.different.len(), settled.dirty)
    }

    #[tokio::test]
    async fn what_is_equal_at_a_second_look_was_on_its_way() {
        let (primary, secondary) =
            (Scripted::holding(&["k"]).await, Scripted::holding(&["k"]).await);
        assert_eq!(settled(verify(&primary, &secondary).await).await, (0, 0));
    }

    #[tokio::test]
    async fn what_differs_when_nothing_is_on_its_way_is_different() {
        let (primary, secondary) = (Scripted::holding(&["k"]).await, Scripted::holding(&[]).await);
        assert_eq!(settled(verify(&primary, &secondary).await).await, (1, 0));
    }

    #[tokio::test]
    async fn what_has_not_arrived_is_waited_for() {
        let (primary, secondary) = (Scripted::holding(&["k"]).await, Scripted::holding(&[]).await);
        let (verify, comparer) = verify(&primary, &secondary).await;
        verify.engine.with(|engine| write(engine, "SADD k a", ":1\r\n", &[]));
        let engine = verify.engine.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(20)).await;
            secondary.put("k", ONE);
            let entries = engine.with(|engine| engine.take_effects(usize::MAX));
            engine.with(|engine| entries.iter().for_each(|entry| engine.applied(entry)));
            // The server is there as long as somebody may ask it.
            sleep(Duration::from_secs(5)).await;
        });
        assert_eq!(settled((verify, comparer)).await, (0, 0));
    }

    #[tokio::test]
    async fn a_key_that_is_dirty_all_the_time_is_known_to_differ_and_no_finding() {
        let (primary, secondary) = (Scripted::holding(&["k"]).await, Scripted::holding(&[]).await);
        let (verify, comparer) = verify(&primary, &secondary).await;
        verify.engine.with(|engine: &mut Engine| {
            let key = engine.key_ref(0, Bytes::from_static(b"k"));
            engine.mark_dirty(&key, Cause::Effect);
        });
        assert_eq!(settled((verify, comparer)).await, (0, 1));
    }
}
