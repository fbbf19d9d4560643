//! Keeps where the migration stands: takes events, makes durable what must last before it takes
//! effect, and does what is to be done.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::direction::Direction;
use super::foreign::{Books, Foreign};
use super::migration::{Inner, Migration};
use super::phase::{Blocker, Do, Facts, Kept, Left, Refused, Secondary, Standing};
use crate::admin::Refusal;
use crate::engine::{Cause, Engine};
use crate::proxy::Stage;
use crate::status::{self, VerifyState};

/// What happens to this migration.
pub(super) type Event = super::phase::Event<Arc<Direction>>;

impl From<Refused> for Refusal {
    fn from(Refused { error, blockers }: Refused) -> Self {
        Self::Conflict { error, blockers }
    }
}

impl Migration {
    /// Since the start of the process.
    pub(super) fn now(&self) -> Duration {
        self.world.started.elapsed()
    }

    /// Takes an event of now. Refused, it has changed nothing.
    pub(super) fn on(&self, event: Event) -> Result<(), Refused> {
        let mut inner = self.inner.lock();
        self.notice(&mut inner);
        self.take(&mut inner, event)
    }

    /// Takes an event of a direction, unless it serves no longer.
    pub(super) fn tell(&self, direction: &Direction, event: Event) {
        let mut inner = self.inner.lock();
        if std::ptr::eq(Arc::as_ptr(inner.standing.route()), direction) {
            self.notice(&mut inner);
            // What has happened is never refused.
            let _ = self.take(&mut inner, event);
        }
    }

    /// What an engine finds out by itself.
    pub(super) fn notice(&self, inner: &mut Inner) {
        let (halted, due) =
            inner.standing.route().engine.with(|engine| (engine.is_halted(), engine.needs_pass()));
        if halted && inner.standing.halt().is_none() {
            let _ = self.take(inner, Event::Stopped(self.now()));
        } else if due && inner.standing.copying_since().is_none() {
            let _ = self.take(inner, Event::PassDue(self.now()));
        }
    }

    fn take(&self, inner: &mut Inner, event: Event) -> Result<(), Refused> {
        let must_last = event.must_last();
        let (next, todo) = inner.standing.clone().on(event)?;
        if let Err(error) = self.keep_standing(inner, next.kept()) {
            if must_last {
                return Err(Refused::one(error));
            }
            warn!(error, "the next process will have to find out by itself where it stands");
        }
        inner.standing = next;
        for one in todo {
            self.perform(inner, one);
        }
        Ok(())
    }

    fn keep_standing(&self, inner: &mut Inner, kept: Kept) -> Result<(), String> {
        let Kept { phase, emptied } = kept;
        if (inner.state.phase, inner.state.emptied) == (phase, emptied) {
            return Ok(());
        }
        self.keep_in(inner, |state| (state.phase, state.emptied) = (phase, emptied))
    }

    fn perform(&self, inner: &mut Inner, todo: Do<Arc<Direction>>) {
        match todo {
            Do::Show => self.show(&inner.standing),
            Do::DoubtVerify => doubt(&mut inner.verify),
            Do::BeginVerify => {
                inner.verify =
                    status::Verify { state: VerifyState::Running, ..status::Verify::default() };
            }
            Do::Report(primary, halt) => {
                let why = halt.describe(primary);
                warn!(%why, "mirroring has stopped");
            }
            Do::GoOn(route) => route.engine.with(Engine::go_on),
            Do::CopyAll(route) => route.engine.with(|engine| engine.void_and_resync(Cause::Resync)),
            Do::Hurry(route, hurry) => route.engine.with(|engine| engine.hurry_copies(hurry)),
            Do::Hold(route) => route.route.pool.hold(true),
            Do::Release(route) => route.route.pool.hold(false),
            Do::Turn(old, new) => self.turn(&old, &new),
            Do::LetGo(route) => let_go(&route),
        }
    }

    /// Clients and whoever looks.
    fn show(&self, standing: &Standing<Arc<Direction>>) {
        self.chronicle.stirred.notify_one();
        let route = standing.route().route.clone();
        let held = standing.is_held();
        let offered = standing.next().map(|next| next.offer.clone());
        self.stage.send_if_modified(|stage| {
            let same = Arc::ptr_eq(&stage.route, &route)
                && stage.held == held
                && stage.next.as_ref().map(Arc::as_ptr) == offered.as_ref().map(Arc::as_ptr);
            if !same {
                *stage = Stage { route, held, next: offered };
            }
            !same
        });
    }

    /// The new direction serves.
    fn turn(&self, old: &Direction, new: &Direction) {
        if let Some(record) = old.engine.take_record() {
            new.engine.keep(record);
        }
        *self.baseline.lock() = None;
        *self.books.lock() = Books::default();
        new.start(&self.world);
        old.stop.cancel();
    }

    /// What stands around the phase now.
    pub(super) fn facts(&self, inner: &mut Inner) -> Facts {
        self.age(inner);
        let progress = &self.world.progress;
        let left = Left {
            scanned: progress.scanned(),
            estimate: progress.estimate(),
            is_paused: progress.is_paused(),
        };
        Facts {
            now: self.now(),
            secondary: self.secondary(inner.standing.route()),
            left,
            verify: inner.verify.state,
            is_durable: self.store.is_some(),
            found: found(inner),
        }
    }

    fn secondary(&self, direction: &Direction) -> Secondary {
        let answers = self.secondary_answers.load(std::sync::atomic::Ordering::Relaxed);
        match direction.peer.is_connected() {
            _ if direction.peer.is_replica() => Secondary::Replica,
            true => Secondary::Connected,
            false if answers => Secondary::Connecting,
            false => Secondary::Away,
        }
    }

    /// Whether the side that is left by the flip under way is to be filled.
    pub(super) fn fills(&self) -> bool {
        self.inner.lock().standing.fills()
    }
}

fn found(inner: &Inner) -> Vec<Blocker> {
    let direction = inner.standing.route();
    let mut found: Vec<Blocker> = Vec::new();
    found.extend(super::recording::status(&direction.engine).error.map(Blocker::Record));
    found.extend(direction.left_out().into_iter().map(Blocker::LeftOut));
    found.extend(direction.restless().into_iter().map(Blocker::Restless));
    found.extend(inner.code.iter().cloned().map(Blocker::Code));
    found.extend(inner.foreign.iter().map(Foreign::describe).map(Blocker::ForeignCalls));
    found.extend(inner.findings.iter().cloned().map(Blocker::Seen));
    found
}

fn let_go(direction: &Direction) {
    direction.route.authority.let_go();
    direction.stop.cancel();
    direction.engine.with(Engine::let_go);
    if let Some(record) = direction.engine.take_record() {
        record.discard();
    }
    info!("the source has been let go");
}

/// A verify that says nothing of now.
pub(super) fn doubt(verify: &mut status::Verify) {
    if matches!(verify.state, VerifyState::Clean | VerifyState::Different) {
        verify.state = VerifyState::Stale;
    }
}
