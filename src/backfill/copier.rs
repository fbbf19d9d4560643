//! Copying keys over one connection to the primary.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tracing::warn;

use super::{Progress, Trials};
use crate::engine::effect::Ends;
use crate::engine::{Accepted, Copied, Copies, Engine, Ticket};
use crate::lane::{KeyGuard, SharedEngine};
use crate::protocol::capability::Capabilities;
use crate::protocol::payload::Acceptance;
use crate::protocol::resp::{Flat, Row, about, command};
use crate::server::throttle::Throttle;
use crate::server::{Broken, ConnectError, Connection, Endpoint, Info, Setup};

/// From this estimate of its memory on, a value is copied in chunks, in bytes.
const BIG: i64 = 512 * 1024;
/// Values read together take about so much memory, in bytes.
const TOGETHER: i64 = 4 * 1024 * 1024;

/// Copies go into the log in lots of about so many bytes.
const LOT: usize = 128 * 1024;
/// What is asked about one key takes so many bytes, roughly.
const QUESTIONS: usize = 160;
/// What surrounds key and payload in the command that restores them, in bytes, roughly.
const OVERHEAD: usize = 96;
/// A copy that did not fit is offered again after this time at the latest.
const FOR_ROOM: Duration = Duration::from_millis(20);

/// What copiers of one direction share.
#[derive(Debug)]
pub(crate) struct Route {
    /// The engine.
    pub engine: Arc<SharedEngine>,
    /// Where to read.
    pub endpoint: Endpoint,
    /// What the primary can do.
    pub from: Capabilities,
    /// What the secondary can do.
    pub to: Capabilities,
    /// What payloads the secondary takes.
    pub acceptance: Acceptance,
    /// What has been found out about payloads of modules.
    pub trials: Trials,
    /// Whether the primary evicts by frequency: then that is carried over, not the idle time.
    pub by_frequency: bool,
    /// Counts.
    pub progress: Arc<Progress>,
    /// When to give way to clients.
    pub throttle: Arc<Throttle>,
}

impl Route {
    /// What to add to the primary's clock to get the secondary's, in milliseconds. When that changes,
    /// tickets given before are void: so it holds for those that one has.
    pub(super) fn clock_offset(&self) -> i64 {
        self.engine.look(|engine| engine.settings().clock_offset)
    }
}

/// One connection that reads keys.
#[derive(Debug)]
pub(crate) struct Copier {
    pub(super) route: Arc<Route>,
    pub(super) connection: Connection,
    db: u32,
}

impl Copier {
    /// Connects.
    ///
    /// # Errors
    /// The primary can't be reached or refuses.
    pub(crate) async fn open(route: &Arc<Route>) -> Result<Self, ConnectError> {
        let setup = Setup { no_touch: true, ..Setup::own(&route.endpoint, 0, "crossfade-copy") };
        let connection = Connection::open(&route.endpoint, &setup).await?;
        Ok(Self { route: route.clone(), connection, db: 0 })
    }

    /// Copies keys of any databases. When the connection breaks, what was not accepted is dirty.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn copy(&mut self, mut tickets: Vec<Ticket>) -> Result<(), Broken> {
        tickets.sort_by_key(|ticket| ticket.db);
        let mut open = Open::new(&self.route, tickets);
        for tickets in open.tickets.chunk_by(|one, next| one.db == next.db) {
            let db = tickets.first().map_or(0, |ticket| ticket.db);
            self.select(db).await?;
            self.copy_some(tickets).await?;
        }
        open.tickets.clear();
        Ok(())
    }

    /// Copies keys of one database: small ones together, big ones each by itself.
    async fn copy_some(&mut self, tickets: &[Ticket]) -> Result<(), Broken> {
        let (sizes, ends) = self.look(tickets).await?;
        let (mut together, mut bytes) = (Vec::with_capacity(tickets.len()), 0);
        for (ticket, size) in tickets.iter().zip(sizes) {
            if size >= BIG {
                self.copy_whole(ticket, false).await?;
                continue;
            }
            together.push(ticket);
            bytes += size;
            if bytes >= TOGETHER {
                self.copy_small(&std::mem::take(&mut together), ends, false).await?;
                bytes = 0;
            }
        }
        self.copy_small(&together, ends, false).await
    }

    /// Copies one key while holding it: no write to it is in flight meanwhile. Not so a big one, for
    /// which nobody waits: its copy follows the writes, or is tried again when there are none.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn copy_in_position(&mut self, ticket: Ticket) -> Result<(), Broken> {
        let mut open = Open::new(&self.route, vec![ticket.clone()]);
        self.select(ticket.db).await?;
        if self.look_at(&ticket).await?.is_none() {
            self.copy_whole(&ticket, false).await?;
        } else {
            let engine = self.route.engine.clone();
            let _held = KeyGuard::take(&engine, ticket.key_ref()).await;
            engine.with(|engine| engine.begin_reading(&ticket));
            match self.look_at(&ticket).await? {
                Some(ends) => self.copy_small(&[&ticket], ends, true).await?,
                None => engine.with(|engine| engine.abandon(&ticket)),
            }
        }
        open.tickets.clear();
        Ok(())
    }

    /// How to ask for the end of a small value; `None` for a big one.
    async fn look_at(&mut self, ticket: &Ticket) -> Result<Option<Ends>, Broken> {
        let (sizes, ends) = self.look(std::slice::from_ref(ticket)).await?;
        Ok(sizes.iter().all(|size| *size < BIG).then_some(ends))
    }

    async fn select(&mut self, db: u32) -> Result<(), Broken> {
        if db != self.db {
            self.connection.command(["SELECT", &db.to_string()]).await?;
            self.db = db;
        }
        Ok(())
    }

    /// The memory that values take, roughly (0 for a key that is gone or can't be asked about), and
    /// how to ask for their ends. A key that is given one after this was written to, so that its
    /// copy is void.
    async fn look(&mut self, tickets: &[Ticket]) -> Result<(Vec<i64>, Ends), Broken> {
        let wire = self.connection.wire();
        wire.outgoing.write(|out| {
            command(out, &[b"INFO", b"keyspace"]);
            for ticket in tickets {
                about(out, b"*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n", ticket.key());
            }
        });
        let answers = wire.row(1 + tickets.len()).await?;
        let mut row = Row::new(&answers);
        let info = row.next().and_then(Flat::text);
        let info = info.map(|info| Info::new(&String::from_utf8_lossy(info)));
        let some = info.is_none_or(|info| info.some_key_ends(self.db));
        let sizes = row.map(|size| size.integer().unwrap_or(0));
        let sizes = sizes.chain(std::iter::repeat(0)).take(tickets.len()).collect();
        Ok((sizes, self.route.ends(some)))
    }

    /// Copies keys whose values are small.
    async fn copy_small(
        &mut self,
        tickets: &[&Ticket],
        ends: Ends,
        in_position: bool,
    ) -> Result<(), Broken> {
        let answers = self.read(tickets, ends).await?;
        let room = (answers.len() + tickets.len() * OVERHEAD).min(LOT + LOT / 8);
        let none = || Copies::with_room(room, in_position);
        let (mut row, mut copies) = (Row::new(&answers), none());
        let (mut odd, mut refused, mut reason) = (Vec::new(), Vec::new(), None);
        let offset = self.route.clock_offset();
        for ticket in tickets {
            match Route::read(&mut row, ends).map(|read| self.route.restore(read, offset)) {
                Ok(Some(restore)) => copies.push(ticket, |out| restore.write(ticket.key(), out)),
                Ok(None) => odd.push(*ticket),
                Err(why) => {
                    refused.push(*ticket);
                    reason = Some(why);
                }
            }
            if copies.bytes() >= LOT {
                self.accept_all(std::mem::replace(&mut copies, none())).await;
            }
        }
        self.accept_all(copies).await;
        if let Some(reason) = reason {
            self.refuse(&refused, &reason);
        }
        for ticket in odd {
            self.copy_whole(ticket, in_position).await?;
        }
        Ok(())
    }

    /// Asks for expiry, eviction clock and payload of all keys.
    async fn read(&mut self, tickets: &[&Ticket], ends: Ends) -> Result<Bytes, Broken> {
        let (route, wire) = (&self.route, self.connection.wire());
        wire.outgoing.write(|out| {
            out.reserve(tickets.len() * QUESTIONS);
            for ticket in tickets {
                route.ask(ticket.key(), ends, out);
            }
        });
        wire.row(tickets.len() * Route::replies(ends)).await
    }

    /// Gives copies up that can't be made now, and names the reason in the log, without the keys.
    pub(super) fn refuse(&self, tickets: &[&Ticket], reason: &dyn std::fmt::Display) {
        let keys = tickets.len();
        warn!(%reason, keys, "copies failed and will be tried again");
        self.route.progress.failed_more(keys);
        self.route.engine.with(|engine| tickets.iter().for_each(|ticket| engine.refuse(ticket)));
    }

    pub(super) async fn accept(&self, ticket: &Ticket, copied: &Copied) -> Accepted {
        let engine = &self.route.engine;
        loop {
            match engine.with(|engine| engine.accept(ticket, copied)) {
                Accepted::NoRoom => self.wait_for_more_room().await,
                accepted => return accepted,
            }
        }
    }

    /// Offers small copies to the engine.
    async fn accept_all(&self, copies: Copies<'_>) {
        self.route.engine.marks.fetch(copies.fingerprints());
        let mut left = Some(copies);
        while let Some(copies) = left {
            left = self.route.engine.with(|engine| engine.accept_all(copies));
            if left.is_some() {
                self.wait_for_more_room().await;
            }
        }
    }

    /// Waits until there may be more room in the log than there was.
    pub(super) async fn wait_for_more_room(&self) {
        let engine = &self.route.engine;
        let (_, before) = engine.look(Engine::positions);
        let _ = timeout(FOR_ROOM, engine.until(|engine| engine.positions().1 > before)).await;
        self.wait_for_room().await;
    }

    /// Waits until copies are welcome in the log.
    pub(super) async fn wait_for_room(&self) {
        self.route.engine.until(Engine::may_copy).await;
    }
}

/// Tickets that are given up unless they were dealt with: one that nobody holds any more would keep
/// its key from being copied for ever.
pub(super) struct Open {
    engine: Arc<SharedEngine>,
    tickets: Vec<Ticket>,
}

impl Open {
    pub(super) fn new(route: &Route, tickets: Vec<Ticket>) -> Self {
        Self { engine: route.engine.clone(), tickets }
    }

    /// Hands one over.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        self.tickets.pop()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.tickets.is_empty() {
            return;
        }
        self.engine.with(|engine| self.tickets.iter().for_each(|ticket| engine.abandon(ticket)));
    }
}
