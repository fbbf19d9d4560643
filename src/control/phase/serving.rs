//! What happens while one side serves.

use std::time::Duration;

use super::blocker::{Blocker, Facts};
use super::event::{Consent, Do, Refused};
use super::halt::{Halt, Halted};
use crate::status::{Phase, Side};

/// As `backfill.cause` says it.
const RESYNC: &str = "resync";

/// One side serves, the other follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Serving<R> {
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
    Copying(Copying),
    /// Nothing is carried over; once it is again, everything is copied.
    Halted(Halted),
}

/// A pass over keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Copying {
    began: Duration,
    /// Whether before a cut-over it counts as the backfill. Not if all that is in doubt is known from
    /// the record of an earlier process, or if a flip has left the other side to be filled.
    is_backfill: bool,
}

/// What outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) struct Kept {
    pub(in crate::control) phase: Phase,
    /// Whether the side that serves has come back (nearly) empty, and the operator has not decided.
    pub(in crate::control) emptied: bool,
}

/// What a start has found out about the secondary's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum KeysAtStart {
    /// All are there.
    Level,
    /// Some are in doubt, and it is known which.
    Some(String),
    /// Any may be missing, with a reason if there was an earlier process.
    All(Option<String>),
    /// The side that serves may hold other data than were copied from it.
    Distrusted(String),
}

impl<R: Clone> Serving<R> {
    /// What a start makes of what was kept.
    pub(super) fn start(kept: Kept, found: KeysAtStart, route: R, now: Duration) -> Self {
        let copying = |is_backfill| Keys::Copying(Copying { began: now, is_backfill });
        let stopped = || Keys::Halted(Halted::new(Halt::Unsure, now, kept.emptied));
        let (keys, cause) = match found {
            KeysAtStart::Distrusted(why) => (stopped(), Some(why)),
            _ if kept.emptied => (stopped(), None),
            KeysAtStart::Level => (Keys::Level, None),
            KeysAtStart::Some(why) => (copying(false), Some(why)),
            KeysAtStart::All(why) => (copying(true), why),
        };
        Self { primary: kept.phase.primary(), route, keys, cause }
    }

    /// After a flip; `fill` says since when the side that was left is to be filled.
    pub(super) fn after_flip(
        primary: Side,
        route: R,
        fill: Option<Duration>,
        cause: Option<String>,
    ) -> Self {
        let keys = match fill {
            None => Keys::Level,
            Some(began) => Keys::Copying(Copying { began, is_backfill: false }),
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
            Keys::Copying(copying) => !copying.is_backfill,
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

    /// Why nothing is mirrored, if that is so.
    pub(super) fn halt(&self) -> Option<Halt> {
        match self.keys {
            Keys::Halted(halted) => Some(halted.why),
            Keys::Level | Keys::Copying(_) => None,
        }
    }

    /// Since when keys are being copied, or will have to be.
    pub(super) fn copying_since(&self) -> Option<Duration> {
        match self.keys {
            Keys::Level => None,
            Keys::Copying(copying) => Some(copying.began),
            Keys::Halted(halted) => Some(halted.since),
        }
    }

    /// What the secondary may lack.
    pub(super) fn incomplete(&self, facts: &Facts) -> Option<Blocker> {
        match self.keys {
            Keys::Level => None,
            Keys::Halted(halted) => Some(Blocker::Halted(self.primary, halted.why)),
            Keys::Copying(copying) => {
                let left = facts.left.after(facts.now.saturating_sub(copying.began));
                Some(match self.phase() {
                    Phase::Backfilling => Blocker::Backfilling(left),
                    _ => Blocker::CopyingAgain(left),
                })
            }
        }
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
        self.keys = Keys::Copying(Copying { began: now, is_backfill: true });
        vec![Do::GoOn(self.route.clone()), Do::Show]
    }

    pub(super) fn pass_due(&mut self, began: Duration) -> Vec<Do<R>> {
        if self.keys != Keys::Level {
            return Vec::new();
        }
        self.keys = Keys::Copying(Copying { began, is_backfill: true });
        vec![Do::DoubtVerify, Do::Show]
    }

    pub(super) fn pass_began(&mut self, began: Duration, why: Option<String>) -> Vec<Do<R>> {
        let is_backfill = match self.keys {
            // What was to be copied is, after what stopped the mirroring.
            Keys::Halted(_) => return Vec::new(),
            Keys::Copying(copying) => copying.is_backfill || why.is_some(),
            Keys::Level => true,
        };
        self.keys = Keys::Copying(Copying { began, is_backfill });
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

    /// The operator wants everything copied again.
    pub(super) fn resync(
        &mut self,
        now: Duration,
        consent: Consent,
    ) -> Result<Vec<Do<R>>, Refused> {
        if let Keys::Halted(halted) = self.keys {
            if halted.why == Halt::Replica {
                return Err(Refused::one(halted.why.describe(self.primary)));
            }
            if halted.must_be_decided {
                consent.is_enough(self.primary)?;
            }
        }
        self.keys = Keys::Copying(Copying { began: now, is_backfill: true });
        self.cause = Some(RESYNC.to_owned());
        let route = self.route.clone();
        Ok(vec![Do::DoubtVerify, Do::CopyAll(route.clone()), Do::GoOn(route), Do::Show])
    }
}
