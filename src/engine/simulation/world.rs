//! Two servers, the engine between them, and everything that is on its way.

use super::copier::{Copy, Moved};
use super::link::Link;
use super::model::{DATABASES, Database, Server};
use super::pass::Pass;
use super::rng::Rng;
use super::upstream::{self, Upstream};
use crate::capability::{Capabilities, Family};
use crate::databases::Databases;
use crate::engine::{Engine, Settings, Woken};
use crate::ledger::{Groups, Seed};

/// How far the measured clock difference may be off, in milliseconds.
const CLOCK_ERROR: usize = 3;
/// The primary's clock at the start.
const START: i64 = 1_000_000;

pub(super) struct World {
    rng: Rng,
    engine: Engine,
    primary: Server,
    secondary: Server,
    upstreams: Vec<Upstream>,
    link: Link,
    copies: Vec<Copy>,
    pass: Option<Pass>,
    now: i64,
    /// The true difference of the clocks.
    offset: i64,
}

impl World {
    /// Both servers with some keys, nothing copied.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let clock_offset = rng.pick(&[0, 7, 2000, -2000]);
        let offset = clock_offset + rng.below(2 * CLOCK_ERROR + 1) as i64 - CLOCK_ERROR as i64;
        let buffer = rng.pick(&[2_000, 6_000, 1_000_000]);
        let mut engine = Engine::new(settings(clock_offset, buffer), Groups::default());
        let upstreams = (0..4).map(|index| Upstream::new(engine.connect(), index % 2)).collect();
        let mut primary = Server::default();
        for _ in 0..20 {
            let db = rng.below(DATABASES) as u32;
            primary.execute(db, &upstream::random(&mut rng, START), START);
        }
        let pass = Some(Pass::new(Groups::full(), &engine));
        let (secondary, link, copies) = Default::default();
        Self { rng, engine, primary, secondary, upstreams, link, copies, pass, now: START, offset }
    }

    /// Something happens.
    pub(super) fn happen(&mut self) {
        match self.rng.below(100) {
            0..25 => {
                let upstream = self.rng.below(self.upstreams.len());
                if !self.upstreams[upstream].broken {
                    self.upstreams[upstream].ask(&mut self.engine, &mut self.rng, self.now);
                }
            }
            25 => self.cut(),
            26 => self.link.cut(&mut self.engine),
            27 if !self.copies.is_empty() => self.lose_copy(),
            28 => self.secondary.full = self.rng.one_in(4),
            29..32 => self.pass_time(),
            _ => self.go_on(),
        }
    }

    /// What is under way goes on somewhere.
    fn go_on(&mut self) {
        match self.rng.below(8) {
            0 | 1 => {
                let upstream = self.rng.below(self.upstreams.len());
                self.upstreams[upstream].execute(&mut self.primary, self.now);
            }
            2 => self.deliver(),
            3 => self.end_broken(),
            4 if self.engine.wants_copies() => {
                for ticket in self.engine.claim_dirty(2) {
                    self.copies.push(Copy::of_dirty(ticket, &mut self.engine));
                }
            }
            5 => self.copy(),
            6 => self.scan(),
            _ => self.mirror(),
        }
    }

    fn deliver(&mut self) {
        let upstream = self.rng.below(self.upstreams.len());
        let woken = self.upstreams[upstream].deliver(&mut self.engine);
        self.wake(&woken);
        for upstream in &mut self.upstreams {
            upstream.retry(&mut self.engine);
        }
    }

    /// A connection breaks; another takes its place.
    fn cut(&mut self) {
        let upstream = self.rng.below(self.upstreams.len());
        if self.upstreams[upstream].broken {
            return;
        }
        let woken = self.upstreams[upstream].cut(&mut self.engine);
        let successor = self.upstreams[upstream].successor(self.engine.connect());
        self.upstreams.push(successor);
        self.wake(&woken);
    }

    /// The primary is done with a broken connection.
    fn end_broken(&mut self) {
        let Some(index) = self.upstreams.iter().position(|upstream| upstream.broken) else {
            return;
        };
        let woken = self.upstreams.swap_remove(index).finish_off(&mut self.engine);
        self.wake(&woken);
    }

    fn copy(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let index = self.rng.below(self.copies.len());
        let moved = self.copies[index].go_on(&mut self.engine, &mut self.primary, self.now);
        if let Moved::Ends(woken) = moved {
            self.copies.swap_remove(index);
            self.wake(&woken);
        }
    }

    fn lose_copy(&mut self) {
        let index = self.rng.below(self.copies.len());
        let copy = self.copies.swap_remove(index);
        let woken = copy.give_up(&mut self.engine, &mut self.rng);
        self.wake(&woken);
    }

    fn scan(&mut self) {
        if self.pass.is_none() && self.engine.needs_pass() {
            let (groups, _) = self.engine.begin_pass();
            self.pass = Some(Pass::new(groups, &self.engine));
        }
        if let Some(pass) = &mut self.pass
            && pass.go_on(&mut self.engine, [&self.primary, &self.secondary], &mut self.copies)
        {
            self.pass = None;
        }
    }

    fn mirror(&mut self) {
        match self.rng.below(4) {
            0 => self.link.take(&mut self.engine, 100),
            1 | 2 => self.link.execute(&mut self.secondary, self.now + self.offset),
            _ => self.link.deliver(&mut self.engine),
        }
    }

    fn pass_time(&mut self) {
        self.now += self.rng.pick(&[1, 3, 10, 100]);
        self.engine.tick((self.now - START).cast_unsigned());
    }

    fn wake(&mut self, woken: &Woken) {
        for conn in woken {
            for upstream in self.upstreams.iter_mut().filter(|upstream| upstream.id == *conn) {
                upstream.woken = true;
            }
            for copy in &mut self.copies {
                copy.wake(*conn);
            }
        }
    }

    /// Clients and faults cease; everything under way comes to its end.
    pub(super) fn settle(&mut self) {
        self.secondary.full = false;
        for _ in 0..200_000 {
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

    fn is_settled(&self) -> bool {
        self.engine.is_drained()
            && !self.engine.needs_pass()
            && self.pass.is_none()
            && self.copies.is_empty()
            && self.upstreams.iter().all(|upstream| !upstream.broken && upstream.is_idle())
    }

    /// Both servers hold the same, and the engine holds nothing any more.
    pub(super) fn check(&self) {
        for db in 0..DATABASES {
            let primary = self.living(&self.primary.databases[db], 0);
            let secondary =
                self.living(&self.secondary.databases[db], self.engine.settings().clock_offset);
            assert_eq!(primary, secondary, "primary and secondary, database {db}");
        }
        assert!(self.engine.is_at_rest(), "{:?}", self.engine);
    }

    /// Keys that will be there in a moment yet, their expiries on the primary's clock.
    fn living(&self, database: &Database, offset: i64) -> Database {
        let soon = self.now + 2 * CLOCK_ERROR as i64;
        let mut living = database.clone();
        for entry in living.values_mut() {
            entry.expires = entry.expires.map(|at| at - offset);
        }
        living.retain(|_, entry| entry.expires.is_none_or(|at| at > soon));
        living
    }
}

fn settings(clock_offset: i64, buffer: usize) -> Settings {
    let server = Capabilities { family: Family::Redis, version: (7, 0, 15) };
    Settings {
        databases: Databases::All,
        primary: server,
        secondary: server,
        clock_offset,
        seed: Seed::from_bytes([1; 8]),
        buffer,
        mirroring: true,
        follow_scripts: false,
        marker: None,
    }
}
