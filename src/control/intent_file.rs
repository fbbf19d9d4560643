//! Looking after the write-intent record: opening it, keeping it short, replacing it when the disk
//! did not take what it had to say.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use super::migration::Migration;
use super::state::{State, StateDir};
use crate::engine::Engine;
use crate::engine::ledger::Groups;
use crate::failure::Failure;
use crate::lane::SharedEngine;
use crate::lane::record::{Identity, Record};
use crate::pipeline::{Direction, Survey};
use crate::status::{self, Side};

/// How often groups are let go: what was written in the last one or two rounds is in the record.
const ROUND: Duration = Duration::from_millis(200);
/// How often a record that can't be written is tried anew.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known of the secondary's keys before the first pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Everything is there: a flip has just happened.
    Flipped,
    /// There is nothing, or what there is may stay.
    Fresh,
    /// What another process has left: keys of these groups may differ, or be there in vain.
    Resumed(Groups),
}

impl Beginning {
    /// The groups that must be passed over.
    pub(super) fn doubtful(&self) -> Groups {
        match self {
            Self::Flipped => Groups::default(),
            Self::Fresh => Groups::full(),
            Self::Resumed(groups) => groups.clone(),
        }
    }
}

/// The record of a migration, and what it says about how to begin. `why`: the reason for which
/// everything is copied again.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) record: Option<Record>,
    pub(super) beginning: Beginning,
    pub(super) why: Option<String>,
}

/// Opens the record that the last process left, or begins one.
///
/// # Errors
/// The state directory takes none.
pub(super) fn open(
    store: Option<&StateDir>,
    resumed: bool,
    identity: Identity,
) -> Result<Opened, Failure> {
    let Some(store) = store else {
        return Ok(Opened { record: None, beginning: Beginning::Fresh, why: None });
    };
    let mut why = None;
    if resumed {
        match Record::open(store.path(), identity.clone()) {
            Ok(record) => {
                let beginning = Beginning::Resumed(record.groups().clone());
                return Ok(Opened { record: Some(record), beginning, why });
            }
            Err(reason) => {
                warn!(%reason, "everything is copied again");
                why = Some(reason.to_string());
            }
        }
    }
    let record = Record::create(store.path(), identity)
        .map_err(|error| Failure::no(format!("--state-dir {}: {error}", store.path().display())))?;
    let beginning = if resumed { Beginning::Resumed(Groups::full()) } else { Beginning::Fresh };
    Ok(Opened { record: Some(record), beginning, why })
}

/// What a record is to be believed for.
pub(super) fn identity(state: &State, primary: Side, survey: &Survey) -> Identity {
    let (first, second) = (survey.primary.identity(), survey.secondary.identity());
    let (source, target) = in_order(primary, first, second);
    Identity { tag: state.tag(), source, target }
}

/// What belongs to the primary and to the secondary, source first.
pub(super) fn in_order<T>(primary: Side, first: T, second: T) -> (T, T) {
    match primary {
        Side::Source => (first, second),
        Side::Target => (second, first),
    }
}

/// The record as the status shows it.
pub(super) fn status(engine: &SharedEngine) -> status::Record {
    let error = engine.with_record(|record| record.fault().map(str::to_owned));
    let groups = engine.look(Engine::recorded).unwrap_or(0);
    match error {
        None => status::Record::default(),
        Some(error) => status::Record { kept: true, groups: groups as u64, error },
    }
}

/// Everything has been copied from the process that is the primary now to the one that is the
/// secondary: the record holds for these.
pub(super) fn note_processes(direction: &Direction) {
    let first = direction.route.pool.upstream().identity.as_recorded();
    let (source, target) = in_order(direction.primary, first, direction.peer.identity());
    direction.engine.with_record(|record| {
        let tag = record.identity().tag.clone();
        record.identify(Identity { tag, source, target });
    });
}

/// A server may get another name for the same data; not while anything is copied again.
pub(super) fn note_processes_if_settled(direction: &Direction) {
    if direction.engine.look(Engine::is_settled_throughout) {
        note_processes(direction);
    }
}

/// Keeps who the servers are now: one of them may be another process, or hold other data, and a start
/// that took it for the one before would have to copy everything.
pub(super) fn remember_servers(migration: &Migration, direction: &Direction) {
    let first = direction.route.pool.upstream().identity.info();
    let (source, target) = in_order(direction.primary, first, direction.peer.info());
    let known = migration.course().state().remembered.clone();
    let Some(known) = known.filter(|known| !known.names(&source, &target)) else { return };
    let remembered = known.with(source, target);
    // What can't be kept is tried again soon.
    let _ = migration.keep(|state| state.remembered = Some(remembered));
}

/// Lets groups go and replaces a record that can't be written, until the process ends.
pub(super) async fn look_after(migration: Arc<Migration>) {
    loop {
        sleep(ROUND).await;
        let engine = migration.direction().engine.clone();
        engine.with(Engine::let_settled_groups_go);
        let failing = engine.with_record(|record| record.fault().is_some());
        if failing == Some(true) {
            replace(&migration, &engine).await;
            sleep(RETRY_AFTER).await;
        }
    }
}

/// Begins another record in place of one that could not be written.
async fn replace(migration: &Migration, engine: &SharedEngine) {
    let identity = engine.with_record(|record| record.identity().clone());
    let (Some(store), Some(identity)) = (&migration.store, identity) else { return };
    let directory = store.path().to_owned();
    let made = spawn_blocking(move || Record::create(&directory, identity)).await;
    if let Ok(Ok(record)) = made {
        // Not the engine that was asked: a flip may have come between.
        migration.course().standing.route().engine.keep(record);
        info!("the write-intent record is kept again");
    }
}

/// The process ends and both servers are equal, or the record says where they are not.
pub(super) fn close(engine: &SharedEngine) {
    for _ in 0..2 {
        engine.with(Engine::let_settled_groups_go);
    }
    if let Some(Err(error)) = engine.with_record(|record| record.close()) {
        warn!(%error, "the write-intent record could not be closed");
    }
}
