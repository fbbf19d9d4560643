//! Many small copies under one lock and in one entry of the log.
//!
//! They are what nearly every key of a backfill is, so what each costs here is what a backfill
//! costs. The rule is that of every copy: it counts only if no write came between.

use bytes::BytesMut;

use super::log::Draft;
use super::{Cause, Engine, Entry, KeyRef, Kind, Ticket};
use crate::engine::ledger::Fingerprint;

/// Keys of one database that were read together, and the one command for each that gives the
/// secondary its state.
#[derive(Debug)]
pub(crate) struct Copies<'a> {
    /// The commands, one behind the other.
    commands: BytesMut,
    /// Whose they are, and where each ends.
    parts: Vec<(&'a Ticket, usize)>,
    /// Whether they were read while the copier held the keys in the order.
    in_position: bool,
}

impl<'a> Copies<'a> {
    /// None yet; room for so many bytes of commands.
    pub(crate) fn with_room(bytes: usize, in_position: bool) -> Self {
        Self { commands: BytesMut::with_capacity(bytes), parts: Vec::new(), in_position }
    }

    /// Adds the command that `write` writes.
    pub(crate) fn push(&mut self, ticket: &'a Ticket, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.commands);
        self.parts.push((ticket, self.commands.len()));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.commands.len()
    }

    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.parts.iter().map(|(ticket, _)| ticket.key_ref().fingerprint)
    }

    /// The same without those at these places, in ascending order.
    fn without(self, places: &[usize]) -> Self {
        if places.is_empty() {
            return self;
        }
        let (mut start, mut left) = (0, Self::with_room(self.bytes(), self.in_position));
        for (place, (ticket, end)) in self.parts.into_iter().enumerate() {
            let command = self.commands.get(start..end).unwrap_or_default();
            start = end;
            if places.binary_search(&place).is_err() {
                left.push(ticket, |out| out.extend_from_slice(command));
            }
        }
        left
    }
}

impl Engine {
    /// Offers what was read: keys that were written meanwhile are dirty again, the others are
    /// migrated. Gives everything back when the log has no room: to be offered again later; keys that
    /// are held meanwhile are dirty again instead.
    pub(crate) fn accept_all<'a>(&mut self, copies: Copies<'a>) -> Option<Copies<'a>> {
        let fits = self.log.takes_copies(copies.commands.len(), copies.parts.len());
        if !fits && copies.in_position {
            // Nobody waits for a secondary that is away.
            copies.parts.iter().for_each(|(ticket, _)| self.abandon(ticket));
            return None;
        }
        if !fits && copies.parts.iter().any(|(ticket, _)| self.is_current(ticket)) {
            return Some(copies);
        }
        let places = copies.parts.iter().enumerate();
        let void = places
            .filter(|(_, (ticket, _))| !self.admit(ticket, copies.in_position))
            .map(|(place, _)| place);
        let void: Vec<usize> = void.collect();
        let copies = copies.without(&void);
        let number = copies.parts.first().map(|(ticket, _)| ticket.db);
        let db = number.and_then(|number| self.settings.databases.to(number))?;
        let keys = copies.parts.iter().map(|(ticket, _)| ticket.key_ref().clone()).collect();
        let draft = Draft { since: self.now, db, atomic: false, keys, kind: Kind::Copies };
        let position = self.log.append_copies(draft, copies.commands.freeze());
        for (ticket, _) in &copies.parts {
            self.copied_at.insert(ticket.key_ref().fingerprint, position);
        }
        None
    }

    /// Whether a copy counts; then its key is migrated.
    fn admit(&mut self, ticket: &Ticket, in_position: bool) -> bool {
        let KeyRef { fingerprint, space, .. } = *ticket.key_ref();
        if !self.is_current(ticket) {
            return false;
        }
        let alone = in_position || !self.order.is_in_flight(fingerprint);
        let void = !self.is_of_now(ticket) || !alone || self.noted(ticket) > 0;
        if void || !self.ledger.settle(space, fingerprint) {
            self.abandon(ticket);
            return false;
        }
        self.taken(fingerprint);
        self.touch(fingerprint.group());
        true
    }

    /// The secondary has answered `entry`, many copies, as expected but for the commands at the
    /// places in `refused`.
    pub(crate) fn restored(&mut self, entry: &Entry, refused: &[usize]) {
        self.counters.applied += (entry.keys.len() - refused.len()) as u64;
        if !refused.is_empty() {
            self.counters.failed += refused.len() as u64;
            self.refused_at = Some(self.now);
        }
        for named in refused.iter().filter_map(|place| entry.keys.get(*place)) {
            self.mark_dirty_since(named, entry.position, Cause::Refused);
        }
        self.acknowledge(entry);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::Settings;
    use crate::engine::ledger::{Groups, Seed};
    use crate::protocol::capability::Capabilities;
    use crate::protocol::databases::Databases;
    use crate::protocol::resp::command;

    pub(in crate::engine) fn engine(buffer: usize) -> Engine {
        let settings = Settings {
            databases: Databases::All,
            primary: Capabilities::default(),
            secondary: Capabilities::default(),
            clock_offset: 0,
            seed: Seed::from_bytes([7; 8]),
            buffer,
            mirroring: true,
            follow_scripts: false,
            marker: None,
        };
        Engine::new(settings, Groups::default())
    }

    pub(in crate::engine) fn claim(engine: &mut Engine, keys: &[&'static str]) -> Vec<Ticket> {
        engine.claim(0, keys.iter().map(|key| Bytes::from_static(key.as_bytes())))
    }

    fn read(tickets: &[Ticket]) -> Copies<'_> {
        let mut copies = Copies::with_room(0, false);
        for ticket in tickets {
            copies.push(ticket, |out| command(out, &[b"DEL", ticket.key()]));
        }
        copies
    }

    fn names(entry: &Entry) -> Vec<&[u8]> {
        entry.keys.iter().map(|named| named.key.as_ref()).collect()
    }

    #[test]
    fn a_key_written_meanwhile_is_cut_out_and_the_others_stand_in_one_entry() {
        let mut engine = engine(1 << 20);
        let tickets = claim(&mut engine, &["a", "b", "c"]);
        engine.mark_dirty(tickets[1].key_ref(), Cause::Effect);
        assert!(engine.accept_all(read(&tickets)).is_none());
        let entries = engine.take_effects(1);
        let expected = b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n*2\r\n$3\r\nDEL\r\n$1\r\nc\r\n";
        assert_eq!((entries.len(), &entries[0].commands[..]), (1, &expected[..]));
        assert_eq!(names(&entries[0]), [b"a", b"c"]);
        assert_eq!((engine.queued().0, engine.dirty_keys()), (2, 1));
        assert_eq!(engine.claim_dirty(9)[0].key(), "b");
    }

    #[test]
    fn what_comes_between_while_a_key_is_held_makes_its_copy_void() {
        let mut engine = engine(1 << 20);
        let tickets = claim(&mut engine, &["before", "meanwhile"]);
        engine.mark_dirty(tickets[0].key_ref(), Cause::Effect);
        for ticket in &tickets {
            engine.begin_reading(ticket);
        }
        engine.mark_dirty(tickets[1].key_ref(), Cause::Effect);
        let copies = Copies { in_position: true, ..read(&tickets) };
        assert!(engine.accept_all(copies).is_none());
        assert_eq!(names(&engine.take_effects(1)[0]), [b"before".as_ref()]);
        assert_eq!(engine.claim_dirty(9)[0].key(), "meanwhile");
    }

    #[test]
    fn only_the_copies_that_were_refused_are_made_again() {
        let mut engine = engine(1 << 20);
        let tickets = claim(&mut engine, &["a", "b", "c"]);
        assert!(engine.accept_all(read(&tickets)).is_none());
        let entries = engine.take_effects(1);
        engine.restored(&entries[0], &[2]);
        assert_eq!((engine.queued().0, engine.dirty_keys()), (0, 1));
        assert_eq!((engine.counters().applied, engine.counters().failed), (2, 1));
        assert_eq!(engine.claim_dirty(9)[0].key(), "c");
    }

    #[test]
    fn a_key_that_was_left_out_is_not_any_more_when_it_is_copied_with_others() {
        let mut engine = engine(1 << 20);
        let ticket = claim(&mut engine, &["k"]).remove(0);
        engine.leave_out(&ticket, false, crate::engine::Lack::FieldExpiry);
        assert_eq!(engine.left_out(), 1);
        engine.mark_dirty(ticket.key_ref(), Cause::Effect);
        let tickets = engine.claim_dirty(1);
        assert!(engine.accept_all(read(&tickets)).is_none());
        assert_eq!(engine.left_out(), 0);
    }

    #[test]
    fn copies_that_find_no_room_are_given_back_whole() {
        let mut engine = engine(64);
        let tickets = claim(&mut engine, &["a", "b"]);
        let left = engine.accept_all(read(&tickets)).expect("no room");
        assert_eq!(left.parts.len(), 2);
        assert!(engine.take_effects(1).is_empty());
    }
}
