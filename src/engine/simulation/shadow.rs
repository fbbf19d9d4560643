//! Keys that are looked at on both servers, each in its own time, while everything goes on.

use bytes::Bytes;

use super::model::{Entry, Server, Value};
use super::rng::Rng;
use super::trace;
use crate::engine::observed::Unrest;
use crate::engine::{Ends, Engine, KeyRef, Observation, Witness};

/// Keys under way at once, at most.
const LOOKS: usize = 4;
pub(super) const KEYS: [&str; 7] = ["a", "b", "c", "d", "e", "s", "l"];

/// A part of the rule that is left out, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weakness {
    /// This is no reason not to look, and none not to believe it.
    Of(Unrest),
    /// What came and went in between does not matter.
    Change,
    /// The secondary is looked at although it is behind.
    Position,
    /// Keys may end.
    Ends,
}

/// What a server says of keys: when they end, and then what they hold.
struct Said {
    ends: Vec<Ends>,
    values: Option<Vec<Option<Value>>>,
}

/// One look at some keys.
struct Look {
    db: u32,
    witness: Witness,
    began: i64,
    /// The primary's words and the secondary's.
    said: [Option<Said>; 2],
}

/// Those under way.
#[derive(Default)]
pub(super) struct Looks {
    looks: Vec<Look>,
    pub(super) weakness: Option<Weakness>,
}

impl Looks {
    /// Nobody believes in those any more that are under way.
    pub(super) fn forget(&mut self) {
        self.looks.clear();
    }

    /// One begins, goes on, or ends; gives the keys if it finds them different. `times` are those on
    /// the clocks of the servers.
    pub(super) fn go_on(
        &mut self,
        engine: &Engine,
        servers: [&Server; 2],
        times: [i64; 2],
        rng: &mut Rng,
        clock_error: i64,
    ) -> Option<Vec<KeyRef>> {
        if self.looks.is_empty() || self.looks.len() < LOOKS && rng.one_in(4) {
            let keys = (0..=rng.below(2)).map(|_| rng.pick(&KEYS)).collect();
            let look = self.begin(engine, rng.below(2) as u32, keys, times[0]);
            self.looks.extend(look);
            return None;
        }
        let index = rng.below(self.looks.len());
        if self.looks[index].hears(engine, servers, times, self.weakness, rng) {
            return None;
        }
        let look = self.looks.swap_remove(index);
        let margin = times[0] - look.began + 2 * clock_error;
        self.is_alarm(engine, &look, margin).then(|| look.named())
    }

    /// Looks at one key when nothing happens; gives it if it is found different.
    pub(super) fn at_rest(
        &self,
        engine: &Engine,
        servers: [&Server; 2],
        times: [i64; 2],
        (db, key): (u32, Bytes),
        clock_error: i64,
    ) -> Option<KeyRef> {
        let witness = engine.witness(db, [key]).expect("nothing is under way");
        assert!(engine.has_caught_up_with(&witness));
        let mut look = Look { db, witness, began: times[0], said: [None, None] };
        for side in [0, 1] {
            look.ask(side, servers[side], times[side]);
            look.ask(side, servers[side], times[side]);
        }
        self.is_alarm(engine, &look, 2 * clock_error).then(|| look.named().remove(0))
    }

    fn begin(&self, engine: &Engine, db: u32, keys: Vec<&str>, began: i64) -> Option<Look> {
        let keys = keys.into_iter().map(|key| Bytes::copy_from_slice(key.as_bytes()));
        let witness = match self.weakness {
            None => engine.witness(db, keys)?,
            Some(weakness) => {
                let observations = keys.map(|key| engine.key_ref(db, key));
                let observations = observations.map(|named| weakness.observe(engine, &named));
                Witness {
                    observations: observations.collect::<Option<_>>()?,
                    position: engine.positions().0,
                }
            }
        };
        Some(Look { db, witness, began, said: [None, None] })
    }

    fn is_alarm(&self, engine: &Engine, look: &Look, margin: i64) -> bool {
        let believed = match self.weakness {
            None => engine.bears_out(&look.witness),
            Some(weakness) => weakness.bears_out(engine, &look.witness),
        };
        let ends = look.said.iter().flatten().flat_map(|said| &said.ends);
        let certain = self.weakness == Some(Weakness::Ends)
            || !ends.into_iter().any(|ends| ends.is_near(margin));
        let [primary, secondary] = &look.said;
        let values = |said: &Option<Said>| said.as_ref().and_then(|said| said.values.clone());
        believed && certain && values(primary) != values(secondary)
    }
}

impl Look {
    fn named(&self) -> Vec<KeyRef> {
        self.witness.observations.iter().map(|observation| observation.named.clone()).collect()
    }

    /// One of the servers says one thing more; false when there is no more to be said.
    fn hears(
        &mut self,
        engine: &Engine,
        servers: [&Server; 2],
        times: [i64; 2],
        weakness: Option<Weakness>,
        rng: &mut Rng,
    ) -> bool {
        let caught_up = engine.has_caught_up_with(&self.witness);
        let may_ask = caught_up || weakness == Some(Weakness::Position);
        let silent =
            |side: usize| self.said[side].as_ref().is_none_or(|said| said.values.is_none());
        let open: Vec<usize> =
            [0, 1].into_iter().filter(|side| silent(*side) && (*side == 0 || may_ask)).collect();
        if open.is_empty() {
            return silent(1);
        }
        let side = rng.pick(&open);
        self.ask(side, servers[side], times[side]);
        true
    }

    fn ask(&mut self, side: usize, server: &Server, now: i64) {
        let entry = |observation: &Observation| -> Option<&Entry> {
            let entry = server.databases[self.db as usize].get(observation.named.key.as_ref())?;
            entry.expires.is_none_or(|at| at > now).then_some(entry)
        };
        let entries = self.witness.observations.iter().map(entry);
        if let Some(said) = &mut self.said[side] {
            said.values = Some(entries.map(|entry| Some(entry?.value.clone())).collect());
            let (values, db) = (&said.values, self.db);
            trace(|| format!("look at {db}: server {side} holds {values:?}"));
        } else {
            let ends = entries.map(|entry| match entry.map(|entry| entry.expires) {
                None => Ends::Gone,
                Some(None) => Ends::Never,
                Some(Some(at)) => Ends::In(at - now),
            });
            self.said[side] = Some(Said { ends: ends.collect(), values: None });
        }
    }
}

impl Weakness {
    fn observe(self, engine: &Engine, named: &KeyRef) -> Option<Observation> {
        let began = engine.invalidations.now(named.fingerprint);
        self.finds_rest(engine, named).then(|| Observation { named: named.clone(), began })
    }

    fn bears_out(self, engine: &Engine, witness: &Witness) -> bool {
        witness.observations.iter().all(|observation| {
            let unchanged =
                observation.began == engine.invalidations.now(observation.named.fingerprint);
            (unchanged || self == Self::Change) && self.finds_rest(engine, &observation.named)
        })
    }

    fn finds_rest(self, engine: &Engine, named: &KeyRef) -> bool {
        engine.unrest(named).all(|unrest| self == Self::Of(unrest))
    }
}
