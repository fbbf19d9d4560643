//! A client that waits for an element on a connection of its own. What it is answered comes over
//! that connection: earlier or later than the answers to the writes that are ordered.

use bytes::Bytes;

use super::model::Server;
use super::rng::Rng;
use super::trace;
use super::upstream;
use crate::engine::{Answer, ConnId, Engine, Unit};
use crate::protocol::command;
use crate::protocol::resp::Request;

enum State {
    /// Sent; the primary has not read it.
    Sent(Unit, Request),
    /// The primary has, and keeps it waiting.
    Waiting(Unit),
    /// The answer is on its way.
    Answered(Unit, Bytes),
    /// The connection is lost, and the primary does not know.
    Lost(Unit),
    Over,
}

pub(super) struct Waiter {
    /// The connection, as the primary numbers it.
    who: u64,
    db: u32,
    conn: ConnId,
    state: State,
}

impl Waiter {
    pub(super) fn new(who: u64, db: u32, engine: &mut Engine, rng: &mut Rng) -> Self {
        let request = upstream::waiting(rng);
        let write = engine.keyer().write(command::lookup(&request), request.clone(), db, &[]);
        let mut unit = engine.keyer().waiting_unit(write);
        let conn = engine.connect();
        assert!(engine.begin(conn, &mut unit), "who waits holds nothing");
        Self { who, db, conn, state: State::Sent(unit, request) }
    }

    /// The primary reads the command, or its answer goes on its way. `ends`: nobody wants to wait
    /// any longer. True: it is over.
    pub(super) fn go_on(
        &mut self,
        engine: &mut Engine,
        primary: &mut Server,
        now: i64,
        ends: bool,
    ) -> bool {
        let (who, db, conn) = (self.who, self.db, self.conn);
        take(&mut self.state, |state| match state {
            State::Sent(unit, request) => {
                primary.wait(who, db, request, now);
                Some(State::Waiting(unit))
            }
            State::Waiting(unit) => Some(match primary.answer_to(who) {
                Some(answer) => State::Answered(unit, answer),
                None if ends && primary.unblock(who) => {
                    State::Answered(unit, Bytes::from_static(b"*-1\r\n"))
                }
                None => State::Waiting(unit),
            }),
            State::Answered(unit, answer) => {
                trace(|| format!("{conn:?}: waited, {}", answer.escape_ascii()));
                engine.finish(conn, &unit, Answer { reply: &answer, probes: &[] });
                None
            }
            // The primary is told to be done with the connection.
            State::Lost(unit) => {
                primary.unblock(who);
                engine.lost(conn, &unit);
                None
            }
            State::Over => None,
        })
    }

    /// The connection breaks; the primary does not know, and may serve it yet.
    pub(super) fn cut(&mut self, engine: &mut Engine) {
        take(&mut self.state, |state| match state {
            State::Sent(unit, _) | State::Waiting(unit) | State::Answered(unit, _) => {
                engine.doubt(1);
                engine.disconnect(self.conn);
                Some(State::Lost(unit))
            }
            other => Some(other),
        });
    }
}

/// Replaces a state by what follows from it; true when nothing does.
fn take(state: &mut State, next: impl FnOnce(State) -> Option<State>) -> bool {
    *state = next(std::mem::replace(state, State::Over)).unwrap_or(State::Over);
    matches!(state, State::Over)
}
