//! Copying keys over one connection to the primary.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::Progress;
use crate::backend::{Broken, ConnectError, Connection, Endpoint, Setup};
use crate::capability::Capabilities;
use crate::effect::{Expect, Expiry, Step};
use crate::engine::{Accepted, ConnId, Copied, Ticket};
use crate::lane::Hub;
use crate::payload::{Acceptance, Payload};
use crate::resp::{Builder, Reply, Request};

/// From this estimate of its memory on, a value is copied in chunks, in bytes.
const BIG: i64 = 512 * 1024;

/// What copiers of one direction share.
#[derive(Debug)]
pub struct Route {
    /// The engine.
    pub hub: Arc<Hub>,
    /// Where to read.
    pub endpoint: Endpoint,
    /// What the primary can do.
    pub from: Capabilities,
    /// What the secondary can do.
    pub to: Capabilities,
    /// What payloads the secondary takes.
    pub acceptance: Acceptance,
    /// Whether the primary evicts by frequency: then that is carried over, not the idle time.
    pub by_frequency: bool,
    /// What to add to the primary's clock to get the secondary's, in milliseconds.
    pub clock_offset: i64,
    /// Counts.
    pub progress: Arc<Progress>,
}

/// One connection that reads keys.
#[derive(Debug)]
pub struct Copier {
    pub(super) route: Arc<Route>,
    pub(super) connection: Connection,
    db: u32,
}

/// What was read of one key.
#[derive(Debug)]
struct Read {
    expiry: Expiry,
    clock: Option<i64>,
    payload: Option<Bytes>,
}

impl Copier {
    /// Connects.
    ///
    /// # Errors
    /// The primary can't be reached or refuses.
    pub async fn open(route: &Arc<Route>) -> Result<Self, ConnectError> {
        let setup = Setup { no_touch: true, ..Setup::own(&route.endpoint, 0, "crossfade-copy") };
        let connection = Connection::open(&route.endpoint, &setup).await?;
        Ok(Self { route: route.clone(), connection, db: 0 })
    }

    /// Copies keys of any databases. When the connection breaks, what was not accepted is dirty.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn copy(&mut self, tickets: Vec<Ticket>) -> Result<(), Broken> {
        let mut open = Open { hub: self.route.hub.clone(), tickets };
        while !open.tickets.is_empty() {
            let db = open.tickets.first().map_or(0, |ticket| ticket.db);
            self.select(db).await?;
            let batch: Vec<Ticket> =
                open.tickets.iter().filter(|ticket| ticket.db == db).cloned().collect();
            let (small, big) = self.by_size(batch).await?;
            self.copy_small(&small).await?;
            for ticket in &big {
                self.copy_whole(ticket, false).await?;
            }
            open.tickets.retain(|ticket| ticket.db != db);
        }
        Ok(())
    }

    /// Copies one key while holding it: no write to it is in flight meanwhile.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn copy_in_position(&mut self, ticket: Ticket) -> Result<(), Broken> {
        let mut open = Open { hub: self.route.hub.clone(), tickets: vec![ticket.clone()] };
        self.select(ticket.db).await?;
        let hub = self.route.hub.clone();
        let conn = hub.with(crate::engine::Engine::connect);
        let held = Held { hub: &hub, conn, ticket: &ticket };
        std::future::poll_fn(|cx| hub.poll_hold(conn, ticket.named(), cx)).await;
        let (small, big) = self.by_size(vec![ticket.clone()]).await?;
        if let Some(ticket) = small.first() {
            let reads = self.read(std::slice::from_ref(ticket)).await?;
            self.offer(ticket, reads.into_iter().next(), true).await?;
        }
        if let Some(ticket) = big.first() {
            self.copy_whole(ticket, true).await?;
        }
        drop(held);
        open.tickets.clear();
        Ok(())
    }

    async fn select(&mut self, db: u32) -> Result<(), Broken> {
        if db != self.db {
            self.connection.command(["SELECT", &db.to_string()]).await?;
            self.db = db;
        }
        Ok(())
    }

    async fn by_size(
        &mut self,
        tickets: Vec<Ticket>,
    ) -> Result<(Vec<Ticket>, Vec<Ticket>), Broken> {
        for ticket in &tickets {
            self.connection.queue(&Request::new([b"MEMORY".as_ref(), b"USAGE", ticket.key()]));
        }
        let (mut small, mut big) = (Vec::with_capacity(tickets.len()), Vec::new());
        for ticket in tickets {
            let size = self.connection.answer().await?.integer().unwrap_or(0);
            if size >= BIG { big.push(ticket) } else { small.push(ticket) }
        }
        Ok((small, big))
    }

    async fn copy_small(&mut self, tickets: &[Ticket]) -> Result<(), Broken> {
        let reads = self.read(tickets).await?;
        for (ticket, read) in tickets.iter().zip(reads) {
            self.offer(ticket, Some(read), false).await?;
        }
        Ok(())
    }

    async fn read(&mut self, tickets: &[Ticket]) -> Result<Vec<Read>, Broken> {
        let absolute = self.route.from.tells_absolute_expiry();
        for ticket in tickets {
            let key: &[u8] = ticket.key();
            if absolute {
                self.connection.queue(&Request::new([b"PEXPIRETIME", key]));
            } else {
                self.connection.queue(&Request::new(["TIME"]));
                self.connection.queue(&Request::new([b"PTTL", key]));
            }
            let clock: &[u8] = if self.route.by_frequency { b"FREQ" } else { b"IDLETIME" };
            self.connection.queue(&Request::new([b"OBJECT", clock, key]));
            self.connection.queue(&Request::new([b"DUMP", key]));
        }
        let mut reads = Vec::with_capacity(tickets.len());
        for _ in tickets {
            let now =
                if absolute { 0 } else { unix_milliseconds(&self.connection.answer().await?) };
            let expiry = self.connection.answer().await?.integer().unwrap_or(-1);
            let clock = self.connection.answer().await?.integer();
            let payload = match self.connection.answer().await? {
                Reply::Bulk(payload) => Some(payload),
                _ => None,
            };
            reads.push(Read { expiry: Expiry::from_answer(expiry, now), clock, payload });
        }
        Ok(reads)
    }

    /// Offers a copy to the engine, waiting for room; what a payload can't carry goes by commands.
    async fn offer(
        &mut self,
        ticket: &Ticket,
        read: Option<Read>,
        in_position: bool,
    ) -> Result<(), Broken> {
        let steps = match read.map(|read| self.steps(ticket, read)) {
            Some(Some(steps)) => steps,
            Some(None) => return self.copy_whole(ticket, in_position).await,
            None => return Ok(()),
        };
        self.accept(ticket, &Copied { steps, in_position }).await;
        Ok(())
    }

    pub(super) async fn accept(&self, ticket: &Ticket, copied: &Copied) -> Accepted {
        let hub = &self.route.hub;
        loop {
            match hub.with(|engine| engine.accept(ticket, copied)) {
                Accepted::NoRoom => self.wait_for_room().await,
                accepted => return accepted,
            }
        }
    }

    /// Waits until copies are welcome in the log.
    pub(super) async fn wait_for_room(&self) {
        let hub = &self.route.hub;
        while !hub.with(|engine| engine.may_copy()) {
            let _ = timeout(Duration::from_millis(20), hub.copies.notified()).await;
        }
    }

    /// What gives the secondary this state; `None` when only commands can.
    fn steps(&self, ticket: &Ticket, read: Read) -> Option<SmallVec<[Step; 1]>> {
        let (Some(payload), true) = (read.payload, read.expiry != Expiry::Missing) else {
            return Some(success(Request::new([b"DEL".as_ref(), ticket.key()])));
        };
        let payload = self.route.carry(&Payload::new(payload).ok()?)?;
        let mut restore = Builder::default();
        restore.push(b"RESTORE").push(ticket.key());
        let at = match read.expiry {
            Expiry::At(at) => at + self.route.clock_offset,
            _ => 0,
        };
        restore.push_integer(at).push(payload.raw()).push(b"REPLACE");
        if at > 0 {
            restore.push(b"ABSTTL");
        }
        if let (Some(clock), true) = (read.clock, self.route.to.since_redis(5, 0)) {
            restore.push(if self.route.by_frequency { b"FREQ" } else { b"IDLETIME" });
            restore.push_integer(clock);
        }
        Some(success(restore.finish()))
    }
}

impl Route {
    fn carry(&self, payload: &Payload) -> Option<Payload> {
        self.acceptance.carry(self.from.family, payload)
    }
}

fn success(request: Request) -> SmallVec<[Step; 1]> {
    SmallVec::from_iter([Step { request, expect: Expect::Success }])
}

fn unix_milliseconds(time: &Reply) -> i64 {
    let number = |index: usize| {
        let text = time.items()?.get(index)?.text()?;
        crate::resp::parse_integer(text)
    };
    number(0).unwrap_or(0) * 1000 + number(1).unwrap_or(0) / 1000
}

/// Tickets that are given up unless they were dealt with.
struct Open {
    hub: Arc<Hub>,
    tickets: Vec<Ticket>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.tickets.is_empty() {
            return;
        }
        self.hub.with(|engine| self.tickets.iter().for_each(|ticket| engine.abandon(ticket)));
    }
}

/// A key held in the order.
struct Held<'a> {
    hub: &'a Hub,
    conn: ConnId,
    ticket: &'a Ticket,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let woken = self.hub.with(|engine| engine.release(self.conn, self.ticket.named()));
        self.hub.wake(&woken);
    }
}

/// Names a failed copy in the log, without the key.
pub(super) fn report(progress: &Progress, reason: &dyn std::fmt::Display) {
    progress.failed_one();
    warn!(%reason, "a copy failed and will be tried again");
}

/// Pauses before a broken connection is opened again.
pub(super) async fn pause() {
    sleep(Duration::from_millis(100)).await;
}
