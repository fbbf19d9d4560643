//! Running the passes of a direction: the first one, and those that it asks for later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::intent_file::{Beginning, note_processes};
use super::migration::{Event, Migration};
use crate::backfill::Pass;
use crate::engine::ledger::{GROUPS, Groups};
use crate::engine::{Cause, Engine};
use crate::pipeline::{Direction, copy_libraries};
use crate::status::Side;

/// How often a direction is asked whether it needs something.
const LOOK: Duration = Duration::from_millis(100);
/// After so many looks, what stands in the way is looked at again: it may have been settled.
const SECOND_LOOK: u32 = 50;

/// Keeps one direction's secondary equal.
struct Supervisor {
    migration: Arc<Migration>,
    direction: Arc<Direction>,
}

/// Runs the passes of the direction that serves until it is stopped.
pub(super) fn supervise(migration: &Arc<Migration>, beginning: Beginning) {
    let supervisor = Supervisor { migration: migration.clone(), direction: migration.direction() };
    let stop = supervisor.direction.stop.clone();
    migration.env.tasks.spawn(async move {
        stop.run_until_cancelled(supervisor.keep_equal(beginning)).await;
    });
}

impl Supervisor {
    async fn keep_equal(&self, beginning: Beginning) {
        let engine = &self.direction.engine;
        self.until_mirroring().await;
        if beginning != Beginning::Flipped {
            // One that was away at the start has first what an earlier process left there ended.
            self.direction.peer.connected().await;
            engine.with(Engine::mark_code_stale);
            self.copy_libraries().await;
        }
        self.first_pass(&beginning).await;
        let mut looks = 0_u32;
        loop {
            sleep(LOOK).await;
            self.until_mirroring().await;
            looks = looks.wrapping_add(1);
            let unsettled = looks.is_multiple_of(SECOND_LOOK);
            let blocked = !self.migration.course().seen.code.is_empty();
            let stale = engine.look(Engine::is_code_stale);
            if blocked && unsettled || stale && !blocked {
                self.copy_libraries().await;
            }
            if unsettled {
                engine.with(Engine::retry_left_out);
            }
            if engine.look(Engine::needs_pass) {
                self.pass_again().await;
            }
        }
    }

    /// Waits while nothing is carried over.
    async fn until_mirroring(&self) {
        self.direction.engine.until(|engine| !engine.is_halted()).await;
    }

    async fn first_pass(&self, beginning: &Beginning) {
        // What stopped the mirroring has everything copied again.
        let engine = &self.direction.engine;
        let asked = engine.with(|engine| engine.needs_pass().then(|| engine.begin_pass().0));
        let doubtful = asked.unwrap_or_else(|| beginning.doubtful());
        if let Beginning::Resumed(groups) = beginning {
            info!(groups = groups.len(), of = GROUPS, "groups of keys in doubt are copied again");
        }
        if !doubtful.is_empty() {
            self.pass(&doubtful, *beginning == Beginning::Fresh).await;
        }
    }

    async fn pass_again(&self) {
        let engine = &self.direction.engine;
        let (groups, cause) = engine.with(Engine::begin_pass);
        let cause = cause.map_or("dirty keys beyond the buffer", Cause::label);
        info!(cause, groups = groups.len(), "keys are copied again");
        self.tell(Event::PassBegan(self.migration.now(), Some(cause.to_owned())));
        engine.with(Engine::mark_code_stale);
        self.copy_libraries().await;
        self.pass(&groups, false).await;
    }

    fn tell(&self, event: Event) {
        self.migration.tell(&self.direction, event);
    }

    /// Makes the libraries of both servers the same. Until that has succeeded they count as dirty.
    async fn copy_libraries(&self) {
        let (migration, direction) = (&self.migration, &self.direction);
        let changes = direction.engine.look(Engine::code_changes);
        let is_target = direction.primary.other() == Side::Target;
        // The source had none of its own when it was cut over.
        let known = migration.course().state().spared_libraries.clone();
        let mut spared = if is_target { known.clone() } else { Some(BTreeSet::new()) };
        let copied = copy_libraries(&migration.env, direction, &mut spared).await;
        if is_target && spared != known {
            // What can't be kept is found out anew by the next process.
            let _ = migration.keep(|state| state.spared_libraries = spared);
        }
        let findings = match copied {
            Ok(findings) => {
                direction.engine.with(|engine| engine.code_is_copied(changes));
                findings
            }
            Err(reason) => {
                warn!(%reason, "function libraries could not be copied");
                vec![format!("function libraries could not be copied: {reason}")]
            }
        };
        migration.course().seen.code = findings;
    }

    /// One pass, and the wait until the secondary has what it appended.
    async fn pass(&self, groups: &Groups, fresh: bool) {
        self.tell(Event::PassBegan(self.migration.now(), None));
        let (env, direction) = (&self.migration.env, &self.direction);
        let secondary = direction.primary.other();
        let keeps_extras = env.keeps_extras(secondary);
        let was_empty = fresh && !keeps_extras;
        let pass = Pass {
            route: direction.copies.clone(),
            secondary: (!was_empty).then(|| env.endpoint(secondary).clone()),
            keeps_extras,
            databases: env.databases_from(direction.primary),
            doubtful: !fresh,
        };
        pass.run().await;
        direction.engine.until_arrived().await;
        self.until_mirroring().await;
        if groups.is_full() {
            note_processes(direction);
        }
        info!(keys = env.progress.scanned(), "every key has been copied");
        // What must be copied again already is not over.
        if !direction.engine.look(Engine::needs_pass) {
            self.tell(Event::PassDone);
        }
    }
}
