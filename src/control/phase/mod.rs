//! Where the migration stands, and what may come next.
//!
//! *What it is:* a [`Standing`] is phase, pass, halt, hold and next route in one value. An [`Event`]
//! makes the next one of it, with things [to do](Do), or is [refused](Refused).
//!
//! *Guarantees:* what is refused has changed nothing. A flip that is not committed gives back what was
//! before it; one that is has no way back but another flip, and the types say so: a [`Flipping`] can
//! be abandoned, a [`Turned`] can only serve.
//!
//! *Must not know:* sockets, tasks, files, clocks. Time comes as a value, since the start of the
//! process; what serves is a handle, `R`.

mod blocker;
mod flip;
mod halt;
mod left;
mod serving;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use blocker::{Blocker, Facts, Secondary};
use flip::{Flipping, Turned};
use halt::Halted;
pub(super) use halt::{Halt, is_nearly_empty};
pub(super) use left::Left;

use crate::status::{Phase, Side};

/// Where the migration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing<R> {
    Serving(Serving<R>),
    /// On the way to the other side.
    Flipping(Flipping<R>),
    /// The target serves, and nothing follows.
    Finalized(R),
}

/// One side serves, the other follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Serving<R> {
    primary: Side,
    route: R,
    keys: Keys,
    /// Why keys were copied again the last time.
    cause: Option<String>,
}

/// What the secondary has of the primary's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Keys {
    /// All of them: only the lag stands between the two.
    Level,
    /// They are being copied, or will be in a moment.
    Copying(Pass),
    /// Nothing is carried over; once it is again, everything is copied.
    Halted(Halted),
}

/// A pass over keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pass {
    began: Duration,
    /// Whether before a cut-over it counts as the backfill. Not if all that is in doubt is known from
    /// the record of an earlier process, or if a flip has left the other side to be filled.
    is_backfill: bool,
}

/// What outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) phase: Phase,
    /// Whether the side that serves has come back (nearly) empty, and the operator has not decided.
    pub(super) emptied: bool,
}

/// What a start has found out about the secondary's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All are there.
    Level,
    /// Some are in doubt, and it is known which.
    Some(String),
    /// Any may be missing, with a reason if there was an earlier process.
    All(Option<String>),
    /// The side that serves may hold other data than were copied from it.
    Distrusted(String),
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Event<R> {
    /// Nothing is mirrored any more, and nobody has looked why.
    Stopped(Duration),
    /// This is why.
    Halted(Halt, Duration),
    /// The side that serves has its keys.
    Recovered(Duration),
    /// Keys must be copied again.
    PassDue(Duration),
    /// Keys are copied, for a reason if it is not the first time.
    PassBegan(Duration, Option<String>),
    PassDone,
    /// The operator wants both sides compared.
    Verify(Facts),
    /// The operator wants everything copied again, and accepts that the side that serves holds so
    /// few keys (`None`: it could not be asked how few).
    Resync(Duration, Acceptance),
    /// The operator wants the clients on this side.
    Flip(Side, bool, Facts),
    /// There is a route to that side.
    Prepared(R),
    /// Everything is ready: as soon as little is left, clients are held.
    Draining,
    Held,
    Released,
    /// Everything is drained, and the servers know. With this the flip has happened.
    Committed(Duration),
    /// What was begun as a flip comes to nothing.
    Abandoned,
    Finalize,
}

/// Whether a resync may empty the secondary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acceptance {
    Accepted,
    /// The keys that the side that serves holds, and the other; `None` when one can't be asked.
    Holding(Option<(u64, u64)>),
}

/// What is to be done because of an event, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Do<R> {
    /// Clients, metrics and whoever looks are told where it stands.
    Show,
    /// The last verify says nothing of now.
    DoubtVerify,
    BeginVerify,
    /// Log why nothing is mirrored.
    Report(Side, Halt),
    /// What is written is carried over again, and everything copied.
    GoOn(R),
    /// Everything is copied again.
    CopyAll(R),
    /// Whether copies hurry, since clients wait for them.
    Hurry(R, bool),
    /// New commands wait.
    Hold(R),
    Release(R),
    /// The second serves from now on, and the first ends.
    Turn(R, R),
    /// Nothing follows this one any more.
    LetGo(R),
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// In one line.
    pub(super) error: String,
    /// Each reason of its own.
    pub(super) blockers: Vec<String>,
}

/// What comes of an event.
type Next<R> = Result<(Standing<R>, Vec<Do<R>>), Refused>;

impl Refused {
    pub(super) fn one(error: impl Into<String>) -> Self {
        let error = error.into();
        Self { blockers: vec![error.clone()], error }
    }

    fn all(what: &str, blockers: &[Blocker]) -> Self {
        let blockers: Vec<String> = blockers.iter().map(ToString::to_string).collect();
        Self { error: format!("{what}: {}", blockers.join("; ")), blockers }
    }
}

impl<R> Event<R> {
    /// Whether it must not take effect unless what is kept of it is durable. What comes of the others
    /// is found out anew by the next process.
    pub(super) fn must_last(&self) -> bool {
        matches!(self, Self::Committed(_) | Self::Finalize | Self::Resync(..))
    }
}

impl<R: Clone> Standing<R> {
    /// What a start makes of what was kept, with the route to the side that [serves](Kept::primary).
    pub(super) fn start(kept: Kept, found: Found, route: R, now: Duration) -> Self {
        if kept.phase == Phase::Finalized {
            return Self::Finalized(route);
        }
        let copying = |is_backfill| Keys::Copying(Pass { began: now, is_backfill });
        let stopped = || Keys::Halted(Halted::new(Halt::Unsure, now, kept.emptied));
        let (keys, cause) = match found {
            Found::Distrusted(why) => (stopped(), Some(why)),
            _ if kept.emptied => (stopped(), None),
            Found::Level => (Keys::Level, None),
            Found::Some(why) => (copying(false), Some(why)),
            Found::All(why) => (copying(true), why),
        };
        Self::Serving(Serving { primary: kept.primary(), route, keys, cause })
    }

    /// The next standing, and what to do; refused, nothing has changed.
    pub(super) fn on(self, event: Event<R>) -> Next<R> {
        match event {
            Event::Verify(facts) => self.verify(&facts),
            Event::Resync(now, acceptance) => self.resync(now, acceptance),
            Event::Flip(to, force, facts) => self.flip(to, force, &facts),
            Event::Finalize => self.finalize(),
            Event::Stopped(now) => Ok(self.with(|serving| serving.stopped(now))),
            Event::Halted(halt, now) => Ok(self.with(|serving| serving.halted(halt, now))),
            Event::Recovered(now) => Ok(self.with(|serving| serving.recovered(now))),
            Event::PassDue(now) => Ok(self.with(|serving| serving.pass_due(now))),
            Event::PassBegan(now, why) => Ok(self.with(|serving| serving.pass_began(now, why))),
            Event::PassDone => Ok(self.with(Serving::pass_done)),
            Event::Prepared(route) => Ok(self.step(|flipping| flipping.prepared(route))),
            Event::Draining => Ok(self.step(Flipping::draining)),
            Event::Held => Ok(self.step(Flipping::held)),
            Event::Released => Ok(self.step(Flipping::released)),
            Event::Abandoned => Ok(match self {
                Self::Flipping(flipping) => flipping.abandoned(),
                other => (other, Vec::new()),
            }),
            Event::Committed(now) => match self {
                Self::Flipping(flipping) => flipping.committed(now).map(Turned::serve),
                _ => Err(Refused::one("no flip is under way")),
            },
        }
    }

    /// The phase, as it is shown.
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Serving(serving) => serving.phase(),
            Self::Flipping(flipping) => flipping.phase(),
            Self::Finalized(_) => Phase::Finalized,
        }
    }

    /// What a restart needs of it.
    pub(super) fn kept(&self) -> Kept {
        match self {
            Self::Finalized(_) => Kept { phase: Phase::Finalized, emptied: false },
            Self::Serving(serving) => serving.kept(),
            Self::Flipping(flipping) => flipping.from().kept(),
        }
    }

    /// What clients are served by.
    pub(super) fn route(&self) -> &R {
        match self {
            Self::Serving(serving) => &serving.route,
            Self::Flipping(flipping) => &flipping.from().route,
            Self::Finalized(route) => route,
        }
    }

    /// What they will be served by, if a flip is being prepared.
    pub(super) fn next(&self) -> Option<&R> {
        match self {
            Self::Flipping(flipping) => flipping.next(),
            Self::Serving(_) | Self::Finalized(_) => None,
        }
    }

    /// Whether clients wait.
    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Flipping(flipping) if flipping.is_held())
    }

    /// Why nothing is mirrored, if that is so.
    pub(super) fn halt(&self) -> Option<Halt> {
        match self.serving()?.keys {
            Keys::Halted(halted) => Some(halted.why),
            Keys::Level | Keys::Copying(_) => None,
        }
    }

    /// Whether it is for the operator to decide which side's keys count.
    pub(super) fn must_be_decided(&self) -> bool {
        self.kept().emptied
    }

    /// Since when keys are being copied, or will have to be.
    pub(super) fn copying_since(&self) -> Option<Duration> {
        match self.serving()?.keys {
            Keys::Level => None,
            Keys::Copying(pass) => Some(pass.began),
            Keys::Halted(halted) => Some(halted.since),
        }
    }

    /// Why keys were copied again the last time.
    pub(super) fn cause(&self) -> Option<&String> {
        self.serving()?.cause.as_ref()
    }

    /// Whether the side that is left by the flip under way is to be filled.
    pub(super) fn fills(&self) -> bool {
        matches!(self, Self::Flipping(flipping) if flipping.fills())
    }

    /// A flip may go on only as long as the next primary has every key.
    pub(super) fn may_go_on(&self) -> Result<(), Refused> {
        match self {
            Self::Flipping(flipping) => flipping.may_go_on(),
            Self::Serving(_) | Self::Finalized(_) => Err(Refused::one("no flip is under way")),
        }
    }

    /// Who serves and who follows, also while that is being changed.
    fn serving(&self) -> Option<&Serving<R>> {
        match self {
            Self::Serving(serving) => Some(serving),
            Self::Flipping(flipping) => Some(flipping.from()),
            Self::Finalized(_) => None,
        }
    }

    /// What happens to keys happens in the middle of a flip, too.
    fn with(mut self, change: impl FnOnce(&mut Serving<R>) -> Vec<Do<R>>) -> (Self, Vec<Do<R>>) {
        let todo = match &mut self {
            Self::Serving(serving) => change(serving),
            Self::Flipping(flipping) => change(flipping.origin_mut()),
            Self::Finalized(_) => Vec::new(),
        };
        (self, todo)
    }

    /// A step of a flip; one that is late, since the flip is over, is no step.
    fn step(mut self, change: impl FnOnce(&mut Flipping<R>) -> Vec<Do<R>>) -> (Self, Vec<Do<R>>) {
        let todo = match &mut self {
            Self::Flipping(flipping) => change(flipping),
            Self::Serving(_) | Self::Finalized(_) => Vec::new(),
        };
        (self, todo)
    }
}
