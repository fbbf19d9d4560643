//! Who looks at keys on both servers, and who writes to the secondary behind the engine's back.

use std::collections::BTreeSet;

use super::World;
use crate::engine::simulation::copier::is_scratch;
use crate::engine::simulation::habits::CLOCK_ERROR;
use crate::engine::simulation::model::{DATABASES, Entry, Value};
use crate::engine::simulation::shadow::{KEYS, Weakness};
use crate::engine::simulation::trace;
use crate::engine::{Cause, KeyRef};

impl World {
    pub(super) fn look(&mut self) {
        if !self.knows_clocks() {
            return;
        }
        let (primary, secondary) = (self.primary, 1 - self.primary);
        let servers = [&self.servers[primary], &self.servers[secondary]];
        let times = [self.time(primary), self.time(secondary)];
        let error = CLOCK_ERROR as i64;
        let found = self.looks.go_on(&self.engine, servers, times, &mut self.rng, error);
        if let Some(different) = found {
            self.mend(&different);
        }
    }

    fn mend(&mut self, different: &[KeyRef]) {
        trace(|| format!("different: {different:?}"));
        self.alarms += 1;
        for named in different {
            self.engine.mark_dirty(named, Cause::Shadow);
        }
    }

    /// From now on looks follow a weaker rule.
    pub(in crate::engine::simulation) fn weaken(&mut self, weakness: Weakness) {
        self.looks.weakness = Some(weakness);
    }

    /// Whether somebody may write to the secondary behind the engine's back.
    pub(in crate::engine::simulation) fn is_planted(&self) -> bool {
        self.habits.plants
    }

    /// Somebody does.
    pub(super) fn plant(&mut self) {
        let (db, key) = (self.rng.below(DATABASES), self.rng.pick(&KEYS));
        trace(|| format!("planted: {db} {key}"));
        let gone = self.rng.one_in(3);
        let database = &mut self.servers[1 - self.primary].databases[db];
        match database.get_mut(key.as_bytes()) {
            Some(_) if gone => drop(database.remove(key.as_bytes())),
            Some(entry) => entry.value.spoil(),
            None => {
                let entry = Entry { value: Value::Text(b"9".into()), expires: None };
                database.insert(key.into(), entry);
            }
        }
    }

    /// Every key is looked at while nothing happens, and what was planted is found.
    pub(in crate::engine::simulation) fn sweep(&mut self) {
        let (primary, secondary) = (self.primary, 1 - self.primary);
        let times = [self.time(primary), self.time(secondary)];
        for db in 0..DATABASES {
            let names = [primary, secondary].map(|side| self.servers[side].databases[db].keys());
            let names: BTreeSet<_> = names.into_iter().flatten().cloned().collect();
            for key in names.into_iter().filter(|key| !is_scratch(key)) {
                let servers = [&self.servers[primary], &self.servers[secondary]];
                let (key, error) = ((db as u32, key.into()), CLOCK_ERROR as i64);
                let found = self.looks.at_rest(&self.engine, servers, times, key, error);
                if let Some(different) = found {
                    self.mend(&[different]);
                }
            }
        }
    }
}
