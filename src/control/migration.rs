//! The owner of where the migration stands: takes events, makes durable what must last before it takes
//! effect, and does what is to be done.
//!
//! *Guarantees:* the phase is durable before it takes effect; each phase that it comes to is told
//! to the chronicle, however short.
//!
//! *Must not know:* what makes events.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc, watch};
use tracing::{info, warn};

use super::foreign::Foreign;
use super::phase::{Blocker, Do, Kept, Refused, Standing};
use super::state::{State, StateDir};
use crate::admin::Refusal;
use crate::check::rehearsal::Rehearsal;
use crate::engine::{Cause, Engine};
use crate::metrics::{Metrics, Totals};
use crate::pipeline::{Direction, Environment};
use crate::proxy::{self, Registry, Stage};
use crate::status::{self, Phase, Side, VerifyState};

/// What happens to this migration.
pub(super) type Event = super::phase::Event<Arc<Direction>>;

/// Moments that are not told yet: more than some flips and their ways back.
const UNTOLD: usize = 64;

/// What a look now and then could miss.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Moment {
    /// Another phase.
    Phase(Phase),
    /// Clients have moved.
    Flipped(status::Cutover),
}

impl From<Refused> for Refusal {
    fn from(Refused { error, blockers }: Refused) -> Self {
        Self::Conflict { error, blockers }
    }
}

/// One migration.
#[derive(Debug)]
pub(super) struct Migration {
    pub(super) env: Arc<Environment>,
    pub(super) store: Option<StateDir>,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clients: OnceLock<Arc<proxy::Shared>>,
    /// Something has changed that is worth a look at once.
    pub(super) changed: Notify,
    /// What clients do that the target would refuse.
    pub(super) rehearsal: Arc<Rehearsal>,
    course: Mutex<Course>,
    moments: mpsc::Sender<Moment>,
}

/// What changes in the course of it.
#[derive(Debug)]
pub(super) struct Course {
    state: State,
    pub(super) standing: Standing<Arc<Direction>>,
    pub(super) verify: status::Verify,
    /// When the last one ended. Its time in the status is for people: that clock may be set.
    pub(super) verified: Option<Instant>,
    pub(super) cutover: status::Cutover,
    pub(super) seen: Seen,
}

/// What looks at both servers have found.
#[derive(Debug)]
pub(super) struct Seen {
    /// Whether the primary answered when it was asked last.
    pub(super) primary_answers: bool,
    pub(super) secondary_answers: bool,
    /// Clients, users, a source that refuses the marker.
    pub(super) blockers: Vec<Blocker>,
    /// What others wrote round the proxy since the last clean verify.
    pub(super) foreign: Option<Foreign>,
    /// When it was last seen that somebody writes round the proxy.
    pub(super) last_foreign: Option<Instant>,
    /// Function libraries that the secondary cannot be given.
    pub(super) code: Vec<String>,
}

impl Course {
    /// As it begins: whoever has copied before knows nothing of now.
    pub(super) fn new(state: State, standing: Standing<Arc<Direction>>, resumed: bool) -> Self {
        let verified = if resumed { VerifyState::Stale } else { VerifyState::Never };
        Self {
            state,
            standing,
            verify: status::Verify { state: verified, ..Default::default() },
            verified: None,
            cutover: status::Cutover::default(),
            seen: Seen {
                primary_answers: true,
                secondary_answers: true,
                blockers: Vec::new(),
                foreign: None,
                last_foreign: None,
                code: Vec::new(),
            },
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// A verify that was made says nothing of now.
    pub(super) fn doubt_verify(&mut self) {
        if matches!(self.verify.state, VerifyState::Clean | VerifyState::Different) {
            self.verify.state = VerifyState::Stale;
        }
    }
}

impl Migration {
    /// A migration, and the moments of it that are to be told.
    pub(super) fn new(
        env: Arc<Environment>,
        store: Option<StateDir>,
        course: Course,
    ) -> (Arc<Self>, mpsc::Receiver<Moment>) {
        let (moments, told) = mpsc::channel(UNTOLD);
        let route = course.standing.route().route.clone();
        let migration = Self {
            env,
            store,
            stage: watch::Sender::new(Stage { route, held: false, next: None }),
            metrics: Arc::new(Metrics::install()),
            clients: OnceLock::new(),
            changed: Notify::new(),
            rehearsal: Arc::default(),
            course: Mutex::new(course),
            moments,
        };
        (Arc::new(migration), told)
    }

    /// Since the start of the process.
    pub(super) fn now(&self) -> Duration {
        self.env.started.elapsed()
    }

    /// How it stands now. Whoever holds this takes no other lock of control's before it.
    pub(super) fn course(&self) -> MutexGuard<'_, Course> {
        let mut course = self.course.lock();
        self.notice(&mut course);
        course
    }

    /// The direction that serves now.
    pub(super) fn direction(&self) -> Arc<Direction> {
        self.course.lock().standing.route().clone()
    }

    pub(super) fn phase(&self) -> Phase {
        self.course().standing.phase()
    }

    pub(super) fn registry(&self) -> Option<&Registry> {
        self.clients.get().map(|shared| &shared.registry)
    }

    /// What clients have done.
    pub(super) fn totals(&self) -> Totals {
        self.registry().map(Registry::totals).unwrap_or_default()
    }

    /// Takes an event of now. Refused, it has changed nothing.
    pub(super) fn on(&self, event: Event) -> Result<(), Refused> {
        self.take(&mut self.course(), event)
    }

    /// Takes an event of a direction, unless it serves no longer.
    pub(super) fn tell(&self, direction: &Direction, event: Event) {
        let mut course = self.course();
        if std::ptr::eq(Arc::as_ptr(course.standing.route()), direction) {
            // What has happened is never refused.
            let _ = self.take(&mut course, event);
        }
    }

    /// What an engine finds out by itself.
    fn notice(&self, course: &mut Course) {
        let (halted, due) =
            course.standing.route().engine.with(|engine| (engine.is_halted(), engine.needs_pass()));
        if halted && course.standing.halt().is_none() {
            let _ = self.take(course, Event::Stopped(self.now()));
        } else if due && course.standing.copying_since().is_none() {
            let _ = self.take(course, Event::PassDue(self.now()));
        }
    }

    fn take(&self, course: &mut Course, event: Event) -> Result<(), Refused> {
        let must_last = event.must_last();
        let (next, todo) = course.standing.clone().on(event)?;
        if let Err(error) = self.keep_standing(course, next.kept()) {
            if must_last {
                return Err(Refused::one(error));
            }
            warn!(error, "the next process will have to find out by itself where it stands");
        }
        let before = std::mem::replace(&mut course.standing, next).phase();
        let phase = course.standing.phase();
        if phase != before {
            self.note(Moment::Phase(phase));
        }
        for one in todo {
            self.perform(course, one);
        }
        Ok(())
    }

    /// Clients have moved. All of it at once: who looks takes it for that of one flip.
    pub(super) fn flipped(&self, flip: status::Cutover) {
        self.course.lock().cutover = flip.clone();
        self.note(Moment::Flipped(flip));
        self.changed.notify_one();
    }

    fn note(&self, moment: Moment) {
        // With so many untold ones nobody has looked for long, and one is missed.
        let _ = self.moments.try_send(moment);
    }

    fn keep_standing(&self, course: &mut Course, kept: Kept) -> Result<(), String> {
        let Kept { phase, emptied } = kept;
        if (course.state.phase, course.state.emptied) == (phase, emptied) {
            return Ok(());
        }
        self.keep_in(course, |state| (state.phase, state.emptied) = (phase, emptied))
    }

    /// Makes a change of the state durable. An error: the state directory does not take it, so it must
    /// not take effect.
    pub(super) fn keep(&self, change: impl FnOnce(&mut State)) -> Result<(), String> {
        self.keep_in(&mut self.course.lock(), change)
    }

    fn keep_in(&self, course: &mut Course, change: impl FnOnce(&mut State)) -> Result<(), String> {
        let mut state = course.state.clone();
        change(&mut state);
        if let Some(store) = &self.store {
            store.save(&state).map_err(|error| error.to_string())?;
        }
        course.state = state;
        Ok(())
    }

    fn perform(&self, course: &mut Course, todo: Do<Arc<Direction>>) {
        match todo {
            Do::Show => self.show(&course.standing),
            Do::DoubtVerify => course.doubt_verify(),
            Do::BeginVerify => {
                course.verify =
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
            Do::LetGo(route) => {
                self.env.let_go.cancel();
                let_go(&route);
            }
        }
    }

    /// Clients and whoever looks.
    fn show(&self, standing: &Standing<Arc<Direction>>) {
        self.changed.notify_one();
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
        match new.primary {
            Side::Source => self.rehearsal.go_on(),
            Side::Target => self.rehearsal.rest(),
        }
        new.start(&self.env);
        old.stop.cancel();
    }
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
