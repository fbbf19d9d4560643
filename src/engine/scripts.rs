//! Scripts write what they do not declare.
//!
//! A server tells a tracking connection which keys are written, by whomever, right after the reply
//! to the command that wrote them. From the moment that a script is sent until a question asked
//! behind its reply has been answered there, every key that is told may be the script's, and is
//! copied again. That is more than the script wrote, never less.
//!
//! *Rule:* no script is sent while nobody listens. It is asked for at the last moment, on the way to
//! the connection that it is sent down, so that no way into a transaction and no flip gets round it.
//!
//! What is told has no database: the key is copied in every database that is in use. That a database
//! was emptied is told. That two changed places is not: the server's own count of `SWAPDB` tells it.
//! So that neither is taken for what clients did themselves, a command of theirs that reaches whole
//! databases waits until every script has been accounted for, and a script until that count has been
//! read again behind it.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{Cause, ConnId, Engine, Unit, Woken};

/// Scripts remembered as known to the secondary.
const KNOWN: usize = 10_000;
/// What the bodies of scripts may take of the secondary's memory, in bytes. The primary may drop
/// those that were only run, the secondary keeps what it is told.
const BODIES: usize = 16 * 1024 * 1024;
/// Names kept until it is known which databases are in use, in bytes.
const NAMES: usize = 1024 * 1024;

/// Whether the primary tells which keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tracking {
    /// No script has come yet.
    Off,
    /// One has, and the primary is being asked.
    Wanted,
    /// Every written key is told.
    On,
    /// What scripts write without declaring it goes unseen: the server does not offer it, or the
    /// operator does not want it.
    Impossible,
}

/// What to ask the primary on the tracking connection, and what the answer will stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Scripts answered by now.
    scripts: u64,
    /// Commands of clients that reach whole databases, begun or answered by now.
    reaching: u64,
}

/// What the primary says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The databases that hold keys.
    pub databases: Vec<u32>,
    /// How often it was told to exchange two databases; `None` where it does not say.
    pub swaps: Option<u64>,
}

/// The primary's count of exchanged databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swaps {
    /// It may have changed by a command of a client since it was read.
    Unread,
    /// What it said; `None` where it does not tell.
    Read(Option<u64>),
}

/// The scripts under way and not yet accounted for.
#[derive(Debug)]
pub(super) struct Scripts {
    tracking: Tracking,
    running: u32,
    /// Scripts answered since the start.
    finished: u64,
    /// Scripts whose keys have all been told.
    fenced: u64,
    /// Commands that reach whole databases, begun or answered.
    reaching: u64,
    swaps: Swaps,
    /// The primary's databases that are or were in use.
    databases: BTreeSet<u32>,
    /// Keys told since the primary last said which databases hold keys.
    told: HashSet<Bytes>,
    told_bytes: usize,
    /// Connections that wait for any of this.
    gated: Woken,
    known: Known,
}

/// Digests of the scripts that the secondary has been told.
#[derive(Debug, Default)]
struct Known {
    digests: HashSet<u64>,
    bytes: usize,
}

impl Scripts {
    pub(super) fn new(follow: bool) -> Self {
        Self {
            tracking: if follow { Tracking::Off } else { Tracking::Impossible },
            running: 0,
            finished: 0,
            fenced: 0,
            reaching: 0,
            swaps: Swaps::Unread,
            databases: BTreeSet::new(),
            told: HashSet::new(),
            told_bytes: 0,
            gated: Woken::new(),
            known: Known::default(),
        }
    }

    /// Whether the secondary is to be told this script; from now on it has been.
    pub(super) fn is_first(&mut self, body: &[u8]) -> bool {
        let known = &mut self.known;
        if known.digests.len() >= KNOWN || known.bytes + body.len() > BODIES {
            return false;
        }
        let first = known.digests.insert(xxh3_64(body));
        if first {
            known.bytes += body.len();
        }
        first
    }

    pub(super) fn knows(&self, body: &[u8]) -> bool {
        self.known.digests.contains(&xxh3_64(body))
    }

    /// The secondary has not been told after all.
    pub(super) fn forget(&mut self, body: &[u8]) {
        if self.known.digests.remove(&xxh3_64(body)) {
            self.known.bytes -= body.len();
        }
    }

    /// What the secondary knows is in doubt.
    pub(super) fn forget_known(&mut self) {
        self.known = Known::default();
    }

    pub(super) fn finished(&self) -> u64 {
        self.finished
    }

    /// Whether all is told of the first `count` scripts that ever will be.
    pub(super) fn has_told(&self, count: u64) -> bool {
        self.tracking == Tracking::Impossible || self.fenced >= count
    }

    /// Whether a key that is told now may be a script's.
    pub(super) fn is_open(&self) -> bool {
        let unaccounted = self.running > 0 || self.finished > self.fenced;
        unaccounted && self.tracking != Tracking::Impossible
    }

    pub(super) fn disconnect(&mut self, conn: ConnId) {
        self.gated.retain(|gated| *gated != conn);
    }

    fn admits(&self, unit: &Unit) -> bool {
        if self.tracking == Tracking::Impossible {
            return true;
        }
        let listened_to = self.tracking == Tracking::On && self.swaps != Swaps::Unread;
        (!unit.scripts || listened_to) && (!unit.reaches_databases() || !self.is_open())
    }

    /// Keeps the names of written keys; false when there are too many.
    fn keep(&mut self, keys: &[Bytes]) -> bool {
        for key in keys {
            if self.told.insert(key.clone()) {
                self.told_bytes += key.len();
            }
        }
        self.told_bytes <= NAMES
    }

    fn take_told(&mut self) -> HashSet<Bytes> {
        self.told_bytes = 0;
        std::mem::take(&mut self.told)
    }

    fn question(&self) -> Option<Question> {
        let unread = self.swaps == Swaps::Unread && !self.gated.is_empty();
        let asks = self.tracking == Tracking::On && (self.finished > self.fenced || unread);
        asks.then_some(Question { scripts: self.finished, reaching: self.reaching })
    }
}

impl Engine {
    /// Whether a step may be sent as far as scripts are concerned. If not, its connection is woken.
    pub(super) fn admits_script(&mut self, conn: ConnId, unit: &Unit) -> bool {
        let scripts = &mut self.scripts;
        if scripts.admits(unit) {
            return true;
        }
        if unit.scripts && scripts.tracking == Tracking::Off {
            scripts.tracking = Tracking::Wanted;
        }
        if !scripts.gated.contains(&conn) {
            scripts.gated.push(conn);
        }
        false
    }

    pub(super) fn begin_script(&mut self, unit: &Unit) {
        self.note_databases(unit);
        if unit.scripts {
            self.scripts.running += 1;
        }
        self.reach_databases(unit);
    }

    pub(super) fn end_script(&mut self, unit: &Unit) {
        self.reach_databases(unit);
        if unit.scripts {
            self.scripts.running -= 1;
            self.scripts.finished += 1;
            if unit.reaches_databases() {
                // Which of the two it was that reached so far can't be told.
                self.void_and_resync(Cause::Undeclared);
            }
        }
    }

    fn reach_databases(&mut self, unit: &Unit) {
        if unit.reaches_databases() {
            self.scripts.reaching += 1;
            self.scripts.swaps = Swaps::Unread;
        }
    }

    fn note_databases(&mut self, unit: &Unit) {
        for write in &unit.writes {
            self.scripts.databases.insert(write.db);
            for touch in &write.touches {
                self.scripts.databases.insert(self.spaces.number(touch.named.space));
            }
        }
    }

    /// Scripts are to be expected: they have come before.
    pub(crate) fn expect_scripts(&mut self) {
        if self.scripts.tracking == Tracking::Off {
            self.scripts.tracking = Tracking::Wanted;
        }
    }

    /// Whether the primary is to be asked something on the tracking connection, or for one.
    pub(crate) fn needs_tracker(&self) -> bool {
        self.scripts.tracking == Tracking::Wanted || self.scripts.question().is_some()
    }

    pub(crate) fn has_scripts(&self) -> bool {
        matches!(self.scripts.tracking, Tracking::Wanted | Tracking::On)
    }

    /// The primary tells which keys are written, from before it said this. What scripts that were
    /// sent earlier have done until then is not known.
    pub(crate) fn tracking_began(&mut self, reading: &Reading) -> Woken {
        self.scripts.tracking = Tracking::On;
        self.scripts.databases.extend(&reading.databases);
        if self.scripts.is_open() {
            self.scripts.swaps = Swaps::Read(reading.swaps);
            self.void_and_resync(Cause::Unknown);
        }
        std::mem::take(&mut self.scripts.gated)
    }

    /// It told until now, if it did. What scripts have written since is not known, nor what of it
    /// has been read.
    pub(crate) fn tracking_ended(&mut self) -> bool {
        if self.scripts.tracking != Tracking::On {
            return false;
        }
        self.scripts.tracking = Tracking::Wanted;
        self.scripts.swaps = Swaps::Unread;
        self.scripts.take_told();
        if self.scripts.is_open() {
            self.void_and_resync(Cause::Unknown);
        }
        true
    }

    /// It will not tell: what scripts declare has to do.
    pub(crate) fn tracking_is_impossible(&mut self) -> Woken {
        self.scripts.tracking = Tracking::Impossible;
        std::mem::take(&mut self.scripts.gated)
    }

    /// What the primary is to be asked on the tracking connection, when anything waits for that.
    pub(crate) fn question(&self) -> Option<Question> {
        self.scripts.question()
    }

    /// It has answered, and has told before which keys were written until then.
    pub(crate) fn answered(&mut self, question: Question, reading: &Reading) -> Woken {
        let told = self.scripts.take_told();
        for db in &reading.databases {
            if self.scripts.databases.insert(*db) {
                self.mark_told_dirty(*db, told.iter());
            }
        }
        if matches!(self.scripts.swaps, Swaps::Read(before) if before != reading.swaps) {
            self.void_and_resync(Cause::Undeclared);
        }
        let scripts = &mut self.scripts;
        if question.reaching == scripts.reaching {
            scripts.swaps = Swaps::Read(reading.swaps);
        }
        scripts.fenced = scripts.fenced.max(question.scripts);
        std::mem::take(&mut scripts.gated)
    }

    /// The primary tells that these keys were written, by scripts perhaps.
    pub(crate) fn keys_were_written(&mut self, keys: &[Bytes]) {
        if !self.scripts.is_open() {
            return;
        }
        for db in self.scripts.databases.clone() {
            self.mark_told_dirty(db, keys.iter());
        }
        if !self.scripts.keep(keys) {
            self.scripts.take_told();
            self.void_and_resync(Cause::Undeclared);
        }
    }

    /// The primary tells that a database was emptied. No client did that while scripts are open.
    pub(crate) fn keys_were_flushed(&mut self) {
        if self.scripts.is_open() {
            self.void_and_resync(Cause::Undeclared);
        }
    }

    fn mark_told_dirty<'a>(&mut self, db: u32, keys: impl Iterator<Item = &'a Bytes>) {
        for key in keys {
            let named = self.key_ref(db, key.clone());
            self.mark_dirty_out_of_order(&named, Cause::Undeclared);
            self.stir(named.fingerprint);
        }
        self.doubt_stirred();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Settings;
    use crate::engine::copy_batch::tests::engine as without_scripts;
    use crate::engine::ledger::Groups;
    use crate::protocol::command;
    use crate::protocol::resp::Request;

    const CONN: ConnId = ConnId(1);

    fn engine() -> Engine {
        let settings = without_scripts(1 << 20).settings().clone();
        Engine::new(Settings { follow_scripts: true, ..settings }, Groups::full())
    }

    fn unit(engine: &Engine, line: &str) -> Unit {
        let request = Request::new(line.split(' '));
        let write = engine.keyer().write(command::lookup(&request), request, 0, &[]);
        engine.keyer().unit([write], false)
    }

    fn finish(engine: &mut Engine, unit: &Unit) {
        let reply = Bytes::from_static(b"+OK\r\n");
        engine.finish(CONN, unit, crate::engine::Answer { reply: &reply, probes: &[] });
    }

    /// Runs a script that is listened to from its beginning.
    fn run(engine: &mut Engine) {
        let mut script = unit(engine, "EVAL x 0");
        assert!(!engine.begin(CONN, &mut script) && engine.needs_tracker());
        assert_eq!(engine.tracking_began(&Reading::default()).as_slice(), [CONN]);
        assert!(!engine.begin(CONN, &mut script), "the count of exchanges has not been read");
        let question = engine.question().expect("a question");
        engine.answered(question, &Reading::default());
        assert!(engine.begin(CONN, &mut script));
        finish(engine, &script);
    }

    #[test]
    fn keys_are_taken_for_a_scripts_until_a_question_behind_its_reply_is_answered() {
        let mut engine = engine();
        engine.keys_were_written(&[Bytes::from_static(b"before")]);
        run(&mut engine);
        engine.keys_were_written(&[Bytes::from_static(b"meanwhile")]);
        let question = engine.question().expect("a question");
        engine.answered(question, &Reading::default());
        engine.keys_were_written(&[Bytes::from_static(b"behind")]);
        assert_eq!(engine.question(), None);
        let dirty = engine.claim_dirty(9);
        let names: Vec<_> = dirty.iter().map(|ticket| ticket.key().clone()).collect();
        assert_eq!(names, ["meanwhile"]);
    }

    #[test]
    fn a_key_is_copied_in_a_database_that_nobody_was_known_to_use() {
        let mut engine = engine();
        run(&mut engine);
        engine.keys_were_written(&[Bytes::from_static(b"k")]);
        let question = engine.question().expect("a question");
        engine.answered(question, &Reading { databases: vec![0, 5], swaps: None });
        let dbs: Vec<u32> = engine.claim_dirty(9).iter().map(|ticket| ticket.db).collect();
        assert_eq!(dbs, [0, 5]);
    }

    #[test]
    fn what_reaches_whole_databases_and_a_script_wait_for_each_other() {
        let mut engine = engine();
        run(&mut engine);
        let mut flush = unit(&engine, "FLUSHALL");
        assert!(!engine.begin(CONN, &mut flush), "the script is not accounted for");
        let question = engine.question().expect("a question");
        assert_eq!(engine.answered(question, &Reading::default()).as_slice(), [CONN]);
        assert!(engine.begin(CONN, &mut flush));
        finish(&mut engine, &flush);
        let mut script = unit(&engine, "EVAL x 0");
        assert!(!engine.begin(CONN, &mut script), "nothing has been read behind the flush");
        let question = engine.question().expect("a question");
        engine.answered(question, &Reading { swaps: Some(7), ..Reading::default() });
        assert!(engine.begin(CONN, &mut script));
        engine.begin_pass();
        finish(&mut engine, &script);
        let question = engine.question().expect("a question");
        engine.answered(question, &Reading { swaps: Some(8), ..Reading::default() });
        assert!(engine.needs_pass(), "only the script can have exchanged databases");
    }

    #[test]
    fn a_script_that_empties_a_database_makes_everything_be_copied_again() {
        let mut engine = engine();
        engine.keys_were_flushed();
        assert!(!engine.needs_pass(), "by a client");
        run(&mut engine);
        engine.keys_were_flushed();
        assert!(engine.needs_pass());
    }

    #[test]
    fn nothing_waits_for_a_primary_that_does_not_tell() {
        let mut engine = engine();
        let mut script = unit(&engine, "EVAL x 0");
        assert!(!engine.begin(CONN, &mut script));
        assert_eq!(engine.tracking_is_impossible().as_slice(), [CONN]);
        assert!(engine.begin(CONN, &mut script));
        finish(&mut engine, &script);
        assert_eq!((engine.question(), engine.dirty_keys()), (None, 0));
    }

    #[test]
    fn bodies_beyond_the_room_for_them_are_not_told() {
        let mut scripts = Scripts::new(true);
        let large = vec![b'x'; BODIES - 1];
        assert!(scripts.is_first(&large) && !scripts.is_first(&large));
        assert!(!scripts.is_first(b"ab") && scripts.is_first(b"c"));
        scripts.forget(&large);
        assert!(scripts.is_first(b"ab"));
    }
}
