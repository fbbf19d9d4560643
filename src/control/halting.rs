//! When the side that serves may hold other data than were copied from it.
//!
//! It was restarted, failed over, or was a replica for a while. Mostly it has its keys, and everything
//! is copied again. But one that has come back (nearly) empty must not empty the other side, which
//! then holds the only copy: nothing is mirrored until the operator decides.
//!
//! *Rule:* nearly empty is a side that holds less than a tenth of the keys of the other. Nobody asks
//! when a client flushed it, because then no other process and no other history of its data is behind it.

use tokio::time::timeout;
use tracing::{info, warn};

use super::direction::Direction;
use super::migration::Migration;
use super::operate::{refuse, stale};
use super::watch::PATIENCE;
use crate::admin::Refusal;
use crate::backend::told;
use crate::databases::Databases;
use crate::engine::{Cause, Engine};
use crate::resp::{Reply, Request};
use crate::status::{Phase, Side};

/// A side with so many times fewer keys than the other is nearly empty.
const SHARE: u64 = 10;

/// Why nothing is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// It has not been found out yet what the side that serves holds.
    Unsure,
    /// It follows another server.
    Replica,
    /// It holds so few keys, and the other side so many.
    Emptied(u64, u64),
}

impl Halt {
    /// In words, of the side that serves.
    pub(super) fn describe(self, primary: Side) -> String {
        let secondary = primary.other();
        match self {
            Self::Unsure => format!("the {primary} may hold other data: it is being looked at"),
            Self::Replica => {
                format!("the {primary} is a replica now, so clients can't write: promote it")
            }
            Self::Emptied(keys, other) => format!(
                "the {primary} came back (nearly) empty: it holds {keys} keys, the {secondary} \
                 {other}. Nothing is mirrored until you decide: `crossfade resync --accept-empty` \
                 makes the {secondary} the same, `crossfade {} --force` has clients served by the \
                 {secondary}",
                if primary == Side::Source { "cutover" } else { "rollback" },
            ),
        }
    }
}

fn is_nearly_empty(keys: u64, other: u64) -> bool {
    keys.saturating_mul(SHARE) < other
}

impl Migration {
    /// Why nothing is mirrored, if that is so.
    pub(super) fn halt(&self) -> Option<Halt> {
        let inner = self.inner.lock();
        let is_halted = inner.direction.hub.look(Engine::is_halted);
        is_halted.then(|| inner.halt.unwrap_or(Halt::Unsure))
    }

    /// Whether the other side holds what the one that serves has lost.
    pub(super) fn is_emptied(&self) -> bool {
        matches!(self.halt(), Some(Halt::Emptied(..)))
    }

    /// Where nothing is mirrored, finds out why, and whether it may go on.
    pub(super) async fn weigh(&self, direction: &Direction) {
        if !direction.hub.look(Engine::is_halted) {
            self.inner.lock().halt = None;
            return;
        }
        let halt = if direction.route.pool.upstream().process.is_replica() {
            Some(Halt::Replica)
        } else {
            // Without an answer nothing has changed; the next look asks again.
            let Some((keys, other)) = self.sizes(direction).await else { return };
            let known = self.inner.lock().state.emptied;
            let keeps_extras = self.world.keeps_extras(direction.primary.other());
            let emptied = known || is_nearly_empty(keys, other) && !keeps_extras;
            emptied.then_some(Halt::Emptied(keys, other))
        };
        if let Some(halt) = halt {
            self.stay_halted(direction, halt);
        } else {
            self.inner.lock().halt = None;
            direction.hub.with(Engine::go_on);
        }
    }

    fn stay_halted(&self, direction: &Direction, halt: Halt) {
        let mut inner = self.inner.lock();
        let before = inner.halt.replace(halt);
        stale(&mut inner.verify);
        let (emptied, known) = (matches!(halt, Halt::Emptied(..)), inner.state.emptied);
        inner.cause = Some(if emptied { "emptied" } else { "replica" }.to_owned());
        let mirroring = inner.phase == Phase::Mirroring;
        drop(inner);
        if before.is_none_or(|before| before == Halt::Unsure) {
            let why = halt.describe(direction.primary);
            warn!(%why, "mirroring has stopped");
        }
        if mirroring {
            // Not durable: what a restart must copy is in the record.
            self.show(Phase::Backfilling);
        }
        if emptied && !known {
            let kept = self.keep(|state| state.emptied = true);
            if let Err(error) = kept {
                warn!(error, "the next process will have to find it out by itself");
            }
        }
    }

    /// How many keys the side that serves holds, and the other; `None` when one of them can't be
    /// asked now, or is still loading. One that refuses to tell is taken for full.
    async fn sizes(&self, direction: &Direction) -> Option<(u64, u64)> {
        let databases = self.world.databases_from(direction.primary);
        let secondary = direction.primary.other();
        let keys = self.size(direction.primary, &databases).await?;
        let other = self.size(secondary, &databases.reversed()).await?;
        Some((keys.unwrap_or(u64::MAX), other.unwrap_or(0)))
    }

    async fn size(&self, side: Side, databases: &Databases) -> Option<Option<u64>> {
        let questions = ["persistence", "keyspace"].map(|section| Request::new(["INFO", section]));
        let replies = self.ask_side(side, &questions).await?;
        let Some(info) = told(&replies) else { return Some(None) };
        if info.number("loading") + info.number("async_loading") > 0 {
            return None;
        }
        let migrated = |(db, keys): (u32, u64)| databases.to(db).map(|_| keys);
        Some(Some(info.keyspace().into_iter().filter_map(migrated).sum()))
    }

    /// Asks one of the servers beside everything else.
    pub(super) async fn ask_side(&self, side: Side, questions: &[Request]) -> Option<Vec<Reply>> {
        let line = match side {
            Side::Source => &self.side_lines.0,
            Side::Target => &self.side_lines.1,
        };
        let asked = line.ask_all(self.world.endpoint(side), questions);
        timeout(PATIENCE, asked).await.ok().flatten()
    }

    /// Copies everything again, and goes on where nothing was mirrored.
    pub(super) async fn start_over(&self, accept_empty: bool) -> Result<(), Refusal> {
        let phase = self.phase();
        if !matches!(phase, Phase::Backfilling | Phase::Mirroring | Phase::CutOver) {
            return Err(refuse(format!("there is nothing to copy again: the phase is {phase}")));
        }
        let direction = self.direction();
        if self.halt() == Some(Halt::Replica) {
            return Err(refuse(Halt::Replica.describe(direction.primary)));
        }
        if self.is_emptied() && !accept_empty {
            let secondary = direction.primary.other();
            let sizes = self.sizes(&direction).await;
            let sizes = sizes.ok_or_else(|| refuse("one of the servers can't be asked".into()))?;
            if is_nearly_empty(sizes.0, sizes.1) {
                let halt = Halt::Emptied(sizes.0, sizes.1).describe(direction.primary);
                let what = format!("this empties the {secondary}, unless \"accept_empty\": true");
                return Err(refuse(format!("{what}; {halt}")));
            }
        }
        self.keep(|state| state.emptied = false).map_err(refuse)?;
        let mut inner = self.inner.lock();
        (inner.halt, inner.cause) = (None, Some(Cause::Resync.label().to_owned()));
        drop(inner);
        info!("everything is copied again: the operator asks for it");
        direction.hub.with(|engine| {
            engine.start_over(Cause::Resync);
            engine.go_on();
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_with_less_than_a_tenth_of_the_others_keys_is_nearly_empty() {
        assert!(is_nearly_empty(0, 1) && is_nearly_empty(99, 1_000));
        assert!(!is_nearly_empty(0, 0) && !is_nearly_empty(100, 1_000) && !is_nearly_empty(5, 3));
    }
}
