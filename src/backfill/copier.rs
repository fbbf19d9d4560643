//! Copying keys over one connection to the primary.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use thiserror::Error;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::{Progress, Trials};
use crate::backend::{Broken, ConnectError, Connection, Endpoint, Setup};
use crate::capability::Capabilities;
use crate::effect::{Expect, Expiry, Step};
use crate::engine::{Accepted, ConnId, Copied, Ticket};
use crate::lane::Hub;
use crate::payload::{Acceptance, Payload};
use crate::resp::{Builder, Reply, Request};

/// From this estimate of its memory on, a value is copied in chunks, in bytes.
const BIG: i64 = 512 * 1024;
/// Values read together take about so much memory, in bytes.
const TOGETHER: i64 = 4 * 1024 * 1024;

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
    /// What has been found out about payloads of modules.
    pub trials: Trials,
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
enum Read {
    /// There is none.
    Gone,
    Value {
        expiry: Expiry,
        clock: Option<i64>,
        payload: Bytes,
    },
}

/// The primary won't let us read a key: its error.
#[derive(Debug, Error)]
#[error("the primary refuses: {}", .0.escape_ascii())]
struct Refused(Bytes);

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
    pub async fn copy(&mut self, mut tickets: Vec<Ticket>) -> Result<(), Broken> {
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
        let sizes = self.sizes(tickets).await?;
        let (mut together, mut bytes) = (Vec::with_capacity(tickets.len()), 0);
        for (ticket, size) in tickets.iter().zip(sizes) {
            if size >= BIG {
                self.copy_whole(ticket, false).await?;
                continue;
            }
            together.push(ticket);
            bytes += size;
            if bytes >= TOGETHER {
                self.copy_small(&std::mem::take(&mut together)).await?;
                bytes = 0;
            }
        }
        self.copy_small(&together).await
    }

    /// Copies one key while holding it: no write to it is in flight meanwhile.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn copy_in_position(&mut self, ticket: Ticket) -> Result<(), Broken> {
        let mut open = Open::new(&self.route, vec![ticket.clone()]);
        self.select(ticket.db).await?;
        let hub = self.route.hub.clone();
        let conn = hub.with(crate::engine::Engine::connect);
        let held = Held { hub: &hub, conn, ticket: &ticket };
        std::future::poll_fn(|cx| hub.poll_hold(conn, ticket.named(), cx)).await;
        self.copy_held(&ticket).await?;
        drop(held);
        open.tickets.clear();
        Ok(())
    }

    async fn copy_held(&mut self, ticket: &Ticket) -> Result<(), Broken> {
        let size = self.sizes(std::slice::from_ref(ticket)).await?.pop().unwrap_or(0);
        if size >= BIG {
            return self.copy_whole(ticket, true).await;
        }
        let read = self.read(&[ticket]).await?.pop().unwrap_or(Ok(Read::Gone));
        match read.map(|read| self.steps(ticket, read)) {
            Ok(Some(steps)) => {
                self.accept(ticket, &Copied { steps, in_position: true }).await;
            }
            Ok(None) => self.copy_whole(ticket, true).await?,
            Err(reason) => self.refuse(&[ticket], &reason),
        }
        Ok(())
    }

    async fn select(&mut self, db: u32) -> Result<(), Broken> {
        if db != self.db {
            self.connection.command(["SELECT", &db.to_string()]).await?;
            self.db = db;
        }
        Ok(())
    }

    /// The memory that values take, roughly; 0 for a key that is gone or can't be asked about.
    async fn sizes(&mut self, tickets: &[Ticket]) -> Result<Vec<i64>, Broken> {
        for ticket in tickets {
            self.connection.queue_command(&[b"MEMORY", b"USAGE", ticket.key()]);
        }
        let mut sizes = Vec::with_capacity(tickets.len());
        for _ in tickets {
            sizes.push(self.connection.answer().await?.integer().unwrap_or(0));
        }
        Ok(sizes)
    }

    async fn copy_small(&mut self, tickets: &[&Ticket]) -> Result<(), Broken> {
        let reads = self.read(tickets).await?;
        let mut copies = Vec::with_capacity(tickets.len());
        let (mut odd, mut refused, mut reason) = (Vec::new(), Vec::new(), None);
        for (ticket, read) in tickets.iter().zip(reads) {
            match read.map(|read| self.steps(ticket, read)) {
                Ok(Some(steps)) => copies.push((*ticket, Copied { steps, in_position: false })),
                Ok(None) => odd.push(*ticket),
                Err(why) => {
                    refused.push(*ticket);
                    reason = Some(why);
                }
            }
        }
        if let Some(reason) = reason {
            self.refuse(&refused, &reason);
        }
        self.accept_all(&copies).await;
        for ticket in odd {
            self.copy_whole(ticket, false).await?;
        }
        Ok(())
    }

    async fn read(&mut self, tickets: &[&Ticket]) -> Result<Vec<Result<Read, Refused>>, Broken> {
        let absolute = self.route.from.tells_absolute_expiry();
        let clock: &[u8] = if self.route.by_frequency { b"FREQ" } else { b"IDLETIME" };
        for ticket in tickets {
            let key: &[u8] = ticket.key();
            if absolute {
                self.connection.queue_command(&[b"PEXPIRETIME", key]);
            } else {
                self.connection.queue_command(&[b"TIME"]);
                self.connection.queue_command(&[b"PTTL", key]);
            }
            self.connection.queue_command(&[b"OBJECT", clock, key]);
            self.connection.queue_command(&[b"DUMP", key]);
        }
        let mut reads = Vec::with_capacity(tickets.len());
        for _ in tickets {
            let now = if absolute {
                0
            } else {
                self.connection.answer().await?.unix_milliseconds().unwrap_or(0)
            };
            let expiry = self.connection.answer().await?;
            let clock = self.connection.answer().await?.integer();
            let dump = self.connection.answer().await?;
            reads.push(understand(&expiry, now, clock, dump));
        }
        Ok(reads)
    }

    /// Gives copies up that can't be made now, and names the reason in the log, without the keys.
    pub(super) fn refuse(&self, tickets: &[&Ticket], reason: &dyn std::fmt::Display) {
        let keys = tickets.len();
        warn!(%reason, keys, "copies failed and will be tried again");
        self.route.progress.failed_more(keys);
        self.route.hub.with(|engine| tickets.iter().for_each(|ticket| engine.refuse(ticket)));
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

    /// Offers copies to the engine, as many under one lock as it has room for.
    async fn accept_all(&self, copies: &[(&Ticket, Copied)]) {
        let mut left = copies;
        while !left.is_empty() {
            let taken = self.route.hub.with(|engine| {
                let accepted = left.iter().map(|(ticket, copied)| engine.accept(ticket, copied));
                accepted.take_while(|accepted| *accepted != Accepted::NoRoom).count()
            });
            left = left.get(taken..).unwrap_or_default();
            if !left.is_empty() {
                self.wait_for_room().await;
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
        let Read::Value { expiry, clock, payload } = read else {
            return Some(success(Request::new([b"DEL".as_ref(), ticket.key()])));
        };
        let payload = self.route.carry(&Payload::new(payload).ok()?)?;
        let mut restore = Builder::default();
        restore.push(b"RESTORE").push(ticket.key());
        let at = match expiry {
            Expiry::At(at) => at + self.route.clock_offset,
            _ => 0,
        };
        restore.push_integer(at).push(payload.raw()).push(b"REPLACE");
        if at > 0 {
            restore.push(b"ABSTTL");
        }
        if let (Some(clock), true) = (clock, self.route.to.since_redis(5, 0)) {
            restore.push(if self.route.by_frequency { b"FREQ" } else { b"IDLETIME" });
            restore.push_integer(clock);
        }
        Some(success(restore.finish()))
    }
}

impl Route {
    fn carry(&self, payload: &Payload) -> Option<Payload> {
        let way = self.acceptance.way(self.from.family, payload);
        let carried = payload.by(way)?;
        self.progress.went(way);
        Some(carried)
    }
}

pub(super) fn success(request: Request) -> SmallVec<[Step; 1]> {
    SmallVec::from_iter([Step { request, expect: Expect::Success }])
}

/// Makes sense of the answers about one key.
fn understand(expiry: &Reply, now: i64, clock: Option<i64>, dump: Reply) -> Result<Read, Refused> {
    match (expiry, dump) {
        (Reply::Error(text), _) => Err(Refused(text.clone())),
        (_, Reply::Error(text)) => Err(Refused(text)),
        (Reply::Integer(expiry), Reply::Bulk(payload)) => match Expiry::from_answer(*expiry, now) {
            Expiry::Missing => Ok(Read::Gone),
            expiry => Ok(Read::Value { expiry, clock, payload }),
        },
        _ => Ok(Read::Gone),
    }
}

/// Tickets that are given up unless they were dealt with: one that nobody holds any more would keep
/// its key from being copied for ever.
pub(super) struct Open {
    hub: Arc<Hub>,
    tickets: Vec<Ticket>,
}

impl Open {
    pub(super) fn new(route: &Route, tickets: Vec<Ticket>) -> Self {
        Self { hub: route.hub.clone(), tickets }
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

/// Pauses before a broken connection is opened again.
pub(super) async fn pause() {
    sleep(Duration::from_millis(100)).await;
}
