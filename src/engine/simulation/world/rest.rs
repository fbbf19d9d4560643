//! How a run ends: everything comes to rest, and then both servers must hold the same.

use super::World;
use crate::engine::simulation::copier::is_scratch;
use crate::engine::simulation::habits::CLOCK_ERROR;
use crate::engine::simulation::model::{DATABASES, Database};

impl World {
    /// Clients and faults cease; everything under way comes to its end.
    pub(in crate::engine::simulation) fn settle(&mut self) {
        self.servers[1 - self.primary].full = false;
        self.held = None;
        for _ in 0..200_000 {
            self.copy_code();
            if self.is_settled() {
                return;
            }
            if self.rng.one_in(20) {
                self.pass_time();
            }
            self.go_on();
        }
        let (copies, pass) = (self.copies.len(), self.pass.is_some());
        let busy = self.upstreams.iter().filter(|upstream| !upstream.is_idle()).count();
        panic!("never ends: {copies} copies, pass {pass}, {busy} upstreams, {:?}", self.engine);
    }

    /// The control copies function libraries beside everything else.
    pub(in crate::engine::simulation) fn copy_code(&mut self) {
        let changes = self.engine.code_changes();
        self.engine.code_is_copied(changes);
    }

    fn is_settled(&self) -> bool {
        self.knows_clocks()
            && self.engine.is_drained()
            && !self.engine.needs_pass()
            && self.pass.is_none()
            && self.copies.is_empty()
            && self.waiters.is_empty()
            && self.upstreams.iter().all(|upstream| !upstream.broken && upstream.is_idle())
    }

    /// Both servers hold the same, and the engine holds nothing any more.
    pub(in crate::engine::simulation) fn check(&mut self) {
        for db in 0..DATABASES {
            let (primary, secondary) = (self.primary, 1 - self.primary);
            let primary = self.living(&self.servers[primary].databases[db], 0);
            let offset = self.engine.settings().clock_offset;
            let secondary = self.living(&self.servers[secondary].databases[db], offset);
            assert_eq!(primary, secondary, "primary and secondary, database {db}");
        }
        assert!(self.engine.is_at_rest(), "{:?}", self.engine);
        for _ in 0..2 {
            self.engine.let_settled_groups_go();
        }
        assert_eq!(self.engine.recorded(), Some(0), "nothing is in doubt");
    }

    /// Keys that will be there in a moment yet, their expiries on the primary's clock.
    fn living(&self, database: &Database, offset: i64) -> Database {
        let soon = self.time(self.primary) + 2 * CLOCK_ERROR as i64;
        let mut living = database.clone();
        for entry in living.values_mut() {
            entry.expires = entry.expires.map(|at| at - offset);
        }
        living.retain(|key, entry| !is_scratch(key) && entry.expires.is_none_or(|at| at > soon));
        living
    }
}
