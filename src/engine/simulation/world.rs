//! Two servers, the engine between them, and everything that is on its way.

use super::copier::{Copy, Moved, is_scratch};
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
    /// The write-intent record, as it survives the engine.
    record: Groups,
    /// Whether the engine dies now and then.
    mortal: bool,
    now: i64,
    clocks: Clocks,
}

/// The difference of the clocks.
#[derive(Clone, Copy)]
struct Clocks {
    measured: i64,
    real: i64,
}

impl Clocks {
    fn random(rng: &mut Rng) -> Self {
        let measured = rng.pick(&[0, 7, 2000, -2000]);
        let error = rng.below(2 * CLOCK_ERROR + 1) as i64 - CLOCK_ERROR as i64;
        Self { measured, real: measured + error }
    }
}

impl World {
    /// Both servers with some keys, nothing copied.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let clocks = Clocks::random(&mut rng);
        let buffer = rng.pick(&[2_000, 6_000, 1_000_000]);
        let mut engine = Engine::new(settings(clocks.measured, buffer), Groups::default());
        engine.keep_record(Groups::full());
        let upstreams = upstreams(&mut engine);
        let mut primary = Server::default();
        for _ in 0..20 {
            let db = rng.below(DATABASES) as u32;
            primary.execute(db, &upstream::random(&mut rng, START), START);
        }
        let pass = Some(Pass::new(Groups::full(), &engine));
        let (secondary, link, copies) = Default::default();
        Self {
            mortal: rng.one_in(2),
            record: Groups::full(),
            now: START,
            rng,
            engine,
            primary,
            secondary,
            upstreams,
            link,
            copies,
            pass,
            clocks,
        }
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
            32 if self.mortal && self.rng.one_in(2) => self.die(),
            // A clock is set, and nobody knows yet.
            33 if self.rng.one_in(4) => self.clocks = Clocks::random(&mut self.rng),
            _ => self.go_on(),
        }
        self.write_down();
    }

    /// What the engine wants recorded is, before anything that it has decided takes effect.
    fn write_down(&mut self) {
        if let Some(recorded) = self.engine.intent() {
            self.record = recorded.clone();
        }
    }

    /// The process dies at once. What it has sent, the servers may still do a part of; its successor
    /// knows nothing but the record.
    fn die(&mut self) {
        for _ in 0..self.rng.below(20) {
            let upstream = self.rng.below(self.upstreams.len());
            self.upstreams[upstream].execute(&mut self.primary, self.now);
            if self.rng.one_in(2) {
                self.link.execute(&mut self.secondary, self.now + self.clocks.real);
            }
        }
        let settings = self.engine.settings().clone();
        self.engine = Engine::new(settings, self.record.others());
        self.engine.keep_record(self.record.clone());
        self.upstreams = upstreams(&mut self.engine);
        (self.link, self.copies) = Default::default();
        self.pass = Some(Pass::new(self.record.clone(), &self.engine));
        self.engine.tick((self.now - START).cast_unsigned());
    }

    /// What is under way goes on somewhere.
    fn go_on(&mut self) {
        match self.rng.below(10) {
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
            7 => self.engine.let_settled_groups_go(),
            8 if !self.knows_clocks() => self.engine.set_clock_offset(self.clocks.measured),
            _ => self.mirror(),
        }
        self.write_down();
    }

    fn knows_clocks(&self) -> bool {
        self.engine.settings().clock_offset == self.clocks.measured
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
            1 | 2 => self.link.execute(&mut self.secondary, self.now + self.clocks.real),
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
    pub(super) fn copy_code(&mut self) {
        let changes = self.engine.code_changes();
        self.engine.code_is_copied(changes);
    }

    fn is_settled(&self) -> bool {
        self.knows_clocks()
            && self.engine.is_drained()
            && !self.engine.needs_pass()
            && self.pass.is_none()
            && self.copies.is_empty()
            && self.upstreams.iter().all(|upstream| !upstream.broken && upstream.is_idle())
    }

    /// Both servers hold the same, and the engine holds nothing any more.
    pub(super) fn check(&mut self) {
        for db in 0..DATABASES {
            let primary = self.living(&self.primary.databases[db], 0);
            let secondary =
                self.living(&self.secondary.databases[db], self.engine.settings().clock_offset);
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
        let soon = self.now + 2 * CLOCK_ERROR as i64;
        let mut living = database.clone();
        for entry in living.values_mut() {
            entry.expires = entry.expires.map(|at| at - offset);
        }
        living.retain(|key, entry| !is_scratch(key) && entry.expires.is_none_or(|at| at > soon));
        living
    }
}

fn upstreams(engine: &mut Engine) -> Vec<Upstream> {
    (0..4).map(|index| Upstream::new(engine.connect(), index % 2)).collect()
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
