//! Finding out what a side that serves still holds, when it may hold other data than were copied from
//! it; what follows from that is said by the [phase](super::phase).

use tracing::info;

use super::migration::{Event, Migration};
use super::phase::{Consent, Halt, Refused, is_nearly_empty};
use crate::engine::Engine;
use crate::pipeline::Direction;
use crate::protocol::databases::Databases;
use crate::protocol::resp::Request;
use crate::server::told;
use crate::status::Side;

/// Where nothing is mirrored, finds out why, and whether it may go on.
pub(super) async fn weigh(migration: &Migration, direction: &Direction) {
    if !direction.engine.look(Engine::is_halted) {
        return;
    }
    let halt = if direction.route.pool.upstream().identity.is_replica() {
        Some(Halt::Replica)
    } else {
        // Without an answer nothing has changed; the next look asks again.
        let Some((keys, other)) = sizes(migration, direction).await else { return };
        let known = migration.course().standing.must_be_decided();
        let keeps_extras = migration.env.keeps_extras(direction.primary.other());
        let emptied = known || is_nearly_empty(keys, other) && !keeps_extras;
        emptied.then_some(Halt::Emptied(keys, other))
    };
    let now = migration.now();
    let found = halt.map_or(Event::Recovered(now), |halt| Event::Halted(halt, now));
    migration.tell(direction, found);
}

/// How many keys the side that serves holds, and the other; `None` when one of them can't be
/// asked now, or is still loading. One that refuses to tell is taken for full.
async fn sizes(migration: &Migration, direction: &Direction) -> Option<(u64, u64)> {
    let databases = migration.env.databases_from(direction.primary);
    let secondary = direction.primary.other();
    let keys = size(migration, direction.primary, &databases).await?;
    let other = size(migration, secondary, &databases.reversed()).await?;
    Some((keys.unwrap_or(u64::MAX), other.unwrap_or(0)))
}

async fn size(migration: &Migration, side: Side, databases: &Databases) -> Option<Option<u64>> {
    let questions = ["persistence", "keyspace"].map(|section| Request::new(["INFO", section]));
    let replies = migration.env.ask(side, &questions).await?;
    let Some(info) = told(&replies) else { return Some(None) };
    if info.number("loading") + info.number("async_loading") > 0 {
        return None;
    }
    let migrated = |(db, keys): (u32, u64)| databases.to(db).map(|_| keys);
    Some(Some(info.keyspace().into_iter().filter_map(migrated).sum()))
}

/// Copies everything again, and goes on where nothing was mirrored.
pub(super) async fn start_over(migration: &Migration, accept_empty: bool) -> Result<(), Refused> {
    let consent = if accept_empty {
        Consent::Accepted
    } else if migration.course().standing.must_be_decided() {
        Consent::Holding(sizes(migration, &migration.direction()).await)
    } else {
        Consent::Holding(None)
    };
    migration.on(Event::Resync(migration.now(), consent))?;
    info!("everything is copied again: the operator asks for it");
    Ok(())
}
