//! Which steps pass which in front of one connection that many clients share.
//!
//! *Rule:* a step that has to wait for a key is passed by steps of other clients for other keys. A
//! client's own steps never overtake each other, and two steps for one key keep the order of their
//! coming, whichever client sent them: each takes its place in the lines of its keys when it comes, also when
//! it may not ask yet because its client's earlier one waits. A step that claims
//! everything is not passed.
//!
//! *Guarantees:* every wait is for a step that came earlier, so none waits for ever.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::order::Place;
use super::{ConnId, Engine, Unit};

/// So many steps wait at most; then the next one is not passed.
const MOST: usize = 256;

/// What waits in front of a connection.
pub(crate) trait Passable {
    /// What it claims; `None` for what the order need not know.
    fn unit(&mut self) -> Option<&mut Unit>;

    /// Whose it is. Two of the same client stay in order.
    fn client(&self) -> usize;
}

/// The steps that wait in front of one connection, in the order of their coming.
#[derive(Debug)]
pub(crate) struct Passing<S> {
    conn: ConnId,
    waiting: VecDeque<(Place, S)>,
    /// The next one's; 0 is that of a step that waits alone.
    number: u64,
}

impl<S: Passable> Passing<S> {
    pub(crate) fn new(conn: ConnId) -> Self {
        Self { conn, waiting: VecDeque::new(), number: 1 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a step that has just come may be sent now. If not, [`Self::park`] it.
    pub(crate) fn admits(&mut self, engine: &mut Engine, step: &mut S) -> bool {
        let client = step.client();
        let is_behind = self.waiting.iter().any(|(_, other)| other.client() == client);
        let place = self.place();
        match step.unit() {
            None => !is_behind,
            // Its turn comes when nobody waits any more.
            Some(unit) if unit.everything => {
                self.waiting.is_empty() && engine.begin(self.conn, unit)
            }
            Some(unit) if is_behind => {
                engine.line_up(place, unit);
                false
            }
            Some(unit) => engine.begin_from(place, unit),
        }
    }

    /// Takes a step that was not admitted in, so that others pass it; gives it back when nobody may.
    ///
    /// # Errors
    /// Nobody may pass it, or too many wait.
    pub(crate) fn park(&mut self, mut step: S) -> Result<(), S> {
        if step.unit().is_some_and(|unit| unit.everything) || self.waiting.len() >= MOST {
            return Err(step);
        }
        self.waiting.push_back((self.place(), step));
        self.number += 1;
        Ok(())
    }

    /// Those that may be sent by now.
    pub(crate) fn retry(&mut self, engine: &mut Engine) -> SmallVec<[S; 2]> {
        let (mut admitted, mut behind) = (SmallVec::new(), SmallVec::<[usize; 8]>::new());
        for (place, mut step) in std::mem::take(&mut self.waiting) {
            let client = step.client();
            let is_behind = behind.contains(&client);
            let goes = match step.unit() {
                None => !is_behind,
                Some(unit) if is_behind => {
                    // Lines have dissolved when databases were swapped.
                    engine.line_up(place, unit);
                    false
                }
                Some(unit) => engine.begin_from(place, unit),
            };
            if goes {
                admitted.push(step);
            } else {
                behind.push(client);
                self.waiting.push_back((place, step));
            }
        }
        admitted
    }

    /// The connection is gone; those that waited for it.
    pub(crate) fn into_steps(self) -> impl Iterator<Item = S> {
        self.waiting.into_iter().map(|(_, step)| step)
    }

    fn place(&self) -> Place {
        Place { conn: self.conn, number: self.number }
    }
}
