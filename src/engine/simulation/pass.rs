//! A pass over all keys, as the backfill makes it, in small moves.

use bytes::Bytes;

use super::copier::{Copy, is_scratch};
use super::model::{DATABASES, Server};
use crate::engine::{Cause, Engine, Position};
use crate::ledger::Groups;

enum Stage {
    /// What is not migrated is copied; the numbering when this began.
    Copying(u32),
    /// Until the secondary has everything up to here: its databases bear the same numbers then.
    CatchingUp(u32, Position),
    /// What only the secondary holds is looked for.
    Extras(u32),
}

/// One pass. A scan's page is a list of names that grows old before they are claimed.
pub(super) struct Pass {
    groups: Groups,
    stage: Stage,
    database: usize,
    page: Option<Vec<Bytes>>,
}

impl Pass {
    pub(super) fn new(groups: Groups, engine: &Engine) -> Self {
        Self { groups, stage: Stage::Copying(engine.numbering()), database: 0, page: None }
    }

    /// Does one thing. True: the pass is over.
    pub(super) fn go_on(
        &mut self,
        engine: &mut Engine,
        servers: [&Server; 2],
        copies: &mut Vec<Copy>,
    ) -> bool {
        let [primary, secondary] = servers;
        match self.stage {
            Stage::Copying(numbering) => match self.next(primary) {
                Some((db, key)) => {
                    copies.extend(
                        engine.claim(db, std::iter::once(key)).into_iter().map(Copy::of_pass),
                    );
                }
                None if copies.iter().any(|copy| copy.of_pass) => {}
                None => self.end_copying(engine, numbering),
            },
            Stage::CatchingUp(numbering, position) => {
                if engine.positions().1 >= position {
                    self.enter(Stage::Extras(numbering));
                }
            }
            Stage::Extras(numbering) => match self.next(secondary) {
                Some((db, key)) => self.compare(engine, primary, db, key),
                None => return self.end_extras(engine, numbering),
            },
        }
        false
    }

    /// The next name in the scan of a server.
    fn next(&mut self, server: &Server) -> Option<(u32, Bytes)> {
        while self.database < DATABASES {
            let names = server.databases[self.database].keys();
            let page = self
                .page
                .get_or_insert_with(|| names.map(|key| Bytes::copy_from_slice(key)).collect());
            if let Some(key) = page.pop() {
                return Some((self.database as u32, key));
            }
            self.database += 1;
            self.page = None;
        }
        None
    }

    fn enter(&mut self, stage: Stage) {
        (self.stage, self.database, self.page) = (stage, 0, None);
    }

    fn end_copying(&mut self, engine: &Engine, numbering: u32) {
        match engine.settled_numbering() {
            None => {}
            Some(now) if now == numbering => {
                self.enter(Stage::CatchingUp(numbering, engine.positions().0));
            }
            Some(now) => self.enter(Stage::Copying(now)),
        }
    }

    fn compare(&self, engine: &mut Engine, primary: &Server, db: u32, key: Bytes) {
        let named = engine.named(db, key);
        let built = is_scratch(&named.key);
        let doubtful = !built && self.groups.contains(named.fingerprint.group());
        if doubtful && !primary.databases[db as usize].contains_key(&named.key[..]) {
            engine.soil(&named, Cause::Verify);
        }
    }

    fn end_extras(&mut self, engine: &mut Engine, numbering: u32) -> bool {
        match engine.settled_numbering() {
            None => return false,
            Some(now) if now == numbering => engine.end_pass(),
            Some(now) => {
                self.enter(Stage::Copying(now));
                return false;
            }
        }
        true
    }
}
