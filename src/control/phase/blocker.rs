//! What stands in the way of a flip: what it is, and whether force passes it.

use std::fmt;
use std::mem::discriminant;
use std::time::Duration;

use super::halt::Halt;
use crate::status::{Phase, Side, VerifyState};

/// What stands around the phase, as it was found last.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Facts {
    pub(in crate::control) now: Duration,
    pub(in crate::control) secondary: Secondary,
    pub(in crate::control) left: Remaining,
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

/// How far a pass has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Remaining {
    pub(in crate::control) scanned: u64,
    /// Of so many, as far as the server knows.
    pub(in crate::control) estimate: u64,
    pub(in crate::control) is_paused: bool,
}

impl Remaining {
    /// In words, when it has run for so long.
    pub(super) fn after(self, elapsed: Duration) -> String {
        let left = self.estimate.saturating_sub(self.scanned);
        let rate = self.scanned as f64 / elapsed.as_secs_f64().max(0.001);
        match (self.is_paused, left) {
            (true, _) => format!("about {left} keys are left, and it is paused"),
            (false, 0) if self.scanned == 0 => "it has just begun".to_owned(),
            (false, 0) => "the last keys are on their way, in a moment it is done".to_owned(),
            (false, _) if rate < 1.0 => format!("about {left} keys are left"),
            (false, _) => format!("about {left} keys are left, some {:.0} s", left as f64 / rate),
        }
    }
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
    /// A connection that goes round the proxy.
    ForeignClient(String),
    /// A user of the source whom the target lacks.
    NoUser(String),
    /// One who has other rights or passwords there.
    OtherUser(String),
    /// The target does not tell its users.
    UsersUntold,
    /// The source refuses writes, and so the marker: its error.
    RefusesWrites(String),
    /// What clients do that the target would refuse.
    Rehearsed(String),
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

impl Blocker {
    /// Whether it only says how far a migration has come: it comes and goes by itself.
    pub(in crate::control) fn is_routine(&self) -> bool {
        matches!(
            self,
            Self::Backfilling(_) | Self::CopyingAgain(_) | Self::Phase(_) | Self::Verify(_)
        )
    }

    /// Whether it is the same thing as another, which may only have counted on since.
    pub(in crate::control) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NoUser(one), Self::NoUser(two))
            | (Self::OtherUser(one), Self::OtherUser(two))
            | (Self::Code(one), Self::Code(two))
            | (Self::Rehearsed(one), Self::Rehearsed(two)) => one == two,
            (Self::Halted(side, one), Self::Halted(other, two)) => {
                side == other && discriminant(one) == discriminant(two)
            }
            _ => discriminant(self) == discriminant(other),
        }
    }

    /// What to do about it.
    pub(in crate::control) fn remedy(&self) -> &'static str {
        match self {
            Self::Halted(_, halt) => halt.remedy(),
            Self::Backfilling(_) => {
                "Wait; `crossfade resume --rate 0` lifts the limit of keys a second."
            }
            Self::CopyingAgain(_) => "Wait; the cause stands beside the copy.",
            Self::Phase(_) => "There is nothing to cut over now.",
            Self::SecondaryIsReplica(_) => "Promote it (REPLICAOF NO ONE).",
            Self::SecondaryIsAway(_) => {
                "Mend that server or the network; crossfade connects again by itself."
            }
            Self::Verify(VerifyState::Never) => "Verify: it compares every key of both servers.",
            Self::Verify(VerifyState::Running) => "Wait until it ends.",
            Self::Verify(VerifyState::Different) => {
                "They were repaired. Find out where they came from, then verify again."
            }
            Self::Verify(_) => "Verify again: something has happened since.",
            Self::NotDurable => {
                "Restart with --state-dir, or force it and accept that a crash cannot be resumed."
            }
            Self::Record(_) => "Make room on the disk of the state directory; it clears by itself.",
            Self::LeftOut(_) => {
                "Give that server the type (a module, a newer version), or delete those keys."
            }
            Self::Restless(_) => "Wait until they are left alone for a moment, or force it.",
            Self::Code(_) => "Drop that library on the target, or load the source's there.",
            Self::ForeignCalls(_) => {
                "Find that writer (MONITOR on the source), move it here, then verify."
            }
            Self::ForeignClient(_) => "Move that client to crossfade's address, then verify.",
            Self::NoUser(_) => {
                "Create that user on the target with the same rights and passwords (ACL SETUSER)."
            }
            Self::OtherUser(_) => {
                "Give that user the same rights and passwords on the target (ACL SETUSER)."
            }
            Self::UsersUntold => "Let crossfade's user run ACL LIST on the target, or force it.",
            Self::RefusesWrites(_) => {
                "Mend what its error names, or force the cut-over, which then goes without the marker."
            }
            Self::Rehearsed(_) => {
                "Give the target what it lacks there, or have the application do without: \
                 deploy/RUNBOOK.md has more. Forced, the cut-over goes without, and that fails."
            }
            Self::Hook(_) => "The reason is the hook's own; mend what it names.",
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
            Self::NoUser(user) => write!(f, "the target lacks the user '{user}'"),
            Self::OtherUser(user) => {
                write!(f, "the user '{user}' has other rights or passwords on the target")
            }
            Self::UsersUntold => f.write_str("the target does not tell its users (ACL LIST)"),
            Self::RefusesWrites(error) => {
                write!(f, "the source refuses writes, and so the marker of a cut-over: {error}")
            }
            Self::Hook(reason) => write!(f, "the hook before-cutover refuses: {reason}"),
            Self::LeftOut(text)
            | Self::Restless(text)
            | Self::Code(text)
            | Self::ForeignCalls(text)
            | Self::ForeignClient(text)
            | Self::Rehearsed(text) => f.write_str(text),
        }
    }
}

impl Facts {
    /// What is in the way besides keys that are missing there, when this side follows.
    pub(super) fn around(&self, secondary: Side) -> Vec<Blocker> {
        let away = match self.secondary {
            Secondary::Connected => None,
            Secondary::Replica => Some(Blocker::SecondaryIsReplica(secondary)),
            Secondary::Connecting | Secondary::Away => Some(Blocker::SecondaryIsAway(secondary)),
        };
        let unproven = (self.verify != VerifyState::Clean).then_some(Blocker::Verify(self.verify));
        let fragile = (!self.is_durable).then_some(Blocker::NotDurable);
        let around = [away, unproven, fragile].into_iter().flatten();
        around.chain(self.found.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_with_the_time_that_it_takes() {
        let after = |scanned, estimate, is_paused| {
            Remaining { scanned, estimate, is_paused }.after(Duration::from_secs(10))
        };
        assert_eq!(after(0, 0, false), "it has just begun");
        assert_eq!(after(100, 300, false), "about 200 keys are left, some 20 s");
        assert_eq!(after(0, 300, false), "about 300 keys are left");
        assert_eq!(after(100, 300, true), "about 200 keys are left, and it is paused");
        assert!(after(301, 300, false).starts_with("the last keys are on their way"));
    }
}
