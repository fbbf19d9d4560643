//! What has changed between two looks at a migration that is worth a line in the audit.

use crate::status::{BackfillState, Phase, Side, Status, VerifyState};

/// Blockers that only say how far a migration has come: they come and go by themselves.
const ROUTINE: [&str; 7] = [
    "the backfill has not finished",
    "keys are being copied again",
    "verify has not run",
    "verify is running",
    "the last verify is stale",
    "the last verify found differences",
    "the phase is",
];

/// Something that happened by itself, or by a wish whose line in the audit has come before.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Another phase.
    Phase(Phase),
    /// Keys are copied again, for this reason, or all are copied.
    Copying(String),
    /// All are copied.
    Copied(String),
    /// A comparison ended, or is worth nothing any more.
    Verify(VerifyState, String),
    /// Something new stands in the way.
    Blocker(String),
    /// Something that stood in the way is gone.
    Cleared(String),
    /// A server can be talked to again, or no longer.
    Connection(Side, bool),
    /// Answers no longer wait for the secondary, or do again.
    Degraded(bool),
}

impl Change {
    /// As a line of the audit has it: what, and what came of it.
    pub(super) fn describe(&self) -> (&'static str, String) {
        match self {
            Self::Phase(phase) => ("phase", phase.to_string()),
            Self::Copying(cause) => ("keys are copied again", cause.clone()),
            Self::Copied(counts) => ("every key is copied", counts.clone()),
            Self::Verify(state, counts) => ("verify", format!("{}; {counts}", state.name())),
            Self::Blocker(blocker) => ("blocker", blocker.clone()),
            Self::Cleared(blocker) => ("blocker is gone", blocker.clone()),
            Self::Connection(side, true) => ("connection", format!("the {side} is reached")),
            Self::Connection(side, false) => ("connection", format!("the {side} is lost")),
            Self::Degraded(true) => ("degraded", "writes no longer wait for both".to_owned()),
            Self::Degraded(false) => ("degraded", "over: writes wait for both".to_owned()),
        }
    }
}

/// What has changed, in the order in which it is told.
pub(super) fn between(before: &Status, now: &Status) -> Vec<Change> {
    let mut changes = Vec::new();
    for (side, was, is) in
        [(Side::Source, &before.source, &now.source), (Side::Target, &before.target, &now.target)]
    {
        if was.connected != is.connected {
            changes.push(Change::Connection(side, is.connected));
        }
    }
    if before.mirror.degraded != now.mirror.degraded {
        changes.push(Change::Degraded(now.mirror.degraded));
    }
    changes.extend(backfill(before, now));
    if before.phase != now.phase {
        changes.push(Change::Phase(now.phase));
    }
    changes.extend(verify(before, now));
    let unlike = |others: &Status, blocker: &str| {
        !is_routine(blocker) && others.blockers.iter().all(|other| stem(other) != stem(blocker))
    };
    let new = now.blockers.iter().filter(|blocker| unlike(before, blocker));
    changes.extend(new.cloned().map(Change::Blocker));
    let gone = before.blockers.iter().filter(|blocker| unlike(now, blocker));
    changes.extend(gone.cloned().map(Change::Cleared));
    changes
}

fn backfill(before: &Status, now: &Status) -> Option<Change> {
    let (was, is) = (before.backfill.state, now.backfill.state);
    let again = || now.backfill.cause.clone().unwrap_or_else(|| "some of them".to_owned());
    match (was == BackfillState::Done, is == BackfillState::Done) {
        (true, false) => Some(Change::Copying(again())),
        (false, true) => {
            let (copied, recopied) = (now.backfill.copied, now.backfill.recopied);
            Some(Change::Copied(format!("{copied} copied, {recopied} again")))
        }
        _ => None,
    }
}

fn verify(before: &Status, now: &Status) -> Option<Change> {
    let (was, is) = (&before.verify, &now.verify);
    let changed = was.state != is.state || was.finished_at != is.finished_at;
    let counts = format!(
        "{} checked, {} missing, {} extra, {} different, {} repaired",
        is.checked, is.missing, is.extra, is.different, is.repaired
    );
    (changed && is.state != VerifyState::Running).then_some(Change::Verify(is.state, counts))
}

fn is_routine(blocker: &str) -> bool {
    ROUTINE.iter().any(|routine| blocker.starts_with(routine))
}

/// What a blocker begins with, up to where it counts something or names somebody.
fn stem(blocker: &str) -> &str {
    let end = blocker.find(|letter: char| letter == ':' || letter.is_ascii_digit());
    end.and_then(|end| blocker.get(..end)).unwrap_or(blocker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_blockers(blockers: &[&str]) -> Status {
        let blockers = blockers.iter().map(|blocker| (*blocker).to_owned()).collect();
        Status { blockers, ..Status::default() }
    }

    #[test]
    fn two_looks_at_the_same_differ_in_nothing() {
        let mut now = Status::default();
        now.clients.commands = 5;
        now.uptime_seconds = 3.0;
        assert_eq!(between(&Status::default(), &now), []);
    }

    #[test]
    fn a_blocker_is_told_when_it_comes_and_when_it_goes_and_not_when_it_counts_on() {
        let one = with_blockers(&["3 keys are left", "verify has not run", "the target is full"]);
        let two = with_blockers(&["4 keys are left", "the phase is cut_over", "a client: x"]);
        let blocker = Change::Blocker("a client: x".to_owned());
        assert_eq!(between(&one, &two), [blocker, Change::Cleared("the target is full".into())]);
    }

    #[test]
    fn a_verify_that_ends_as_the_one_before_is_told_again() {
        let mut before = Status::default();
        before.verify.state = VerifyState::Clean;
        before.verify.finished_at = Some(1.0);
        let mut now = before.clone();
        now.verify.finished_at = Some(2.0);
        assert!(matches!(between(&before, &now)[..], [Change::Verify(VerifyState::Clean, _)]));
        now.verify.state = VerifyState::Running;
        assert_eq!(between(&before, &now), []);
    }

    #[test]
    fn the_end_of_a_pass_comes_before_the_phase_that_it_leads_to() {
        let mut now = Status { phase: Phase::Mirroring, ..Status::default() };
        now.backfill.state = BackfillState::Done;
        let changes = between(&Status::default(), &now);
        assert!(matches!(changes[..], [Change::Copied(_), Change::Phase(Phase::Mirroring)]));
    }
}
