//! What happens while one side serves, and what an operator may ask for then.

use std::time::Duration;

use super::{
    Acceptance, Blocker, Do, Facts, Flipping, Halt, Halted, Kept, Keys, Next, Pass, Refused,
    Secondary, Serving, Standing, is_nearly_empty,
};
use crate::status::{Phase, Side, VerifyState};

/// As `backfill.cause` says it.
const RESYNC: &str = "resync";

impl Kept {
    /// The side that serves.
    pub(in crate::control) fn primary(self) -> Side {
        match self.phase {
            Phase::CutOver | Phase::Finalized => Side::Target,
            _ => Side::Source,
        }
    }
}

impl<R: Clone> Serving<R> {
    /// After a flip; `fill` says since when the side that was left is to be filled.
    pub(super) fn after_flip(
        primary: Side,
        route: R,
        fill: Option<Duration>,
        cause: Option<String>,
    ) -> Self {
        let keys = match fill {
            None => Keys::Level,
            Some(began) => Keys::Copying(Pass { began, is_backfill: false }),
        };
        Self { primary, route, keys, cause }
    }

    pub(super) fn primary(&self) -> Side {
        self.primary
    }

    pub(super) fn route(&self) -> &R {
        &self.route
    }

    pub(super) fn cause(&self) -> Option<&String> {
        self.cause.as_ref()
    }

    pub(super) fn phase(&self) -> Phase {
        let is_level = match self.keys {
            Keys::Level => true,
            Keys::Copying(pass) => !pass.is_backfill,
            Keys::Halted(_) => false,
        };
        match self.primary {
            Side::Target => Phase::CutOver,
            Side::Source if is_level => Phase::Mirroring,
            Side::Source => Phase::Backfilling,
        }
    }

    pub(super) fn kept(&self) -> Kept {
        let emptied = matches!(self.keys, Keys::Halted(halted) if halted.must_be_decided);
        Kept { phase: self.phase(), emptied }
    }

    pub(super) fn is_level(&self) -> bool {
        self.keys == Keys::Level
    }

    pub(super) fn is_emptied(&self) -> bool {
        matches!(self.keys, Keys::Halted(Halted { why: Halt::Emptied(..), .. }))
    }

    pub(super) fn stopped(&mut self, now: Duration) -> Vec<Do<R>> {
        if matches!(self.keys, Keys::Halted(_)) {
            return Vec::new();
        }
        self.keys = Keys::Halted(Halted::new(Halt::Unsure, now, false));
        vec![Do::DoubtVerify, Do::Show]
    }

    pub(super) fn halted(&mut self, why: Halt, now: Duration) -> Vec<Do<R>> {
        let before = match self.keys {
            Keys::Halted(halted) => halted,
            Keys::Level | Keys::Copying(_) => Halted::new(Halt::Unsure, now, false),
        };
        self.keys = Keys::Halted(Halted::new(why, before.since, before.must_be_decided));
        if let Some(cause) = why.cause() {
            self.cause = Some(cause.to_owned());
        }
        let mut todo = vec![Do::DoubtVerify, Do::Show];
        if before.why == Halt::Unsure && why != Halt::Unsure {
            todo.push(Do::Report(self.primary, why));
        }
        todo
    }

    pub(super) fn recovered(&mut self, now: Duration) -> Vec<Do<R>> {
        if !matches!(self.keys, Keys::Halted(_)) {
            return Vec::new();
        }
        self.keys = Keys::Copying(Pass { began: now, is_backfill: true });
        vec![Do::GoOn(self.route.clone()), Do::Show]
    }

    pub(super) fn pass_due(&mut self, began: Duration) -> Vec<Do<R>> {
        if self.keys != Keys::Level {
            return Vec::new();
        }
        self.keys = Keys::Copying(Pass { began, is_backfill: true });
        vec![Do::DoubtVerify, Do::Show]
    }

    pub(super) fn pass_began(&mut self, began: Duration, why: Option<String>) -> Vec<Do<R>> {
        let is_backfill = match self.keys {
            // What was to be copied is, after what stopped the mirroring.
            Keys::Halted(_) => return Vec::new(),
            Keys::Copying(pass) => pass.is_backfill || why.is_some(),
            Keys::Level => true,
        };
        self.keys = Keys::Copying(Pass { began, is_backfill });
        if why.is_none() {
            return vec![Do::Show];
        }
        self.cause = why;
        vec![Do::DoubtVerify, Do::Show]
    }

    pub(super) fn pass_done(&mut self) -> Vec<Do<R>> {
        if !matches!(self.keys, Keys::Copying(_)) {
            return Vec::new();
        }
        self.keys = Keys::Level;
        vec![Do::Show]
    }
}

/// What operators ask for.
impl<R: Clone> Standing<R> {
    /// The side that serves, or why that can't be changed now.
    fn settled(self, what: &str, from: &[Phase]) -> Result<Serving<R>, Refused> {
        let phase = self.phase();
        match self {
            Self::Flipping(_) => Err(Refused::one("a flip is under way")),
            Self::Serving(serving) if from.contains(&phase) => Ok(serving),
            _ => Err(Refused::one(format!("{what} {phase}"))),
        }
    }

    pub(super) fn verify(self, facts: &Facts) -> Next<R> {
        let all = [Phase::Backfilling, Phase::Mirroring, Phase::CutOver];
        let serving = self.settled("verify runs in mirroring and cut_over, not in", &all)?;
        match serving.incomplete(facts) {
            Some(Blocker::Backfilling(left) | Blocker::CopyingAgain(left)) => {
                Err(Refused::one(format!("keys are still being copied: {left}")))
            }
            Some(blocker) => Err(Refused::one(blocker.to_string())),
            None if facts.verify == VerifyState::Running => {
                Err(Refused::one("a verify is running already"))
            }
            None => Ok((Self::Serving(serving), vec![Do::BeginVerify])),
        }
    }

    pub(super) fn resync(self, now: Duration, acceptance: Acceptance) -> Next<R> {
        let all = [Phase::Backfilling, Phase::Mirroring, Phase::CutOver];
        let what = "there is nothing to copy again: the phase is";
        let mut serving = self.settled(what, &all)?;
        if let Keys::Halted(halted) = serving.keys {
            if halted.why == Halt::Replica {
                return Err(Refused::one(halted.why.describe(serving.primary)));
            }
            if halted.must_be_decided {
                acceptance.is_enough(serving.primary)?;
            }
        }
        serving.keys = Keys::Copying(Pass { began: now, is_backfill: true });
        serving.cause = Some(RESYNC.to_owned());
        let route = serving.route.clone();
        let todo = vec![Do::DoubtVerify, Do::CopyAll(route.clone()), Do::GoOn(route), Do::Show];
        Ok((Self::Serving(serving), todo))
    }

    pub(super) fn finalize(self) -> Next<R> {
        let what = "finalize leads from cut_over, and the phase is";
        let serving = self.settled(what, &[Phase::CutOver])?;
        if let Keys::Halted(halted) = serving.keys {
            return Err(Refused::one(halted.why.describe(serving.primary)));
        }
        let todo = vec![Do::LetGo(serving.route.clone()), Do::Show];
        Ok((Self::Finalized(serving.route), todo))
    }

    /// Begins a flip, or says why not.
    pub(super) fn flip(self, to: Side, force: bool, facts: &Facts) -> Next<R> {
        let serving = match to {
            Side::Target => self.ready_to_cut_over(force, facts)?,
            Side::Source => self.ready_to_roll_back(force, facts)?,
        };
        Ok((Self::Flipping(Flipping::of(serving)), vec![Do::Show]))
    }

    fn ready_to_cut_over(self, force: bool, facts: &Facts) -> Result<Serving<R>, Refused> {
        if matches!(self, Self::Flipping(_)) {
            return Err(Refused::one("a flip is under way"));
        }
        let mut blockers = self.blockers(facts);
        blockers.retain(|blocker| !(force && blocker.yields_to_force()));
        match self {
            Self::Serving(serving) if blockers.is_empty() => Ok(serving),
            _ => Err(Refused::all("not ready to cut over", &blockers)),
        }
    }

    fn ready_to_roll_back(self, force: bool, facts: &Facts) -> Result<Serving<R>, Refused> {
        let what = "rollback leads from cut_over, and the phase is";
        let serving = self.settled(what, &[Phase::CutOver])?;
        match serving.incomplete(facts) {
            Some(Blocker::CopyingAgain(left)) if facts.secondary != Secondary::Away => {
                let error = format!("keys are being copied again to the source: {left}");
                return Err(Refused::one(error));
            }
            Some(Blocker::Halted(..)) if force && serving.is_emptied() => return Ok(serving),
            Some(blocker @ Blocker::Halted(..)) => return Err(Refused::one(blocker.to_string())),
            _ => {}
        }
        let lost = |blocker: &&Blocker| matches!(blocker, Blocker::LeftOut(_));
        let lost: Vec<Blocker> = facts.found.iter().filter(lost).cloned().collect();
        match facts.secondary {
            Secondary::Away => {
                Err(Refused::one(Blocker::SecondaryIsAway(Side::Source).to_string()))
            }
            Secondary::Replica => {
                Err(Refused::one(Blocker::SecondaryIsReplica(Side::Source).to_string()))
            }
            _ if lost.is_empty() => Ok(serving),
            _ => Err(Refused::all("a rollback would lose keys", &lost)),
        }
    }
}

impl Acceptance {
    fn is_enough(self, primary: Side) -> Result<(), Refused> {
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
