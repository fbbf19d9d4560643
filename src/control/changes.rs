//! What has changed between two looks at a migration that is worth a line in the audit.

use super::migration::{Migration, Moment};
use super::phase::Blocker;
use super::picture;
use crate::status::{BackfillState, Cutover, Phase, Side, Status, VerifyState};

/// How everything stood at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) status: Status,
    blockers: Vec<Blocker>,
}

/// Something that happened by itself, or by a wish whose line in the audit has come before.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Another phase.
    Phase(Phase),
    /// Clients have moved.
    Flipped(Cutover),
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
            Self::Flipped(Cutover { to, hold_ms, .. }) => {
                let (to, hold) = (to.unwrap_or_default(), hold_ms.unwrap_or_default());
                ("clients have moved", format!("to the {to}, held for {hold} ms"))
            }
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

impl Look {
    pub(super) fn at(migration: &Migration) -> Self {
        let (status, blockers) = picture::look(migration);
        Self { status, blockers }
    }

    /// How it looks to who knows that the mirror is only just being set up.
    pub(super) fn forgiving(mut self) -> Self {
        (self.status.source.connected, self.status.target.connected) = (true, true);
        self.blockers.retain(|blocker| !matches!(blocker, Blocker::SecondaryIsAway(_)));
        self
    }

    /// What has changed, in the order in which it is told, with the moments that have come between.
    pub(super) fn since(&self, before: &Self, come: &[Moment]) -> Vec<Change> {
        let (was, is) = (&before.status, &self.status);
        let mut changes = Vec::new();
        for (side, was, is) in
            [(Side::Source, &was.source, &is.source), (Side::Target, &was.target, &is.target)]
        {
            if was.connected != is.connected {
                changes.push(Change::Connection(side, is.connected));
            }
        }
        if was.mirror.degraded != is.mirror.degraded {
            changes.push(Change::Degraded(is.mirror.degraded));
        }
        changes.extend(backfill(was, is));
        changes.extend(come.iter().map(|moment| match moment {
            Moment::Phase(phase) => Change::Phase(*phase),
            Moment::Flipped(flip) => Change::Flipped(flip.clone()),
        }));
        changes.extend(verify(was, is));
        changes.extend(self.blockers_but(before).map(Change::Blocker));
        changes.extend(before.blockers_but(self).map(Change::Cleared));
        changes
    }

    /// What stands in the way here, and not there.
    fn blockers_but(&self, other: &Self) -> impl Iterator<Item = String> {
        let worth = self.blockers.iter().filter(|blocker| !blocker.is_routine());
        let new = worth.filter(|one| other.blockers.iter().all(|other| !one.is_like(other)));
        new.map(ToString::to_string)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with_status(status: Status) -> Look {
        Look { status, ..Look::default() }
    }

    fn with_blockers(blockers: &[Blocker]) -> Look {
        Look { blockers: blockers.to_vec(), ..Look::default() }
    }

    #[test]
    fn two_looks_at_the_same_differ_in_nothing() {
        let mut now = Status::default();
        now.clients.commands = 5;
        now.uptime_seconds = 3.0;
        assert_eq!(with_status(now).since(&Look::default(), &[]), []);
    }

    #[test]
    fn a_blocker_is_told_when_it_comes_and_when_it_goes_and_not_when_it_counts_on() {
        let (verify, phase) = (Blocker::Verify(VerifyState::Never), Blocker::Phase(Phase::CutOver));
        let left_out = |count| Blocker::LeftOut(format!("{count} keys like 'a' are left out"));
        let client = Blocker::ForeignClient("a client: x".to_owned());
        let gone = Blocker::NotDurable;
        let one = with_blockers(&[left_out(3), verify, gone.clone()]);
        let two = with_blockers(&[left_out(4), phase, client.clone()]);
        let changes = [Change::Blocker(client.to_string()), Change::Cleared(gone.to_string())];
        assert_eq!(two.since(&one, &[]), changes);
    }

    #[test]
    fn a_verify_that_ends_as_the_one_before_is_told_again() {
        let mut before = Status::default();
        before.verify.state = VerifyState::Clean;
        before.verify.finished_at = Some(1.0);
        let mut now = before.clone();
        now.verify.finished_at = Some(2.0);
        let before = with_status(before);
        let changes = with_status(now.clone()).since(&before, &[]);
        assert!(matches!(changes[..], [Change::Verify(VerifyState::Clean, _)]));
        now.verify.state = VerifyState::Running;
        assert_eq!(with_status(now).since(&before, &[]), []);
    }

    #[test]
    fn the_end_of_a_pass_comes_before_the_phases_that_it_leads_to_and_none_of_them_is_missed() {
        let mut now = Status { phase: Phase::CutOver, ..Status::default() };
        now.backfill.state = BackfillState::Done;
        let phases = [Phase::Mirroring, Phase::CuttingOver, Phase::CutOver];
        let changes = with_status(now).since(&Look::default(), &phases.map(Moment::Phase));
        assert!(matches!(changes[0], Change::Copied(_)));
        assert_eq!(changes[1..], phases.map(Change::Phase));
    }

    #[test]
    fn a_mirror_that_is_being_set_up_is_not_called_away() {
        let look = with_blockers(&[Blocker::SecondaryIsAway(Side::Target)]).forgiving();
        let ready = with_blockers(&[]).forgiving();
        assert_eq!(look.since(&ready, &[]), []);
    }
}
