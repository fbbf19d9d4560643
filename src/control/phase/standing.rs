//! Where the migration stands: what an event makes of it, and what an operator may ask for.

use std::time::Duration;

use super::blocker::{Blocker, Facts, Secondary};
use super::event::{Consent, Do, Event, Refused};
use super::flip::Flipping;
use super::halt::Halt;
use super::serving::{Kept, KeysAtStart, Serving};
use crate::status::{Phase, Side, VerifyState};

/// Phases in which no flip is under way and both sides are kept equal.
const KEPT_EQUAL: [Phase; 3] = [Phase::Backfilling, Phase::Mirroring, Phase::CutOver];

/// Where the migration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum Standing<R> {
    Serving(Serving<R>),
    /// On the way to the other side.
    Flipping(Flipping<R>),
    /// The target serves, and nothing follows.
    Finalized(R),
}

/// What comes of an event.
type Next<R> = Result<(Standing<R>, Vec<Do<R>>), Refused>;

impl<R: Clone> Standing<R> {
    /// What a start makes of what was kept, with the route to the side that [serves](Phase::primary).
    pub(in crate::control) fn start(
        kept: Kept,
        found: KeysAtStart,
        route: R,
        now: Duration,
    ) -> Self {
        if kept.phase == Phase::Finalized {
            return Self::Finalized(route);
        }
        Self::Serving(Serving::start(kept, found, route, now))
    }

    /// The next standing, and what to do; refused, nothing has changed.
    pub(in crate::control) fn on(self, event: Event<R>) -> Next<R> {
        match event {
            Event::Verify(facts) => self.verify(&facts),
            Event::Resync(now, consent) => self.resync(now, consent),
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
            Event::Abandoned => Ok(self.abandoned()),
            Event::Committed(now) => self.committed(now),
        }
    }

    /// The phase, as it is shown.
    pub(in crate::control) fn phase(&self) -> Phase {
        match self {
            Self::Serving(serving) => serving.phase(),
            Self::Flipping(flipping) => flipping.phase(),
            Self::Finalized(_) => Phase::Finalized,
        }
    }

    /// What a restart needs of it.
    pub(in crate::control) fn kept(&self) -> Kept {
        self.serving().map_or(Kept { phase: Phase::Finalized, emptied: false }, Serving::kept)
    }

    /// What clients are served by.
    pub(in crate::control) fn route(&self) -> &R {
        match self {
            Self::Serving(serving) => serving.route(),
            Self::Flipping(flipping) => flipping.from().route(),
            Self::Finalized(route) => route,
        }
    }

    /// What they will be served by, if a flip is being prepared.
    pub(in crate::control) fn next(&self) -> Option<&R> {
        match self {
            Self::Flipping(flipping) => flipping.next(),
            Self::Serving(_) | Self::Finalized(_) => None,
        }
    }

    /// Whether clients wait.
    pub(in crate::control) fn is_held(&self) -> bool {
        matches!(self, Self::Flipping(flipping) if flipping.is_held())
    }

    /// Why nothing is mirrored, if that is so.
    pub(in crate::control) fn halt(&self) -> Option<Halt> {
        self.serving()?.halt()
    }

    /// Whether it is for the operator to decide which side's keys count.
    pub(in crate::control) fn must_be_decided(&self) -> bool {
        self.kept().emptied
    }

    /// Since when keys are being copied, or will have to be.
    pub(in crate::control) fn copying_since(&self) -> Option<Duration> {
        self.serving()?.copying_since()
    }

    /// Why keys were copied again the last time.
    pub(in crate::control) fn cause(&self) -> Option<&String> {
        self.serving()?.cause()
    }

    /// Whether the side that is left by the flip under way is to be filled.
    pub(in crate::control) fn fills(&self) -> bool {
        matches!(self, Self::Flipping(flipping) if flipping.fills())
    }

    /// A flip may go on only as long as the next primary has every key.
    pub(in crate::control) fn may_go_on(&self) -> Result<(), Refused> {
        match self {
            Self::Flipping(flipping) => flipping.may_go_on(),
            Self::Serving(_) | Self::Finalized(_) => Err(Refused::one("no flip is under way")),
        }
    }

    /// Why a cut-over would be refused now.
    pub(in crate::control) fn blockers(&self, facts: &Facts) -> Vec<Blocker> {
        let mut blockers = Vec::new();
        match self {
            Self::Serving(serving) if serving.primary() == Side::Source => {
                blockers.extend(serving.incomplete(facts));
            }
            _ => {
                blockers.push(Blocker::Phase(self.phase()));
                // Whoever looks must see that there is something to decide.
                let emptied = self.serving().filter(|serving| serving.is_emptied());
                blockers.extend(emptied.and_then(|serving| serving.incomplete(facts)));
            }
        }
        let secondary = self.serving().map_or(Side::Source, |serving| serving.primary().other());
        blockers.extend(facts.around(secondary));
        blockers
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

    fn abandoned(self) -> (Self, Vec<Do<R>>) {
        match self {
            Self::Flipping(flipping) => {
                let (serving, todo) = flipping.abandoned();
                (Self::Serving(serving), todo)
            }
            other => (other, Vec::new()),
        }
    }

    fn committed(self, now: Duration) -> Next<R> {
        let Self::Flipping(flipping) = self else {
            return Err(Refused::one("no flip is under way"));
        };
        let (serving, todo) = flipping.committed(now)?.serve();
        Ok((Self::Serving(serving), todo))
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

    fn verify(self, facts: &Facts) -> Next<R> {
        let serving = self.settled("verify runs in mirroring and cut_over, not in", &KEPT_EQUAL)?;
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

    fn resync(self, now: Duration, consent: Consent) -> Next<R> {
        let what = "there is nothing to copy again: the phase is";
        let mut serving = self.settled(what, &KEPT_EQUAL)?;
        let todo = serving.resync(now, consent)?;
        Ok((Self::Serving(serving), todo))
    }

    fn finalize(self) -> Next<R> {
        let what = "finalize leads from cut_over, and the phase is";
        let serving = self.settled(what, &[Phase::CutOver])?;
        if let Some(halt) = serving.halt() {
            return Err(Refused::one(halt.describe(serving.primary())));
        }
        let route = serving.route().clone();
        Ok((Self::Finalized(route.clone()), vec![Do::LetGo(route), Do::Show]))
    }

    /// Begins a flip, or says why not.
    fn flip(self, to: Side, force: bool, facts: &Facts) -> Next<R> {
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
