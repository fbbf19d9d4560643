//! Copies under way: claimed, read in two steps, offered, some of them in position; a set or a list in
//! parts that are put together on the secondary, while writes to it are followed.

use bytes::Bytes;
use smallvec::SmallVec;

use super::model::Server;
use super::rng::Rng;
use super::trace;
use crate::engine::effect::{Expect, Step};
use crate::engine::{Accepted, ConnId, Copied, Copies, Engine, Ticket, Woken};
use crate::protocol::resp::{Reply, Request};

/// After so many copies in vain a key is read in position.
const PATIENCE: u8 = 2;

enum Stage {
    /// Waits for the key; the flag says that it may ask (again).
    Holding(bool),
    Claimed,
    /// From now on it is read.
    Begun,
    /// Its expiry has been read.
    Timed(i64),
    /// A set is followed, and so many of its two parts have been read.
    Followed(u8),
    /// All of it has been read, and is read again while it is held; or the next part of a list.
    CaughtUp,
    Read(Copied),
}

/// What half copies are called.
const SCRATCH: &str = "~";

/// Names for half copies, no two the same.
#[derive(Default)]
pub(super) struct Names(u64);

impl Names {
    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

pub(super) struct Copy {
    ticket: Ticket,
    /// No other copy's.
    name: u64,
    follows: bool,
    is_list: bool,
    /// When it ended as its reading began, or -1.
    expiry: i64,
    stage: Stage,
    held: Option<ConnId>,
    /// Whether a pass waits for it.
    pub(super) of_pass: bool,
}

/// What became of a copy in one move.
pub(super) enum Moved {
    Stays,
    /// It holds its key no longer.
    LetsGo(Woken),
    Ends(Woken),
}

/// What was read is not what the key holds.
struct Void;

impl Copy {
    pub(super) fn of_pass(ticket: Ticket, name: u64) -> Self {
        Self::new(ticket, name, Stage::Claimed, None, true)
    }

    pub(super) fn of_dirty(ticket: Ticket, name: u64, engine: &mut Engine) -> Self {
        let hot = ticket.attempts >= PATIENCE;
        let stage = if hot { Stage::Holding(true) } else { Stage::Claimed };
        Self::new(ticket, name, stage, hot.then(|| engine.connect()), false)
    }

    fn new(ticket: Ticket, name: u64, stage: Stage, held: Option<ConnId>, of_pass: bool) -> Self {
        let (follows, is_list, expiry) = (false, false, -1);
        Self { ticket, name, follows, is_list, expiry, stage, held, of_pass }
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
        trace(|| format!("copy {} of {}:{}", self.name, self.ticket.db, key.escape_ascii()));
        let mut ask = |name: &[u8]| {
            let raw = primary.execute(self.ticket.db, &Request::new([name, key]), now);
            Reply::parse(&raw).expect("a reply")
        };
        match &mut self.stage {
            Stage::Holding(woken) => {
                let conn = self.held.expect("a connection");
                if std::mem::take(woken) && engine.hold(conn, self.ticket.key_ref()) {
                    self.stage = if self.follows {
                        Stage::CaughtUp
                    } else {
                        engine.begin_reading(&self.ticket);
                        Stage::Claimed
                    };
                }
            }
            Stage::Claimed => {
                // A copy that turns out to be of something else has been followed in vain.
                if self.held.is_none() && self.name.is_multiple_of(2) {
                    engine.follow(&self.ticket);
                    self.follows = true;
                }
                self.stage = Stage::Begun;
            }
            Stage::Begun => {
                let expiry = ask(b"PEXPIRETIME").integer().expect("a time");
                let value = ask(b"DUMP");
                self.is_list = elements(&value, b'l').is_some();
                self.expiry = expiry;
                let was_followed = self.follows;
                self.follows &= self.is_list || elements(&value, b's').is_some();
                self.stage = match (self.follows, self.is_list) {
                    (true, true) => Stage::Followed(2),
                    (true, false) => Stage::Followed(0),
                    _ => Stage::Timed(expiry),
                };
                if was_followed && !self.follows {
                    engine.follow_no_more(&self.ticket);
                }
            }
            Stage::Followed(2) => {
                self.held = Some(engine.connect());
                self.stage = Stage::Holding(true);
            }
            Stage::Followed(parts) => {
                let part = *parts;
                let value = elements(&ask(b"DUMP"), b's');
                let again = engine.take_noted(&self.ticket);
                let Some(value) = value.filter(|_| engine.is_untouched(&self.ticket)) else {
                    engine.abandon(&self.ticket);
                    return Moved::Ends(self.end(engine));
                };
                *parts += 1;
                let first = |member: &Bytes| (member[..] < b"4"[..]) == (part == 0);
                let read: Vec<_> = value.iter().filter(|member| first(member)).cloned().collect();
                if !self.send(engine, "SADD", &read) || !self.send_again(engine, &value, &again) {
                    engine.abandon(&self.ticket);
                    return Moved::Ends(self.end(engine));
                }
            }
            Stage::CaughtUp => match self.catch_up(engine, &mut ask, now) {
                Ok(Some(copied)) => self.stage = Stage::Read(copied),
                Ok(None) => return Moved::LetsGo(self.let_go(engine)),
                Err(Void) => {
                    engine.abandon(&self.ticket);
                    return Moved::Ends(self.end(engine));
                }
            },
            Stage::Timed(expiry) => {
                let dump = ask(b"DUMP").text().cloned().filter(|_| *expiry != -2);
                let offset = engine.settings().clock_offset;
                let steps = steps(key, *expiry, offset, dump);
                self.stage = Stage::Read(Copied { steps, in_position: self.held.is_some() });
            }
            // One way of offering is as good as the other.
            Stage::Read(copied)
                if self.ticket.attempts.is_multiple_of(2) && copied.steps.len() == 1 =>
            {
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

    /// Reads while nobody writes what is missing, and says what puts the copy in its place; nothing
    /// when there is more of it.
    fn catch_up(
        &self,
        engine: &mut Engine,
        ask: &mut impl FnMut(&[u8]) -> Reply,
        now: i64,
    ) -> Result<Option<Copied>, Void> {
        let kind = if self.is_list { b'l' } else { b's' };
        let value = elements(&ask(b"DUMP"), kind).unwrap_or_default();
        let expiry = ask(b"PEXPIRETIME").integer().expect("a time");
        let first = Some(self.expiry).filter(|at| *at >= 0);
        let first = first.into_iter().chain(engine.noted_end(&self.ticket)).min();
        if expiry == -2 || first.is_some_and(|end| now >= end) {
            return Err(Void);
        }
        if self.is_list {
            if !self.extend(engine, &value).ok_or(Void)? {
                return Ok(None);
            }
        } else {
            let again = engine.take_noted(&self.ticket);
            if !self.send_again(engine, &value, &again) {
                return Err(Void);
            }
        }
        Ok(Some(Copied { steps: self.last(engine, expiry), in_position: true }))
    }

    /// What puts the copy in its place.
    fn last(&self, engine: &Engine, expiry: i64) -> SmallVec<[Step; 1]> {
        let scratch = self.scratch();
        let end = (expiry + engine.settings().clock_offset).to_string();
        let end = Request::new([b"PEXPIREAT", &scratch[..], end.as_bytes()]);
        let rename = Request::new([b"RENAME", &scratch[..], self.ticket.key()]);
        let end = (expiry > 0).then(|| success(end));
        end.into_iter().chain([success(rename)]).collect()
    }

    /// Adds the next two elements of a list; true when there are no more, `None` when it is void.
    fn extend(&self, engine: &mut Engine, value: &[Bytes]) -> Option<bool> {
        let (edits, copied) = engine.take_edits(&self.ticket);
        let next: Vec<_> = value.iter().skip(copied).take(2).cloned().collect();
        let (read, length) = (next.len(), value.len());
        let goes_on = engine.extend_prefix(&self.ticket, read, length);
        let scratch = self.scratch();
        let edits = edits.iter().map(|edit| {
            let head = [edit.command.as_bytes(), &scratch[..]];
            success(Request::new(head.into_iter().chain(edit.arguments.iter().map(|a| &a[..]))))
        });
        let steps: Vec<_> = edits.collect();
        let sent = steps.is_empty() || engine.append_part(&self.ticket, &steps);
        let goes_on = goes_on && engine.is_untouched(&self.ticket) && sent;
        let sent = goes_on && self.send(engine, "RPUSH", &next);
        sent.then_some(copied + read >= length)
    }

    /// Lets others write to the list before its next elements are read.
    fn let_go(&mut self, engine: &mut Engine) -> Woken {
        let woken = self.end(engine);
        self.held = Some(engine.connect());
        self.stage = Stage::Holding(true);
        woken
    }

    /// Some of the members, as they are now.
    fn send_again(&self, engine: &mut Engine, value: &[Bytes], again: &[Bytes]) -> bool {
        let (there, gone): (Vec<_>, Vec<_>) =
            again.iter().cloned().partition(|member| value.contains(member));
        self.send(engine, "SADD", &there) && self.send(engine, "SREM", &gone)
    }

    /// A part of the copy; false when there is no room.
    fn send(&self, engine: &mut Engine, command: &str, members: &[Bytes]) -> bool {
        let scratch = self.scratch();
        let step = |member: &Bytes| success(Request::new([command.as_bytes(), &scratch, member]));
        let steps: Vec<_> = members.iter().map(step).collect();
        steps.is_empty() || engine.append_part(&self.ticket, &steps)
    }

    /// Where the value is built: a name for each copy.
    fn scratch(&self) -> Vec<u8> {
        format!("{SCRATCH}{}", self.name).into_bytes()
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
        self.held.map(|conn| engine.release(conn, self.ticket.key_ref())).unwrap_or_default()
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
    SmallVec::from_iter([success(request)])
}

fn success(request: Request) -> Step {
    Step { request, expect: Expect::Success }
}

/// What a dumped set or list holds.
fn elements(dump: &Reply, wanted: u8) -> Option<Vec<Bytes>> {
    let (kind, items) = dump.text()?.split_first()?;
    let elements = items.split(|byte| *byte == b',').map(Bytes::copy_from_slice);
    (*kind == wanted).then(|| elements.collect())
}

/// Whether a key of the secondary is half a copy.
pub(super) fn is_scratch(key: &[u8]) -> bool {
    key.starts_with(SCRATCH.as_bytes())
}
