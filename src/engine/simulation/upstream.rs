//! Upstream connections to the primary, and what several clients ask on each.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::model::Server;
use super::rng::Rng;
use super::trace;
use crate::engine::{Answer, ConnId, Engine, Passable, Passing, Unit, Woken};
use crate::protocol::command;
use crate::protocol::resp::{self, Request};

/// One command as the primary executes it.
enum Ask {
    One(Request),
    Block(Vec<Request>),
}

/// A step on its way.
struct Step {
    client: usize,
    /// Which of its client's steps it is.
    turn: u64,
    unit: Unit,
    left: VecDeque<Ask>,
    replies: Vec<Bytes>,
}

impl Passable for Step {
    fn unit(&mut self) -> Option<&mut Unit> {
        Some(&mut self.unit)
    }

    fn client(&self) -> usize {
        self.client
    }
}

/// Clients of one connection.
const CLIENTS: usize = 3;
/// Steps that are not sent yet at once.
const WAITING: usize = 6;

/// One connection. Its steps are executed and answered in order.
pub(super) struct Upstream {
    pub(super) id: ConnId,
    db: u32,
    /// Asked for and not sent: nobody passes the first one.
    backlog: VecDeque<Step>,
    /// Waiting for keys while others pass.
    passing: Passing<Step>,
    /// How many steps each client has asked for, and which one was sent last.
    turns: [(u64, u64); CLIENTS],
    /// Whether it may ask again.
    pub(super) woken: bool,
    sent: VecDeque<Step>,
    /// We have given it up; the primary may still execute what it has received.
    pub(super) broken: bool,
}

impl Upstream {
    pub(super) fn new(id: ConnId, db: u32) -> Self {
        let (backlog, sent, turns) = Default::default();
        let passing = Passing::new(id);
        Self { id, db, backlog, passing, turns, woken: false, sent, broken: false }
    }

    /// The connection that takes a broken one's place: what was not sent goes down it.
    pub(super) fn successor(&mut self, id: ConnId) -> Self {
        let passing = std::mem::replace(&mut self.passing, Passing::new(self.id));
        let backlog = passing.into_steps().chain(self.backlog.drain(..)).collect();
        Self { backlog, turns: self.turns, woken: true, ..Self::new(id, self.db) }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.backlog.is_empty() && self.passing.is_empty() && self.sent.is_empty()
    }

    /// A client asks for something. `scripts` says whether clients run scripts.
    pub(super) fn ask(&mut self, engine: &mut Engine, rng: &mut Rng, now: i64, scripts: bool) {
        if self.backlog.len() >= WAITING {
            return;
        }
        let atomic = rng.one_in(6);
        let length = if atomic { 1 + rng.below(4) } else { 1 };
        let command = |rng: &mut Rng| {
            if scripts && rng.one_in(6) { script(rng) } else { random(rng, now) }
        };
        let requests: Vec<Request> = (0..length).map(|_| command(rng)).collect();
        let write = |request: &Request| {
            engine.keyer().write(command::lookup(request), request.clone(), self.db, &[])
        };
        let unit = engine.keyer().unit(requests.iter().map(write), atomic);
        let mut left: VecDeque<Ask> = if atomic {
            [Ask::Block(requests)].into()
        } else {
            requests.into_iter().map(Ask::One).collect()
        };
        left.extend(unit.probes().cloned().map(Ask::One));
        let client = rng.below(CLIENTS);
        self.turns[client].0 += 1;
        let turn = self.turns[client].0;
        self.backlog.push_back(Step { client, turn, unit, left, replies: Vec::new() });
        self.woken = true;
        self.retry(engine);
    }

    /// Asks the engine again, if it said that this may help.
    pub(super) fn retry(&mut self, engine: &mut Engine) {
        if !std::mem::take(&mut self.woken) {
            return;
        }
        for step in self.passing.retry(engine) {
            self.send(step);
        }
        while let Some(mut step) = self.backlog.pop_front() {
            if self.passing.admits(engine, &mut step) {
                self.send(step);
            } else if let Err(step) = self.passing.park(step) {
                return self.backlog.push_front(step);
            }
        }
    }

    fn send(&mut self, step: Step) {
        let last = &mut self.turns[step.client].1;
        assert!(step.turn > *last, "a client's own steps never overtake each other");
        *last = step.turn;
        trace(|| format!("{:?}: sent", self.id));
        self.sent.push_back(step);
    }

    /// The primary executes the next command.
    pub(super) fn execute(&mut self, primary: &mut Server, now: i64) {
        let Some(step) = self.sent.iter_mut().find(|step| !step.left.is_empty()) else { return };
        let reply = match step.left.pop_front() {
            Some(Ask::One(request)) => primary.execute(self.db, &request, now),
            Some(Ask::Block(requests)) => {
                let mut out = BytesMut::new();
                resp::array_header(&mut out, requests.len());
                for answer in primary.execute_all(self.db, &requests, now) {
                    out.extend_from_slice(&answer);
                }
                out.freeze()
            }
            None => return,
        };
        step.replies.push(reply);
    }

    /// The oldest step's answer arrives, if the step is done.
    pub(super) fn deliver(&mut self, engine: &mut Engine) -> Woken {
        if self.broken || self.sent.front().is_none_or(|step| !step.left.is_empty()) {
            return Woken::new();
        }
        let step = self.sent.pop_front().expect("a step");
        let (reply, probes) = step.replies.split_first().expect("a reply");
        trace(|| format!("{:?}: answer {}", self.id, reply.escape_ascii()));
        engine.finish(self.id, &step.unit, Answer { reply, probes })
    }

    pub(super) fn cut(&mut self, engine: &mut Engine) -> Woken {
        trace(|| format!("{:?}: broken", self.id));
        self.broken = true;
        engine.doubt(self.sent.len());
        engine.disconnect(self.id)
    }

    /// The primary will execute nothing more of it.
    pub(super) fn finish_off(&mut self, engine: &mut Engine) -> Woken {
        trace(|| format!("{:?}: ended, {} steps lost", self.id, self.sent.len()));
        let mut woken = Woken::new();
        for step in self.sent.drain(..) {
            woken.extend(engine.lost(self.id, &step.unit));
        }
        woken
    }
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Written all the time, by its members' names.
const SET: &str = "s";
/// Written all the time, at both ends.
const LIST: &str = "l";

/// What scripts do. None of them declares more than one key, and that is seldom one that it writes.
const SCRIPTS: [&str; 12] = [
    "SET a 1",
    "INCR b;DEL c",
    "RPUSH d 1;RPUSH d 7",
    "SADD s 3;SREM s 4",
    "SET e 1;PEXPIRE e 20",
    "DEL a",
    "SELECT 1;SET a 7",
    "SELECT 1;RPUSH b 1;SELECT 0;DEL d",
    "MOVE a 1",
    "COPY b c DB 1",
    "FLUSHDB",
    "SWAPDB 0 1",
];

/// A script, with a key that it declares or without.
pub(super) fn script(rng: &mut Rng) -> Request {
    let body = rng.pick(&SCRIPTS);
    if rng.one_in(2) {
        Request::new(["EVAL", body, "1", rng.pick(&KEYS)])
    } else {
        Request::new(["EVAL", body, "0"])
    }
}

/// A command that waits for an element.
pub(super) fn waiting(rng: &mut Rng) -> Request {
    let (key, other) = (rng.pick(&KEYS), rng.pick(&KEYS));
    if rng.one_in(2) {
        Request::new(["BLPOP", key, "0"])
    } else {
        Request::new(["BLMOVE", key, other, "LEFT", "LEFT", "0"])
    }
}

/// A command of a client.
pub(super) fn random(rng: &mut Rng, now: i64) -> Request {
    let (key, other) = (rng.pick(&KEYS), rng.pick(&KEYS));
    let value = rng.pick(&["1", "7", "x"]);
    let time = (rng.below(200) as i64 - 10).max(1).to_string();
    let at = (now + rng.below(200) as i64 - 10).to_string();
    let member = rng.pick(&["1", "2", "3", "4", "5", "6"]);
    match rng.below(94) {
        0..4 => Request::new(["SET", key, value]),
        4..8 => Request::new(["SET", key, value, "PX", &time]),
        8..10 => Request::new(["SET", key, value, "NX"]),
        10..12 => Request::new(["SET", key, value, "KEEPTTL"]),
        12..18 => Request::new(["INCR", key]),
        18..22 => Request::new(["APPEND", key, value]),
        22..26 => Request::new(["DEL", key]),
        26..28 => Request::new(["DEL", key, other]),
        28..32 => Request::new(["SADD", key, value]),
        32..34 => Request::new(["SREM", key, value]),
        34..38 => Request::new(["LPUSH", key, value]),
        38..40 => Request::new(["RPUSH", key, value]),
        40..43 => Request::new(["LPOP", key]),
        43..47 => Request::new(["PEXPIRE", key, &time]),
        47..50 => Request::new(["PEXPIREAT", key, &at]),
        50..53 => Request::new(["PERSIST", key]),
        53..58 => Request::new(["RENAME", key, other]),
        58 => Request::new(["FLUSHDB"]),
        59 => Request::new(["SWAPDB", "0", "1"]),
        60..70 => Request::new(["SADD", SET, member]),
        70..76 => Request::new(["SREM", SET, member]),
        76..80 => Request::new(["LPUSH", LIST, member]),
        80..86 => Request::new(["RPUSH", LIST, member]),
        86..89 => Request::new(["LPOP", LIST]),
        89 => Request::new(["RPOP", LIST]),
        90 => Request::new(["LTRIM", LIST, "1", "7"]),
        91 => Request::new(["PEXPIRE", rng.pick(&[SET, LIST]), &time]),
        92 => Request::new(["PEXPIRE", rng.pick(&[SET, LIST]), "5000"]),
        _ => Request::new(["PERSIST", rng.pick(&[SET, LIST])]),
    }
}
