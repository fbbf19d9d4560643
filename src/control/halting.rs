//! Finding out what a side that serves still holds, when it may hold other data than were copied from
//! it; what follows from that is said by the [phase](super::phase).

use tokio::time::timeout;
use tracing::info;

use super::course::Event;
use super::direction::Direction;
use super::migration::{Migration, PATIENCE};
use super::phase::{Acceptance, Halt, Refused, is_nearly_empty};
use crate::engine::Engine;
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Reply, Request};
use crate::server::told;
use crate::status::Side;

impl Migration {
    /// Where nothing is mirrored, finds out why, and whether it may go on.
    pub(super) async fn weigh(&self, direction: &Direction) {
        if !direction.engine.look(Engine::is_halted) {
            return;
        }
        let halt = if direction.route.pool.upstream().identity.is_replica() {
            Some(Halt::Replica)
        } else {
            // Without an answer nothing has changed; the next look asks again.
            let Some((keys, other)) = self.sizes(direction).await else { return };
            let known = self.inner.lock().standing.must_be_decided();
            let keeps_extras = self.world.keeps_extras(direction.primary.other());
            let emptied = known || is_nearly_empty(keys, other) && !keeps_extras;
            emptied.then_some(Halt::Emptied(keys, other))
        };
        let now = self.now();
        let found = halt.map_or(Event::Recovered(now), |halt| Event::Halted(halt, now));
        self.tell(direction, found);
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
            Side::Source => &self.control_connections.0,
            Side::Target => &self.control_connections.1,
        };
        let asked = line.ask_all(self.world.endpoint(side), questions);
        timeout(PATIENCE, asked).await.ok().flatten()
    }

    /// Copies everything again, and goes on where nothing was mirrored.
    pub(super) async fn start_over(&self, accept_empty: bool) -> Result<(), Refused> {
        let acceptance = if accept_empty {
            Acceptance::Accepted
        } else if self.inner.lock().standing.must_be_decided() {
            Acceptance::Holding(self.sizes(&self.direction()).await)
        } else {
            Acceptance::Holding(None)
        };
        self.on(Event::Resync(self.now(), acceptance))?;
        info!("everything is copied again: the operator asks for it");
        Ok(())
    }
}
