//! A pass over all keys, as the backfill makes it, in small moves.

use bytes::Bytes;

use super::copier::{Copy, Names, is_scratch};
use super::model::{DATABASES, Server};
use super::trace;
use crate::engine::lookup::Lookup;
use crate::engine::{Engine, Position};

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
    stage: Stage,
    database: usize,
    page: Option<Vec<Bytes>>,
    /// As old as the stage.
    lookups: Vec<Lookup>,
}

impl Pass {
    pub(super) fn new(engine: &Engine) -> Self {
        trace(|| "pass".to_owned());
        Self {
            stage: Stage::Copying(engine.numbering()),
            database: 0,
            page: None,
            lookups: lookups(engine),
        }
    }

    /// Does one thing. True: the pass is over.
    pub(super) fn go_on(
        &mut self,
        engine: &mut Engine,
        servers: [&Server; 2],
        copies: &mut Vec<Copy>,
        names: &mut Names,
    ) -> bool {
        let [primary, secondary] = servers;
        match self.stage {
            Stage::Copying(numbering) => match self.next(primary) {
                Some((db, key)) => {
                    let keys = self.lookups[db as usize].unclaimed(vec![key]);
                    let tickets = engine.claim(db, keys.into_iter()).into_iter();
                    copies.extend(tickets.map(|ticket| Copy::of_pass(ticket, names.next())));
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
                Some((db, key)) if !is_scratch(&key) => {
                    engine.found_on_secondary(db, key, false);
                }
                Some(_) => {}
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

    fn copy_again(&mut self, engine: &Engine, numbering: u32) {
        self.lookups = lookups(engine);
        self.enter(Stage::Copying(numbering));
    }

    fn end_copying(&mut self, engine: &Engine, numbering: u32) {
        match engine.settled_numbering() {
            None => {}
            Some(now) if now == numbering => {
                self.enter(Stage::CatchingUp(numbering, engine.positions().0));
            }
            Some(now) => self.copy_again(engine, now),
        }
    }

    fn end_extras(&mut self, engine: &mut Engine, numbering: u32) -> bool {
        match engine.settled_numbering() {
            None => return false,
            Some(now) if now == numbering => {
                trace(|| "pass is over".to_owned());
                engine.end_pass();
            }
            Some(now) => {
                self.copy_again(engine, now);
                return false;
            }
        }
        true
    }
}

fn lookups(engine: &Engine) -> Vec<Lookup> {
    (0..DATABASES as u32).map(|db| engine.lookup(db)).collect()
}
