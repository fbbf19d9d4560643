//! Telling a real difference from one in flight.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::Verify;
use super::walk::{VerifyError, pause};
use crate::diff::Difference;
use crate::engine::{ConnId, Named};
use crate::value::{Comparer, Verdict};

/// How often a key that keeps being written is looked at before it is held for a look.
const ATTEMPTS: u32 = 8;
/// How long the effects before a look may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a key may be held for a look.
const HOLD: Duration = Duration::from_millis(50);

impl Verify {
    /// Which of the suspects differ although everything that was done to them has arrived, and
    /// nobody wrote to them while they were compared.
    pub(super) async fn settle(
        &self,
        db: u32,
        suspects: Vec<Bytes>,
        comparer: &mut Comparer,
    ) -> Result<Vec<(Bytes, Difference)>, VerifyError> {
        let mut real = Vec::new();
        let mut open = suspects;
        for attempt in 0..ATTEMPTS {
            if open.is_empty() {
                return Ok(real);
            }
            sleep(Duration::from_millis(u64::from(attempt) * 10)).await;
            open = self.look(db, open, comparer, &mut real).await?;
        }
        for key in open {
            if let Some(difference) = self.hold_and_look(db, &key, comparer).await? {
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
        self.wait_for_effects(&named, PATIENCE).await;
        let verdicts = comparer.compare(&keys).await?;
        let mut again = Vec::new();
        self.hub.with(|engine| {
            for ((key, named), verdict) in keys.into_iter().zip(&named).zip(verdicts) {
                match (engine.was_still(named), verdict) {
                    (_, Verdict::Equal | Verdict::Absent) => {}
                    (true, Verdict::Different(difference)) => real.push((key, difference)),
                    (false, Verdict::Different(_)) => again.push(key),
                }
            }
            engine.watch_no_more(&named);
        });
        Ok(again)
    }

    /// Waits until the secondary has got what has been done so far.
    async fn wait_for_effects(&self, keys: &[Named], patience: Duration) {
        let (last, _) = self.hub.with(|engine| engine.positions());
        let deadline = Instant::now() + patience;
        let arrived = || {
            self.hub.with(|engine| {
                engine.positions().1 >= last && keys.iter().all(|key| engine.is_settled(key))
            })
        };
        while !arrived() && Instant::now() < deadline {
            pause().await;
        }
    }

    /// The last resort for a key that is written all the time: its writes wait for one look.
    async fn hold_and_look(
        &self,
        db: u32,
        key: &Bytes,
        comparer: &mut Comparer,
    ) -> Result<Option<Difference>, VerifyError> {
        let named = self.hub.with(|engine| engine.named(db, key.clone()));
        let conn = self.hub.with(crate::engine::Engine::connect);
        let hold = Hold { verify: self, conn, named: &named };
        std::future::poll_fn(|cx| self.hub.poll_hold(conn, &named, cx)).await;
        self.wait_for_effects(std::slice::from_ref(&named), HOLD).await;
        let still = self.hub.with(|engine| engine.is_settled(&named));
        let verdicts = comparer.compare(std::slice::from_ref(key)).await?;
        drop(hold);
        Ok(match verdicts.first() {
            Some(Verdict::Different(difference)) if still => Some(*difference),
            _ => None,
        })
    }
}

/// A key whose writes wait.
struct Hold<'a> {
    verify: &'a Verify,
    conn: ConnId,
    named: &'a Named,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let woken = self.verify.hub.with(|engine| engine.release(self.conn, self.named));
        self.verify.hub.wake(&woken);
    }
}
