//! A flip, on both sides of the point of no return.

use std::time::Duration;

use super::event::{Do, Refused};
use super::serving::Serving;
use crate::status::{Phase, Side};

/// On the way to the other side, with everything as it was: until it is committed it can be abandoned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Flipping<R> {
    from: Serving<R>,
    next: Option<R>,
    step: FlipStep,
    /// The side that is left has lost its keys, and is to be filled from the other.
    fills: bool,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlipStep {
    /// Clients notice nothing.
    Preparing,
    /// What is left to carry over becomes little.
    Draining,
    /// Clients wait.
    Held,
}

/// The flip has happened: the other side serves, whatever comes.
#[derive(Clone, Debug)]
pub(super) struct Turned<R> {
    before: R,
    serving: Serving<R>,
}

impl<R: Clone> Flipping<R> {
    pub(super) fn of(from: Serving<R>) -> Self {
        let fills = from.is_emptied();
        Self { from, next: None, step: FlipStep::Preparing, fills }
    }

    pub(super) fn from(&self) -> &Serving<R> {
        &self.from
    }

    pub(super) fn origin_mut(&mut self) -> &mut Serving<R> {
        &mut self.from
    }

    pub(super) fn next(&self) -> Option<&R> {
        self.next.as_ref()
    }

    pub(super) fn fills(&self) -> bool {
        self.fills
    }

    pub(super) fn is_held(&self) -> bool {
        self.step == FlipStep::Held
    }

    pub(super) fn phase(&self) -> Phase {
        match (self.step, self.from.primary()) {
            (FlipStep::Preparing, _) => self.from.phase(),
            (FlipStep::Draining | FlipStep::Held, Side::Source) => Phase::CuttingOver,
            (FlipStep::Draining | FlipStep::Held, Side::Target) => Phase::RollingBack,
        }
    }

    /// Keys that are being copied again are keys that the next primary must have, unless it is the
    /// one that has them all.
    pub(super) fn may_go_on(&self) -> Result<(), Refused> {
        if self.fills || self.from.is_level() {
            return Ok(());
        }
        Err(Refused::one("one of the servers was replaced: keys are copied again"))
    }

    pub(super) fn prepared(&mut self, route: R) -> Vec<Do<R>> {
        self.next = Some(route);
        vec![Do::Show]
    }

    pub(super) fn draining(&mut self) -> Vec<Do<R>> {
        self.step = FlipStep::Draining;
        vec![Do::Hurry(self.from.route().clone(), true), Do::Show]
    }

    pub(super) fn held(&mut self) -> Vec<Do<R>> {
        self.step = FlipStep::Held;
        vec![Do::Show, Do::Hold(self.from.route().clone())]
    }

    pub(super) fn released(&mut self) -> Vec<Do<R>> {
        if self.step != FlipStep::Held {
            return Vec::new();
        }
        self.step = FlipStep::Draining;
        vec![Do::Release(self.from.route().clone()), Do::Show]
    }

    /// Everything goes on as it was.
    pub(super) fn abandoned(self) -> (Serving<R>, Vec<Do<R>>) {
        let route = self.from.route();
        let mut todo = vec![Do::Hurry(route.clone(), false)];
        if self.is_held() {
            todo.push(Do::Release(route.clone()));
        }
        todo.push(Do::Show);
        (self.from, todo)
    }

    /// The point of no return.
    pub(super) fn committed(self, now: Duration) -> Result<Turned<R>, Refused> {
        self.may_go_on()?;
        let Self { from, next: Some(route), step: FlipStep::Held, fills } = self else {
            return Err(Refused::one("clients are not held, or there is nowhere to go"));
        };
        let fill = fills.then_some(now);
        let before = from.route().clone();
        let to = from.primary().other();
        let serving = Serving::after_flip(to, route, fill, from.cause().cloned());
        Ok(Turned { before, serving })
    }
}

impl<R: Clone> Turned<R> {
    /// There is only this way.
    pub(super) fn serve(self) -> (Serving<R>, Vec<Do<R>>) {
        let Self { before, serving } = self;
        let mut todo = Vec::new();
        if serving.primary() == Side::Source || !serving.is_level() {
            todo.push(Do::DoubtVerify);
        }
        todo.push(Do::Hurry(before.clone(), false));
        todo.push(Do::Turn(before, serving.route().clone()));
        todo.push(Do::Show);
        (serving, todo)
    }
}
