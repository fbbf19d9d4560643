//! What stands in the way of a flip: what it is, and whether force passes it.

use std::fmt;
use std::time::Duration;

use super::{Halt, Keys, Left, Serving, Standing};
use crate::status::{Phase, Side, VerifyState};

/// What stands around the phase, as it was found last.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Facts {
    pub(in crate::control) now: Duration,
    pub(in crate::control) secondary: Secondary,
    pub(in crate::control) left: Left,
    pub(in crate::control) verify: VerifyState,
    /// Whether the phase would survive a crash.
    pub(in crate::control) is_durable: bool,
    /// What else was found: keys, code, users, writers, the record.
    pub(in crate::control) found: Vec<Blocker>,
}

/// How the side that follows can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) enum Secondary {
    #[default]
    Connected,
    /// It answers, or nobody has tried yet; nothing can be carried over now.
    Connecting,
    Away,
    Replica,
}

/// One thing in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum Blocker {
    /// Nothing is mirrored from this side.
    Halted(Side, Halt),
    /// How much is left.
    Backfilling(String),
    CopyingAgain(String),
    Phase(Phase),
    SecondaryIsReplica(Side),
    SecondaryIsAway(Side),
    Verify(VerifyState),
    NotDurable,
    /// Why the write-intent record can't be written.
    Record(String),
    /// Keys that the other side can't hold.
    LeftOut(String),
    /// Keys that no copy can keep up with.
    Restless(String),
    /// Function libraries.
    Code(String),
    /// Calls that the primary has counted and nobody here has sent.
    ForeignCalls(String),
    /// A connection that goes round the proxy, a user whom the target lacks, a source that refuses
    /// the marker.
    Seen(String),
    /// The operator's own program says no.
    Hook(String),
}

impl Blocker {
    /// Whether it is about certainty only, so that `force` passes over it.
    pub(in crate::control) fn yields_to_force(&self) -> bool {
        match self {
            Self::Halted(_, halt) => matches!(halt, Halt::Emptied(..)),
            Self::Backfilling(_)
            | Self::CopyingAgain(_)
            | Self::Phase(_)
            | Self::SecondaryIsReplica(_)
            | Self::SecondaryIsAway(_) => false,
            _ => true,
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted(primary, halt) => f.write_str(&halt.describe(*primary)),
            Self::Backfilling(left) => write!(f, "the backfill has not finished: {left}"),
            Self::CopyingAgain(left) => write!(f, "keys are being copied again: {left}"),
            Self::Phase(phase) => write!(f, "the phase is {phase}"),
            Self::SecondaryIsReplica(side) => {
                write!(f, "the {side} is a replica now: nothing can be written to it")
            }
            Self::SecondaryIsAway(side) => write!(f, "the {side} is unreachable"),
            Self::Verify(VerifyState::Never) => f.write_str("verify has not run"),
            Self::Verify(VerifyState::Running) => f.write_str("verify is running"),
            Self::Verify(VerifyState::Different) => {
                f.write_str("the last verify found differences")
            }
            Self::Verify(_) => f.write_str("the last verify is stale"),
            Self::NotDurable => {
                f.write_str("no --state-dir: a crash after the flip could not be survived")
            }
            Self::Record(fault) => write!(f, "the write-intent record can't be written: {fault}"),
            Self::LeftOut(text)
            | Self::Restless(text)
            | Self::Code(text)
            | Self::ForeignCalls(text)
            | Self::Seen(text)
            | Self::Hook(text) => f.write_str(text),
        }
    }
}

impl<R: Clone> Standing<R> {
    /// Why a cut-over would be refused now.
    pub(in crate::control) fn blockers(&self, facts: &Facts) -> Vec<Blocker> {
        let mut blockers = Vec::new();
        match self {
            Self::Serving(serving) if serving.primary == Side::Source => {
                blockers.extend(serving.incomplete(facts));
            }
            _ => {
                blockers.push(Blocker::Phase(self.phase()));
                // Whoever looks must see that there is something to decide.
                let emptied = self.serving().filter(|serving| serving.is_emptied());
                blockers.extend(emptied.and_then(|serving| serving.incomplete(facts)));
            }
        }
        let secondary = self.serving().map_or(Side::Source, |serving| serving.primary.other());
        match facts.secondary {
            Secondary::Connected => {}
            Secondary::Replica => blockers.push(Blocker::SecondaryIsReplica(secondary)),
            Secondary::Connecting | Secondary::Away => {
                blockers.push(Blocker::SecondaryIsAway(secondary));
            }
        }
        if facts.verify != VerifyState::Clean {
            blockers.push(Blocker::Verify(facts.verify));
        }
        if !facts.is_durable {
            blockers.push(Blocker::NotDurable);
        }
        blockers.extend(facts.found.iter().cloned());
        blockers
    }
}

impl<R: Clone> Serving<R> {
    /// What the secondary may lack.
    pub(super) fn incomplete(&self, facts: &Facts) -> Option<Blocker> {
        match self.keys {
            Keys::Level => None,
            Keys::Halted(halted) => Some(Blocker::Halted(self.primary, halted.why)),
            Keys::Copying(pass) => {
                let left = facts.left.after(facts.now.saturating_sub(pass.began));
                Some(match self.phase() {
                    Phase::Backfilling => Blocker::Backfilling(left),
                    _ => Blocker::CopyingAgain(left),
                })
            }
        }
    }
}
