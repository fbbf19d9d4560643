//! Two servers, the engine between them, and everything that is on its way.

mod looks;
mod rest;

use super::copier::{Copy, Moved, Names};
use super::habits::{Clocks, Habits};
use super::link::Link;
use super::model::{DATABASES, Server};
use super::pass::Pass;
use super::rng::Rng;
use super::shadow::Looks;
use super::trace;
use super::tracker::Tracker;
use super::upstream::{self, Upstream};
use super::waiter::Waiter;
use crate::engine::ledger::{Groups, Seed};
use crate::engine::{Cause, Engine, Settings, Woken};
use crate::protocol::capability::{Capabilities, Family};
use crate::protocol::databases::Databases;

/// The primary's clock at the start.
const START: i64 = 1_000_000;

/// Clients that wait at once, at most.
const WAITERS: usize = 3;
/// So many things may happen before a flip that does not get its moment is given up.
const PATIENCE: usize = 300;

pub(super) struct World {
    rng: Rng,
    engine: Engine,
    servers: [Server; 2],
    /// Which of them serves the clients.
    primary: usize,
    upstreams: Vec<Upstream>,
    waiters: Vec<Waiter>,
    tracker: Tracker,
    link: Link,
    copies: Vec<Copy>,
    names: Names,
    pass: Option<Pass>,
    /// The write-intent record, as it survives the engine.
    record: Groups,
    habits: Habits,
    /// Set while clients are held for a flip: how long it is still waited for.
    held: Option<usize>,
    now: i64,
    clocks: Clocks,
    next_waiter: u64,
    looks: Looks,
    /// Looks that found a difference.
    pub(super) alarms: usize,
}

impl World {
    /// Both servers with some keys, nothing copied.
    pub(super) fn new(seed: u64, habits: Habits) -> Self {
        let mut rng = Rng::new(seed);
        let clocks = Clocks::random(&mut rng);
        let buffer = rng.pick(&[2_000, 6_000, 1_000_000]);
        let mut engine = Engine::new(settings(clocks.measured, buffer), Groups::default());
        engine.keep_record(Groups::full());
        let upstreams = upstreams(&mut engine);
        let mut primary = Server::named("A");
        for _ in 0..20 {
            let db = rng.below(DATABASES) as u32;
            primary.execute(db, &upstream::random(&mut rng, START), START);
        }
        let habits = habits.choose(&mut rng);
        let pass = Some(Pass::new(&engine));
        Self {
            record: Groups::full(),
            now: START,
            servers: [primary, Server::named("B")],
            primary: 0,
            waiters: Vec::new(),
            tracker: Tracker::default(),
            link: Link::default(),
            copies: Vec::new(),
            names: Names::default(),
            held: None,
            next_waiter: 0,
            looks: Looks::default(),
            alarms: 0,
            rng,
            engine,
            upstreams,
            pass,
            habits,
            clocks,
        }
    }

    pub(super) fn happen(&mut self) {
        match self.rng.below(100) {
            0..20 => self.ask(),
            20..25 => self.wait(),
            25 => self.cut(),
            26 => self.link.cut(&mut self.engine),
            27 if !self.copies.is_empty() => self.lose_copy(),
            28 => self.servers[1 - self.primary].full = self.rng.one_in(4),
            29..32 => self.pass_time(),
            32 if self.habits.dies && self.rng.one_in(2) => self.die(),
            // A clock is set, and nobody knows yet.
            33 if self.habits.sets_clocks && self.rng.one_in(2) => {
                self.clocks = Clocks::random(&mut self.rng);
                // Keys really end at different times until then.
                self.looks.forget();
            }
            34 if self.habits.flips && self.held.is_none() => self.held = Some(PATIENCE),
            35 if self.rng.one_in(4) => {
                self.tracker.cut(&mut self.engine, &mut self.servers[self.primary]);
            }
            36 if self.habits.replaces && self.rng.one_in(4) => self.replace(),
            37 if self.habits.plants && self.rng.one_in(4) => self.plant(),
            _ => self.go_on(),
        }
        self.write_down();
    }

    /// The time on a server's clock.
    fn time(&self, server: usize) -> i64 {
        if server == 0 { self.now } else { self.now + self.clocks.real }
    }

    /// What the primary's clock lacks to the secondary's, as it was measured.
    fn clock_offset(&self) -> i64 {
        if self.primary == 0 { self.clocks.measured } else { -self.clocks.measured }
    }

    fn ask(&mut self) {
        let (upstream, now) = (self.rng.below(self.upstreams.len()), self.time(self.primary));
        let scripts = self.habits.scripts;
        if !self.upstreams[upstream].broken && self.held.is_none() {
            self.upstreams[upstream].ask(&mut self.engine, &mut self.rng, now, scripts);
        }
    }

    fn wait(&mut self) {
        if self.habits.waits && self.held.is_none() && self.waiters.len() < WAITERS {
            self.next_waiter += 1;
            let db = self.rng.below(DATABASES) as u32;
            let waiter = Waiter::new(self.next_waiter, db, &mut self.engine, &mut self.rng);
            self.waiters.push(waiter);
        }
    }

    /// The primary's data become others, in the same process: it followed another server for a while.
    fn replace(&mut self) {
        trace(|| "replace".to_owned());
        let now = self.time(self.primary);
        let primary = &mut self.servers[self.primary];
        primary.databases = Default::default();
        for _ in 0..5 {
            let db = self.rng.below(DATABASES) as u32;
            primary.execute(db, &upstream::random(&mut self.rng, now), now);
        }
        self.engine.void_and_resync(Cause::Replaced);
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
        trace(|| "die".to_owned());
        for _ in 0..self.rng.below(20) {
            self.execute();
            if self.rng.one_in(2) {
                self.execute_link();
            }
        }
        self.looks.forget();
        let settings = self.engine.settings().clone();
        self.engine = Engine::new(settings, self.record.others());
        self.engine.keep_record(self.record.clone());
        self.upstreams = upstreams(&mut self.engine);
        self.link = Link::default();
        (self.copies, self.waiters, self.held) = Default::default();
        self.tracker = Tracker::default();
        let primary = &mut self.servers[self.primary];
        primary.unblock_all();
        primary.words = None;
        self.pass = Some(Pass::new(&self.engine));
        self.engine.tick((self.now - START).cast_unsigned());
    }

    fn execute(&mut self) {
        let (upstream, now) = (self.rng.below(self.upstreams.len()), self.time(self.primary));
        self.upstreams[upstream].execute(&mut self.servers[self.primary], now);
    }

    fn execute_link(&mut self) {
        let (secondary, now) = (1 - self.primary, self.time(1 - self.primary));
        self.link.execute(&mut self.servers[secondary], now);
    }

    /// What is under way goes on somewhere.
    fn go_on(&mut self) {
        match self.rng.below(14) {
            0 | 1 => self.execute(),
            2 => self.deliver(),
            3 => self.end_broken(),
            4 if self.engine.wants_copies() => {
                for ticket in self.engine.claim_dirty(2) {
                    let name = self.names.next();
                    self.copies.push(Copy::of_dirty(ticket, name, &mut self.engine));
                }
            }
            5 => self.copy(),
            6 => self.scan(),
            7 => self.engine.let_settled_groups_go(),
            8 if !self.knows_clocks() => {
                let offset = self.clock_offset();
                self.engine.set_clock_offset(offset);
            }
            9 => self.wait_on(),
            10 => self.listen(),
            11 | 12 => self.look(),
            _ => self.mirror(),
        }
        if self.held.is_some() {
            self.copy_code();
            self.flip();
        }
        self.write_down();
    }

    /// One of those who wait goes on waiting, or is answered.
    fn wait_on(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let (index, now) = (self.rng.below(self.waiters.len()), self.time(self.primary));
        let ends = self.held.is_some() || self.rng.one_in(8);
        let primary = &mut self.servers[self.primary];
        if self.rng.one_in(60) {
            self.waiters[index].cut(&mut self.engine);
        } else if self.waiters[index].go_on(&mut self.engine, primary, now, ends) {
            self.waiters.swap_remove(index);
        }
    }

    /// The tracking connection is opened, or says something.
    fn listen(&mut self) {
        let (listens, primary) = (self.rng.one_in(2), &mut self.servers[self.primary]);
        if primary.words.is_some() {
            let woken = self.tracker.go_on(&mut self.engine, primary, listens);
            self.wake(&woken);
        } else if self.engine.needs_tracker() {
            self.tracker.connect(primary);
        }
    }

    /// Clients go over to the other server as soon as nothing is under way; or stay, if that takes
    /// too long.
    fn flip(&mut self) {
        let under_way = !self.engine.is_drained()
            || self.engine.needs_pass()
            || self.pass.is_some()
            || !self.copies.is_empty()
            || !self.waiters.is_empty()
            || !self.knows_clocks()
            || self.upstreams.iter().any(|upstream| upstream.broken || !upstream.is_idle());
        self.held = self.held.and_then(|left| left.checked_sub(1));
        if self.held.is_none() || under_way {
            return;
        }
        trace(|| "flip".to_owned());
        self.looks.forget();
        self.held = None;
        self.servers[self.primary].words = None;
        self.primary = 1 - self.primary;
        self.servers[self.primary].full = false;
        let offset = self.clock_offset();
        let settings = Settings { clock_offset: offset, ..self.engine.settings().clone() };
        let has_scripts = self.engine.has_scripts();
        self.engine = Engine::new(settings, Groups::full());
        if has_scripts {
            self.engine.expect_scripts();
        }
        self.engine.keep_record(self.record.clone());
        self.upstreams = upstreams(&mut self.engine);
        (self.link, self.tracker) = Default::default();
        self.engine.tick((self.now - START).cast_unsigned());
    }

    fn knows_clocks(&self) -> bool {
        self.engine.settings().clock_offset == self.clock_offset()
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
        let now = self.time(self.primary);
        let primary = &mut self.servers[self.primary];
        let moved = self.copies[index].go_on(&mut self.engine, primary, now);
        match moved {
            Moved::Stays => {}
            Moved::LetsGo(woken) => self.wake(&woken),
            Moved::Ends(woken) => {
                self.copies.swap_remove(index);
                self.wake(&woken);
            }
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
            self.engine.begin_pass();
            self.pass = Some(Pass::new(&self.engine));
        }
        let servers = [&self.servers[self.primary], &self.servers[1 - self.primary]];
        if let Some(pass) = &mut self.pass
            && pass.go_on(&mut self.engine, servers, &mut self.copies, &mut self.names)
        {
            self.pass = None;
        }
    }

    fn mirror(&mut self) {
        match self.rng.below(4) {
            0 => self.link.take(&mut self.engine, 100),
            1 | 2 => self.execute_link(),
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
        follow_scripts: true,
        marker: None,
    }
}
