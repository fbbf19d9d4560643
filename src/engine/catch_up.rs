//! Copies that go on while their key is written: what of it must be read again, or done again.
//!
//! A big value is read in parts, which takes a while, and one that many write to is never left alone
//! for so long. So writes that tell what they change do not make its copy void. Elements of sets,
//! sorted sets and hashes, and bytes of strings, are noted, and the copier reads them again behind
//! the parts. Lists have a [way of their own](list).
//!
//! *Rule:* a note is taken when the write is answered. A copier that takes the notes and reads the
//! elements after that finds what the writes did; what they do later is noted again. While the copier holds
//! the key nothing is added, and what has been read by then is the value. A copy with notes that
//! nobody has taken is void.
//!
//! *Rule:* a key that may have ended by itself, and begun anew, is not the one that was read. So every
//! end that it had meanwhile is noted too, and must still be to come when the copy is put in place.

mod list;

use std::collections::HashSet;
use std::ops::RangeInclusive;

use bytes::Bytes;

use self::list::{Followed, Prefix};
use super::{Copying, Engine, Ticket, Write};
use crate::engine::ledger::State;
use crate::protocol::resp::{Request, parse_integer};

pub(crate) use self::list::Edit;

/// What the notes of one copy may weigh, in bytes; with more of them it is void.
const LIMIT: usize = 4 * 1024 * 1024;
/// What a noted element weighs beyond its name, roughly.
const NOTE_WEIGHT: usize = 64;
/// Bytes of a string are read again in blocks of so many.
const BLOCK: usize = 64 * 1024;

/// What was written since it was read, or perhaps before.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// Names of elements; of bytes, the first and the last.
    elements: HashSet<Bytes>,
    /// What of a list has been copied, and what is to be done to that.
    prefix: Prefix,
    edits: Vec<Edit>,
    /// The first of the ends that the key was given, on the primary's clock.
    end: Option<i64>,
    /// Whether anything at all was written.
    any: bool,
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

    /// False when there is no room, or nothing to tell what it means.
    fn edit(&mut self, request: &Request) -> bool {
        match self.prefix.follow(request) {
            None => return false,
            Some(Followed::Unread) => {}
            Some(Followed::Edit(edit)) => {
                self.bytes += edit.bytes() + NOTE_WEIGHT;
                self.edits.push(edit);
            }
        }
        self.bytes <= LIMIT
    }

    fn ends(&mut self, at: i64) {
        self.end = Some(self.end.map_or(at, |end| end.min(at)));
    }

    /// Takes a request's doing down, where it tells it; `ahead` is the secondary's clock before the
    /// primary's.
    fn take(&mut self, request: &Request, ahead: i64) -> bool {
        let is = |names: &[&str]| names.iter().any(|name| request.is(0, name));
        if is(&["PEXPIREAT"]) {
            let at = request.arg(2).and_then(parse_integer);
            at.is_some_and(|at| {
                self.ends(at.saturating_sub(ahead));
                true
            })
        } else if is(&["PERSIST", "APPEND"]) {
            // The end is asked for again, and so is what stands behind the bytes that were read.
            true
        } else {
            self.take_elements(request) || self.edit(request)
        }
    }

    /// Only what is of no matter if it did not happen.
    fn take_elements(&mut self, request: &Request) -> bool {
        if let Some(elements) = elements(request) {
            return elements.into_iter().all(|element| self.add(element));
        }
        let blocks = blocks(request);
        blocks.is_some_and(|mut blocks| blocks.all(|block| self.add(block.as_bytes())))
    }
}

impl Engine {
    /// From now on writes to the key are noted; to be called before anything of it is read, its type
    /// and expiry included: what was written until now will be in what is read.
    pub(crate) fn follow(&mut self, ticket: &Ticket) {
        self.begin_reading(ticket);
        let now = self.now;
        if let Some(copying) = self.copying_of(ticket) {
            copying.notes = Some(Notes::default());
            copying.began = Some(now);
        }
    }

    /// What the key holds can't be followed: its copy is void if it was written since, and will be when
    /// it is.
    pub(crate) fn follow_no_more(&mut self, ticket: &Ticket) {
        let notes = self.copying_of(ticket).and_then(|copying| copying.notes.take());
        if notes.is_some_and(|notes| notes.any) {
            let named = ticket.key_ref();
            self.ledger.set(named.space, named.fingerprint, State::Touched);
        }
    }

    pub(crate) fn noted(&self, ticket: &Ticket) -> usize {
        self.notes(ticket).map_or(0, |notes| notes.elements.len() + notes.edits.len())
    }

    /// Hands the noted elements over, to be read after this.
    pub(crate) fn take_noted(&mut self, ticket: &Ticket) -> Vec<Bytes> {
        let notes = self.copying_of(ticket).and_then(|copying| copying.notes.as_mut());
        notes.map(|notes| std::mem::take(&mut notes.elements)).into_iter().flatten().collect()
    }

    /// Hands over what is to be done to the elements of a list that have been copied, and how many
    /// there are after that; while the copier holds the key.
    pub(crate) fn take_edits(&mut self, ticket: &Ticket) -> (Vec<Edit>, usize) {
        let notes = self.copying_of(ticket).and_then(|copying| copying.notes.as_mut());
        let take = |notes: &mut Notes| (std::mem::take(&mut notes.edits), notes.prefix.copied);
        notes.map(take).unwrap_or_default()
    }

    /// The next elements of a list have been read, which has so many by now. False when that can't
    /// be the list that the others were read of.
    pub(crate) fn extend_prefix(
        &mut self,
        ticket: &Ticket,
        elements: usize,
        length: usize,
    ) -> bool {
        let notes = self.copying_of(ticket).and_then(|copying| copying.notes.as_mut());
        let Some(Notes { prefix, .. }) = notes else { return false };
        let is_same = prefix.copied == 0 || prefix.length == length;
        *prefix = Prefix { copied: prefix.copied + elements, length };
        is_same
    }

    /// The first of the ends that the key was given since, on the primary's clock.
    pub(crate) fn noted_end(&self, ticket: &Ticket) -> Option<i64> {
        self.notes(ticket)?.end
    }

    fn notes(&self, ticket: &Ticket) -> Option<&Notes> {
        self.copying.get(&ticket.key_ref().fingerprint)?.notes.as_ref()
    }

    fn copying_of(&mut self, ticket: &Ticket) -> Option<&mut Copying> {
        let current = self.is_current(ticket);
        self.copying.get_mut(&ticket.key_ref().fingerprint).filter(|_| current)
    }

    /// Notes the effect of a write to a key that is not migrated. False when it does not tell what it
    /// changed, or nobody follows: then a copy of the key is void.
    pub(super) fn note<'a>(
        &mut self,
        write: &Write,
        effect: impl IntoIterator<Item = &'a Request>,
    ) -> bool {
        let ahead = self.settings.clock_offset;
        self.note_with(write, |notes| effect.into_iter().all(|request| notes.take(request, ahead)))
    }

    /// The same for a write whose effect is not known.
    pub(super) fn note_request(&mut self, write: &Write) -> bool {
        self.note_with(write, |notes| notes.take_elements(&write.request))
    }

    fn note_with(&mut self, write: &Write, take: impl FnOnce(&mut Notes) -> bool) -> bool {
        let [touch] = write.touches.as_slice() else { return false };
        let named = &touch.named;
        if self.ledger.state(named.space, named.fingerprint) != State::Copying {
            return false;
        }
        let now = self.now;
        let Some(copying) = self.copying.get_mut(&named.fingerprint) else { return false };
        let Some(notes) = &mut copying.notes else { return false };
        notes.any = true;
        if !take(notes) {
            return false;
        }
        copying.since.get_or_insert(now);
        self.touch(named.fingerprint.group());
        self.invalidate_observed(named.fingerprint);
        true
    }
}

/// The bytes of a string that a command changes at most, but for those that it appends, block by
/// block.
fn blocks(request: &Request) -> Option<impl Iterator<Item = String>> {
    let place = || usize::try_from(parse_integer(request.arg(2)?)?).ok();
    let bytes: RangeInclusive<usize> = if request.is(0, "SETRANGE") {
        let first = place()?;
        first..=first.checked_add(request.arg(3)?.len())?
    } else if request.is(0, "SETBIT") {
        let byte = place()? / 8;
        byte..=byte
    } else {
        return None;
    };
    let blocks = bytes.start() / BLOCK..=bytes.end() / BLOCK;
    Some(blocks.map(|block| format!("{} {}", block * BLOCK, (block + 1) * BLOCK - 1)))
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
    fn bytes_of_a_string_are_noted_in_blocks() {
        let noted =
            |line: &str| blocks(&Request::new(line.split(' '))).map(Iterator::collect::<Vec<_>>);
        assert_eq!(noted("SETRANGE k 65535 ab").unwrap(), ["0 65535", "65536 131071"]);
        assert_eq!(noted("SETBIT k 524288 1").unwrap(), ["65536 131071"]);
        assert_eq!(noted("BITFIELD k SET u8 0 1"), None);
    }

    #[test]
    fn the_first_of_all_ends_is_kept_and_told_in_the_time_of_the_primary() {
        let mut notes = Notes::default();
        for line in ["PEXPIREAT k 5000", "PERSIST k", "PEXPIREAT k 9000", "APPEND k x"] {
            assert!(notes.take(&Request::new(line.split(' ')), 2000), "{line}");
        }
        assert_eq!((notes.end, notes.elements.len(), notes.edits.len()), (Some(3000), 0, 0));
    }

    #[test]
    fn an_effect_that_may_not_have_been_moves_no_elements() {
        let mut notes = Notes::default();
        let push = Request::new(["RPUSH", "k", "a"]);
        assert!(notes.take(&push, 0) && !notes.take_elements(&push));
    }

    #[test]
    fn notes_are_bounded() {
        let mut notes = Notes::default();
        assert!(notes.add(b"a") && notes.add(b"a"));
        assert_eq!(notes.bytes, 1 + NOTE_WEIGHT);
        assert!(!notes.add(&vec![b'x'; LIMIT]));
    }
}
