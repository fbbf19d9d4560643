//! Copies that go on while their key is written: which elements must be read again.
//!
//! A big set, sorted set or hash is read in parts, which takes a while, and one that many write to is
//! never left alone for so long. So writes that name the elements they change do not make its copy
//! void: the elements are noted, and the copier reads them again behind the parts.
//!
//! *Rule:* a note is taken when the write is answered. Whoever takes the notes and reads the elements
//! after that finds what the writes did; what they do later is noted again. While the copier holds
//! the key nothing is added, and what has been read by then is the value. A copy with notes that
//! nobody has taken is void.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Copying, Engine, Ticket, Write};
use crate::ledger::State;
use crate::resp::Request;

/// What the notes of one copy may weigh, in bytes; with more of them it is void.
const LIMIT: usize = 4 * 1024 * 1024;
/// What a noted element weighs beyond its name, roughly.
const NOTE_WEIGHT: usize = 64;

/// Elements written since they were read, or perhaps before.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    elements: HashSet<Bytes>,
    bytes: usize,
}

impl Notes {
    /// False when there is no room.
    fn add(&mut self, element: &[u8]) -> bool {
        if !self.elements.contains(element) {
            // Its own: the request is a piece of a client's read buffer.
            self.elements.insert(Bytes::copy_from_slice(element));
            self.bytes += element.len() + NOTE_WEIGHT;
        }
        self.bytes <= LIMIT
    }
}

impl Engine {
    /// From now on writes to elements of the key are noted; to be called before anything of it is
    /// read, its type and expiry included: what was written until now will be in what is read.
    pub fn follow(&mut self, ticket: &Ticket) {
        self.begin_reading(ticket);
        if let Some(copying) = self.copying_of(ticket) {
            copying.notes = Some(Notes::default());
        }
    }

    /// How many elements are noted.
    pub fn noted(&self, ticket: &Ticket) -> usize {
        let copying = self.copying.get(&ticket.named().fingerprint);
        copying.and_then(|copying| copying.notes.as_ref()).map_or(0, |notes| notes.elements.len())
    }

    /// Hands the noted elements over, to be read after this.
    pub fn take_noted(&mut self, ticket: &Ticket) -> Vec<Bytes> {
        let notes = self.copying_of(ticket).and_then(|copying| copying.notes.as_mut());
        notes.map(std::mem::take).into_iter().flat_map(|notes| notes.elements).collect()
    }

    fn copying_of(&mut self, ticket: &Ticket) -> Option<&mut Copying> {
        let current = self.is_current(ticket);
        self.copying.get_mut(&ticket.named().fingerprint).filter(|_| current)
    }

    /// Notes what a write to a key did that is not migrated, where `requests` say it. False when
    /// they don't, or nobody follows: then a copy of the key is void.
    pub(super) fn note<'a>(
        &mut self,
        write: &Write,
        requests: impl IntoIterator<Item = &'a Request>,
    ) -> bool {
        let [touch] = write.touches.as_slice() else { return false };
        let named = &touch.named;
        if self.ledger.state(named.space, named.fingerprint) != State::Copying {
            return false;
        }
        let now = self.now;
        let Some(copying) = self.copying.get_mut(&named.fingerprint) else { return false };
        let Some(notes) = &mut copying.notes else { return false };
        for request in requests {
            let Some(elements) = elements(request) else { return false };
            if !elements.into_iter().all(|element| notes.add(element)) {
                return false;
            }
        }
        copying.since.get_or_insert(now);
        self.touch(named.fingerprint.group());
        self.disturb(named.fingerprint);
        true
    }
}

/// The elements that a command changes at most; `None` when it may change others, or the key itself.
fn elements(request: &Request) -> Option<Vec<&[u8]>> {
    let is = |names: &[&str]| names.iter().any(|name| request.is(0, name));
    let args = request.args().skip(2);
    if is(&["SADD", "SREM", "HDEL", "ZREM"]) {
        Some(args.collect())
    } else if is(&["HSET", "HMSET"]) {
        Some(args.step_by(2).collect())
    } else if is(&["HSETNX", "HINCRBY", "HINCRBYFLOAT"]) {
        Some(args.take(1).collect())
    } else if is(&["ZADD"]) {
        let flag = |arg: &&[u8]| {
            ["NX", "XX", "GT", "LT", "CH", "INCR"]
                .iter()
                .any(|flag| arg.eq_ignore_ascii_case(flag.as_bytes()))
        };
        Some(args.skip_while(flag).skip(1).step_by(2).collect())
    } else if is(&["ZINCRBY"]) {
        Some(args.skip(1).collect())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(line: &str) -> Option<Vec<String>> {
        let request = Request::new(line.split(' '));
        let text = |element: &[u8]| String::from_utf8_lossy(element).into_owned();
        elements(&request).map(|elements| elements.into_iter().map(text).collect())
    }

    #[test]
    fn commands_that_name_what_they_change_are_known() {
        for (line, expected) in [
            ("SADD k a b", "a b"),
            ("srem k a", "a"),
            ("HSET k f 1 g 2", "f g"),
            ("HMSET k f 1", "f"),
            ("HSETNX k f 1", "f"),
            ("HINCRBY k f 3", "f"),
            ("HINCRBYFLOAT k f 3", "f"),
            ("HDEL k f g", "f g"),
            ("ZADD k 1 m 2 n", "m n"),
            ("ZADD k gt CH 1 m 2 n", "m n"),
            ("ZADD k XX INCR 1 m", "m"),
            ("ZINCRBY k 1 m", "m"),
            ("ZREM k m n", "m n"),
        ] {
            let expected: Vec<_> = expected.split(' ').map(str::to_owned).collect();
            assert_eq!(named(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn commands_that_change_others_or_the_key_are_not() {
        for line in ["ZREMRANGEBYSCORE k 1 2", "PEXPIRE k 5", "RENAME k l", "SPOP k", "EVAL s 1 k"]
        {
            assert_eq!(named(line), None, "{line}");
        }
    }

    #[test]
    fn notes_are_bounded() {
        let mut notes = Notes::default();
        assert!(notes.add(b"a") && notes.add(b"a"));
        assert_eq!(notes.bytes, 1 + NOTE_WEIGHT);
        assert!(!notes.add(&vec![b'x'; LIMIT]));
    }
}
