//! What happens to a migration, and what is to be done because of it.

use std::time::Duration;

use super::blocker::{Blocker, Facts};
use super::halt::{Halt, is_nearly_empty};
use crate::status::Side;

/// What happens.
#[derive(Clone, Debug)]
pub(in crate::control) enum Event<R> {
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
    Resync(Duration, Consent),
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
pub(in crate::control) enum Consent {
    Accepted,
    /// The keys that the side that serves holds, and the other; `None` when one can't be asked.
    Holding(Option<(u64, u64)>),
}

/// What is to be done because of an event, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum Do<R> {
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
pub(in crate::control) struct Refused {
    /// In one line.
    pub(in crate::control) error: String,
    /// Each reason of its own.
    pub(in crate::control) blockers: Vec<String>,
}

impl Refused {
    pub(in crate::control) fn one(error: impl Into<String>) -> Self {
        let error = error.into();
        Self { blockers: vec![error.clone()], error }
    }

    pub(super) fn all(what: &str, blockers: &[Blocker]) -> Self {
        let blockers: Vec<String> = blockers.iter().map(ToString::to_string).collect();
        Self { error: format!("{what}: {}", blockers.join("; ")), blockers }
    }
}

impl<R> Event<R> {
    /// Whether it must not take effect unless what is kept of it is durable. What comes of the others
    /// is found out anew by the next process.
    pub(in crate::control) fn must_last(&self) -> bool {
        matches!(self, Self::Committed(_) | Self::Finalize | Self::Resync(..))
    }
}

impl Consent {
    pub(super) fn is_enough(self, primary: Side) -> Result<(), Refused> {
        match self {
            Self::Holding(None) => Err(Refused::one("one of the servers can't be asked")),
            Self::Holding(Some((keys, other))) if is_nearly_empty(keys, other) => {
                let halt = Halt::Emptied(keys, other).describe(primary);
                let secondary = primary.other();
                let what = format!("this empties the {secondary}, unless \"accept_empty\": true");
                Err(Refused::one(format!("{what}; {halt}")))
            }
            Self::Accepted | Self::Holding(Some(_)) => Ok(()),
        }
    }
}
