//! What the engine must know of a write, made in the task of its client and without the engine's lock.
//!
//! *Rule:* a unit is made as if no databases had ever changed numbers; [`Engine::begin`] makes it
//! anew, in its place in the order, where they have.
//!
//! [`Engine::begin`]: super::Engine::begin

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use smallvec::SmallVec;

use super::unit::Touch;
use super::{KeyRef, Settings, Unit, Write};
use crate::engine::effect;
use crate::engine::ledger::Seed;
use crate::protocol::capability::Capabilities;
use crate::protocol::command::{Access, Command, Reach, Serve};
use crate::protocol::resp::Request;

/// Finds the keys of writes, and the probes to send behind them.
#[derive(Debug)]
pub(crate) struct Keyer {
    seed: Seed,
    primary: Capabilities,
    follow_scripts: bool,
    /// Whether anybody wants to know what writes did.
    mirroring: AtomicBool,
}

impl Keyer {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            seed: settings.seed,
            primary: settings.primary,
            follow_scripts: settings.follow_scripts,
            mirroring: AtomicBool::new(settings.mirroring),
        }
    }

    pub(super) fn let_go(&self) {
        self.mirroring.store(false, Ordering::Relaxed);
    }

    fn key_ref(&self, db: u32, key: Bytes) -> KeyRef {
        KeyRef { fingerprint: self.seed.fingerprint(db, &key), space: db, key }
    }

    /// Looks at a write before it is sent.
    ///
    /// `command` is `None` for one that only the server knows; then `unknown` are its keys. A
    /// command whose keys can't be told from its arguments will be refused by the server, so it is
    /// taken as one that touches nothing.
    pub(crate) fn write(
        &self,
        command: Option<&'static Command>,
        request: Request,
        db: u32,
        unknown: &[Bytes],
    ) -> Write {
        let mut touches = SmallVec::new();
        if let Some(command) = command {
            for key in command.keys(&request).unwrap_or_default() {
                let Some(name) = request.arg_bytes(key.index) else { continue };
                let named = self.key_ref(key.db.unwrap_or(db), name);
                touches.push(Touch { named, written: key.access == Access::Write });
            }
        }
        for key in unknown {
            touches.push(Touch { named: self.key_ref(db, key.clone()), written: true });
        }
        let reach = command.map_or(Reach::Keys, |command| command.reach(&request));
        let probes = match command {
            Some(command) if self.mirroring.load(Ordering::Relaxed) => {
                effect::probes(command, &request, &self.primary)
            }
            _ => effect::Probes::new(),
        };
        Write { command, request, db, touches, reach, probes, passive: false }
    }

    /// Makes one step of one write, or of a transaction's commands.
    pub(crate) fn unit(&self, writes: impl IntoIterator<Item = Write>, atomic: bool) -> Unit {
        let mut writes: SmallVec<[Write; 1]> = writes.into_iter().collect();
        let db = writes.first().map(|write| write.db);
        if writes.iter().any(|write| Some(write.db) != db) {
            // Probes are asked behind the transaction, in the database that it selected last: what
            // they would say of other databases' keys is wrong. Without them keys are copied again.
            writes.iter_mut().for_each(|write| write.probes.clear());
        }
        let touches = writes.iter().flat_map(|write| &write.touches);
        let fingerprints = touches.map(|touch| touch.named.fingerprint).collect();
        let everything = writes.iter().any(|write| write.reach != Reach::Keys);
        let is_script = |write: &Write| write.command.is_some_and(|c| c.serve == Serve::Script);
        let scripts = self.follow_scripts && writes.iter().any(is_script);
        Unit { writes, atomic, scripts, fingerprints, everything, numbering: 0, waits: None }
    }

    /// Makes a step of a command that waits on a connection of its own.
    pub(crate) fn waiting_unit(&self, write: Write) -> Unit {
        let mut unit = self.unit([write], false);
        unit.writes.iter_mut().for_each(|write| write.probes.clear());
        unit.waits = Some(0);
        unit
    }
}

/// Marks belong to what a database holds, not to its number: each number stands for a space, and
/// `SWAPDB` makes two numbers change spaces.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    /// Numbers whose space is another number's.
    moved: Vec<(u32, u32)>,
    numbering: u32,
}

impl Spaces {
    /// The space that a database number stands for now.
    pub(super) fn of(&self, db: u32) -> u32 {
        self.moved.iter().find(|(number, _)| *number == db).map_or(db, |(_, space)| *space)
    }

    /// The number under which a space is reached now.
    pub(super) fn number(&self, space: u32) -> u32 {
        self.moved.iter().find(|(_, moved)| *moved == space).map_or(space, |(number, _)| *number)
    }

    pub(super) fn swap(&mut self, a: u32, b: u32) {
        let (space_a, space_b) = (self.of(a), self.of(b));
        self.moved.retain(|(number, _)| *number != a && *number != b);
        self.moved.extend([(a, space_b), (b, space_a)].into_iter().filter(|(n, s)| n != s));
        self.numbering += 1;
    }

    pub(super) fn numbering(&self) -> u32 {
        self.numbering
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::copy_batch::tests::engine;
    use crate::engine::{Answer, ConnId, Engine};
    use crate::protocol::command;
    use crate::protocol::resp::Request;

    const CONN: ConnId = ConnId(1);

    fn unit(engine: &Engine, line: &str) -> Unit {
        let request = Request::new(line.split(' '));
        let keyer = engine.keyer();
        keyer.unit([keyer.write(command::lookup(&request), request, 0, &[])], false)
    }

    fn run(engine: &mut Engine, unit: &mut Unit) {
        assert!(engine.begin(CONN, unit));
        let reply = bytes::Bytes::from_static(b"+OK\r\n");
        engine.finish(CONN, unit, Answer { reply: &reply, probes: &[] });
    }

    #[test]
    fn a_unit_made_before_databases_changed_numbers_is_made_anew_when_it_begins() {
        let mut engine = engine(1 << 20);
        let mut early = unit(&engine, "SET k v");
        engine.spaces.swap(0, 1);
        let key = engine.key_ref(0, "k".into());
        assert_ne!(early.fingerprints[0], key.fingerprint);
        run(&mut engine, &mut early);
        assert_eq!(early.fingerprints[0], key.fingerprint);
        assert_eq!(early.writes[0].written_keys().next().unwrap().space, key.space);
    }

    #[test]
    fn an_answer_waits_for_the_key_under_its_number_of_today() {
        let mut engine = engine(1 << 20);
        let early = unit(&engine, "SET k v");
        engine.spaces.swap(0, 1);
        let key = engine.key_ref(0, "k".into());
        assert_eq!(engine.gate(&early).keys()[0].fingerprint, key.fingerprint);
    }

    #[test]
    fn no_probes_are_sent_once_nothing_is_mirrored_any_more() {
        let mut engine = engine(1 << 20);
        assert_eq!(unit(&engine, "INCR k").probes().count(), 2);
        engine.let_go();
        assert_eq!(unit(&engine, "INCR k").probes().count(), 0);
    }

    #[test]
    fn swapped_numbers_change_spaces() {
        let mut spaces = Spaces::default();
        spaces.swap(0, 1);
        spaces.swap(1, 2);
        assert_eq!([0, 1, 2, 3].map(|db| spaces.of(db)), [1, 2, 0, 3]);
        assert_eq!([0, 1, 2, 3].map(|space| spaces.number(space)), [2, 0, 1, 3]);
    }
}
