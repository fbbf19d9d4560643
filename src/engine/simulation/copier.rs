//! Copies under way: claimed, read in two steps, offered, some of them in position.

use bytes::Bytes;
use smallvec::SmallVec;

use super::model::Server;
use super::rng::Rng;
use crate::effect::{Expect, Step};
use crate::engine::{Accepted, ConnId, Copied, Copies, Engine, Ticket, Woken};
use crate::resp::{Reply, Request};

/// After so many copies in vain a key is read in position.
const PATIENCE: u8 = 2;

enum Stage {
    /// Waits for the key; the flag says that it may ask (again).
    Holding(bool),
    Claimed,
    /// Its expiry has been read.
    Timed(i64),
    Read(Copied),
}

/// One copy under way.
pub(super) struct Copy {
    ticket: Ticket,
    stage: Stage,
    held: Option<ConnId>,
    /// Whether a pass waits for it.
    pub(super) of_pass: bool,
}

/// What became of a copy in one move.
pub(super) enum Moved {
    Stays,
    Ends(Woken),
}

impl Copy {
    pub(super) fn of_pass(ticket: Ticket) -> Self {
        Self { ticket, stage: Stage::Claimed, held: None, of_pass: true }
    }

    pub(super) fn of_dirty(ticket: Ticket, engine: &mut Engine) -> Self {
        let hot = ticket.attempts >= PATIENCE;
        let stage = if hot { Stage::Holding(true) } else { Stage::Claimed };
        Self { ticket, stage, held: hot.then(|| engine.connect()), of_pass: false }
    }

    pub(super) fn wake(&mut self, conn: ConnId) {
        if self.held == Some(conn)
            && let Stage::Holding(woken) = &mut self.stage
        {
            *woken = true;
        }
    }

    /// Goes on by one stage, or ends.
    pub(super) fn go_on(&mut self, engine: &mut Engine, primary: &mut Server, now: i64) -> Moved {
        let key: &[u8] = self.ticket.key();
        let mut ask = |name: &[u8]| {
            let raw = primary.execute(self.ticket.db, &Request::new([name, key]), now);
            Reply::parse(&raw).expect("a reply")
        };
        match &mut self.stage {
            Stage::Holding(woken) => {
                let conn = self.held.expect("a connection");
                if std::mem::take(woken) && engine.hold(conn, self.ticket.named()) {
                    engine.begin_in_position(&self.ticket);
                    self.stage = Stage::Claimed;
                }
            }
            Stage::Claimed => {
                self.stage = Stage::Timed(ask(b"PEXPIRETIME").integer().expect("a time"));
            }
            Stage::Timed(expiry) => {
                let dump = ask(b"DUMP").text().cloned().filter(|_| *expiry != -2);
                let offset = engine.settings().clock_offset;
                let steps = steps(key, *expiry, offset, dump);
                self.stage = Stage::Read(Copied { steps, in_position: self.held.is_some() });
            }
            // One way of offering is as good as the other.
            Stage::Read(copied) if self.ticket.attempts.is_multiple_of(2) => {
                let mut copies = Copies::with_room(0, copied.in_position);
                let step = copied.steps.first().expect("a step");
                copies.push(&self.ticket, |out| out.extend_from_slice(step.request.raw()));
                if engine.accept_all(copies).is_none() {
                    return Moved::Ends(self.end(engine));
                }
            }
            Stage::Read(copied) => {
                if engine.accept(&self.ticket, copied) != Accepted::NoRoom {
                    return Moved::Ends(self.end(engine));
                }
            }
        }
        Moved::Stays
    }

    /// The connection that reads is lost, or the server refuses.
    pub(super) fn give_up(&self, engine: &mut Engine, rng: &mut Rng) -> Woken {
        if rng.one_in(2) {
            engine.abandon(&self.ticket);
        } else {
            engine.refuse(&self.ticket);
        }
        self.end(engine)
    }

    fn end(&self, engine: &mut Engine) -> Woken {
        self.held.map(|conn| engine.release(conn, self.ticket.named())).unwrap_or_default()
    }
}

fn steps(key: &[u8], expiry: i64, offset: i64, dump: Option<Bytes>) -> SmallVec<[Step; 1]> {
    let request = match dump {
        None => Request::new([b"DEL", key]),
        Some(payload) => {
            let time = if expiry > 0 { expiry + offset } else { 0 }.to_string();
            Request::new([b"RESTORE", key, time.as_bytes(), &payload, b"REPLACE", b"ABSTTL"])
        }
    };
    SmallVec::from_iter([Step { request, expect: Expect::Success }])
}
