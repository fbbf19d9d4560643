//! Running passes: the first one, and those that a direction asks for later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::course::Event;
use super::direction::Direction;
use super::libraries;
use super::migration::Migration;
use super::recording::note_processes;
use crate::backfill::Pass;
use crate::engine::Engine;
use crate::engine::ledger::{GROUPS, Groups};
use crate::status::Side;

/// How often a direction is asked whether it needs something.
const LOOK: Duration = Duration::from_millis(100);

/// After so many looks, what stands in the way is looked at again: it may have been settled.
const SECOND_LOOK: u32 = 50;

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

/// Waits while nothing is carried over.
async fn until_mirroring(direction: &Direction) {
    direction.engine.until(|engine| !engine.is_halted()).await;
}

impl Migration {
    /// Runs the passes of a direction until it is stopped.
    pub(super) async fn supervise(
        self: Arc<Self>,
        direction: Arc<Direction>,
        beginning: Beginning,
    ) {
        let stop = direction.stop.clone();
        tokio::select! {
            () = self.keep_equal(&direction, beginning) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn keep_equal(&self, direction: &Direction, beginning: Beginning) {
        until_mirroring(direction).await;
        if beginning != Beginning::Flipped {
            direction.engine.with(Engine::mark_code_stale);
            self.copy_libraries(direction).await;
        }
        // What stopped the mirroring has everything copied again.
        let asked =
            direction.engine.with(|engine| engine.needs_pass().then(|| engine.begin_pass().0));
        let doubtful = asked.unwrap_or_else(|| beginning.doubtful());
        if let Beginning::Resumed(groups) = &beginning {
            info!(groups = groups.len(), of = GROUPS, "groups of keys in doubt are copied again");
        }
        if !doubtful.is_empty() {
            self.pass(direction, &doubtful, beginning == Beginning::Fresh).await;
        }
        let mut looks = 0_u32;
        loop {
            sleep(LOOK).await;
            until_mirroring(direction).await;
            looks = looks.wrapping_add(1);
            let unsettled = looks.is_multiple_of(SECOND_LOOK);
            let blocked = !self.inner.lock().code.is_empty();
            let stale = direction.engine.look(Engine::is_code_stale);
            if blocked && unsettled || stale && !blocked {
                self.copy_libraries(direction).await;
            }
            if unsettled {
                direction.engine.with(Engine::retry_left_out);
            }
            if direction.engine.look(Engine::needs_pass) {
                let (groups, cause) = direction.engine.with(Engine::begin_pass);
                let cause = cause.map_or("dirty keys beyond the buffer", |cause| cause.label());
                info!(cause, groups = groups.len(), "keys are copied again");
                let why = Some(cause.to_owned());
                self.tell(direction, Event::PassBegan(self.now(), why));
                direction.engine.with(Engine::mark_code_stale);
                self.copy_libraries(direction).await;
                self.pass(direction, &groups, false).await;
            }
        }
    }

    /// Makes the libraries of both servers the same. Until that has succeeded they count as dirty.
    async fn copy_libraries(&self, direction: &Direction) {
        let changes = direction.engine.look(Engine::code_changes);
        let is_target = direction.primary.other() == Side::Target;
        // The source had none of its own when it was cut over.
        let known = self.inner.lock().state.spared_libraries.clone();
        let mut spared = if is_target { known.clone() } else { Some(BTreeSet::new()) };
        let copied = libraries::copy(&self.world, direction, &mut spared).await;
        if is_target && spared != known {
            // What can't be kept is found out anew by the next process.
            let _ = self.keep(|state| state.spared_libraries = spared);
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
        self.inner.lock().code = findings;
    }

    /// One pass, and the wait until the secondary has what it appended.
    async fn pass(&self, direction: &Direction, groups: &Groups, fresh: bool) {
        self.tell(direction, Event::PassBegan(self.now(), None));
        let secondary = direction.primary.other();
        let keeps_extras = self.world.keeps_extras(secondary);
        let was_empty = fresh && !keeps_extras;
        let pass = Pass {
            route: direction.copies.clone(),
            secondary: (!was_empty).then(|| self.world.endpoint(secondary).clone()),
            keeps_extras,
            databases: self.world.databases_from(direction.primary),
            doubtful: !fresh,
        };
        pass.run().await;
        direction.engine.until_arrived().await;
        until_mirroring(direction).await;
        if groups.is_full() {
            note_processes(direction);
        }
        info!(keys = self.world.progress.scanned(), "every key has been copied");
        // What must be copied again already is not over.
        if !direction.engine.look(Engine::needs_pass) {
            self.tell(direction, Event::PassDone);
        }
    }
}
