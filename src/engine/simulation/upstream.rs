//! Upstream connections to the primary, and what clients ask on them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::model::Server;
use super::rng::Rng;
use super::trace;
use crate::command;
use crate::engine::{Answer, ConnId, Engine, Unit, Woken};
use crate::resp::{self, Request};

/// One command as the primary executes it.
enum Ask {
    One(Request),
    Block(Vec<Request>),
}

/// A step on its way.
struct Step {
    unit: Unit,
    left: VecDeque<Ask>,
    replies: Vec<Bytes>,
}

/// One connection. Its steps are executed and answered in order.
pub(super) struct Upstream {
    pub(super) id: ConnId,
    db: u32,
    /// Asked for and not admitted.
    waiting: Option<(Unit, VecDeque<Ask>)>,
    /// Whether it may ask again.
    pub(super) woken: bool,
    sent: VecDeque<Step>,
    /// We have given it up; the primary may still execute what it has received.
    pub(super) broken: bool,
}

impl Upstream {
    pub(super) fn new(id: ConnId, db: u32) -> Self {
        Self { id, db, waiting: None, woken: false, sent: VecDeque::new(), broken: false }
    }

    /// The connection that takes a broken one's place: what was not sent goes down it.
    pub(super) fn successor(&mut self, id: ConnId) -> Self {
        Self { waiting: self.waiting.take(), woken: true, ..Self::new(id, self.db) }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.sent.is_empty()
    }

    /// A client asks for something; nothing is asked while a step waits.
    /// `scripts` says whether clients run scripts.
    pub(super) fn ask(&mut self, engine: &mut Engine, rng: &mut Rng, now: i64, scripts: bool) {
        if self.waiting.is_some() {
            return;
        }
        let atomic = rng.one_in(6);
        let length = if atomic { 1 + rng.below(4) } else { 1 };
        let command = |rng: &mut Rng| {
            if scripts && rng.one_in(6) { script(rng) } else { random(rng, now) }
        };
        let requests: Vec<Request> = (0..length).map(|_| command(rng)).collect();
        let write = |request: &Request| {
            engine.write(command::lookup(request), request.clone(), self.db, &[])
        };
        let unit = engine.unit(requests.iter().map(write), atomic);
        let mut left: VecDeque<Ask> = if atomic {
            [Ask::Block(requests)].into()
        } else {
            requests.into_iter().map(Ask::One).collect()
        };
        left.extend(unit.probes().cloned().map(Ask::One));
        self.waiting = Some((unit, left));
        self.woken = true;
        self.retry(engine);
    }

    /// Asks the engine again, if it said that this may help.
    pub(super) fn retry(&mut self, engine: &mut Engine) {
        if !std::mem::take(&mut self.woken) {
            return;
        }
        let Some((mut unit, left)) = self.waiting.take() else { return };
        if engine.begin(self.id, &mut unit) {
            trace(|| format!("{:?}: sent", self.id));
            self.sent.push_back(Step { unit, left, replies: Vec::new() });
        } else {
            self.waiting = Some((unit, left));
        }
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
    match rng.below(76) {
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
        _ => Request::new(["SREM", SET, member]),
    }
}
