//! One pass over all keys of a server.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use super::copier::{Copier, Route};
use super::keyspace::Keyspace;
use super::pace::Pace;
use crate::engine::{Engine, Ticket};
use crate::protocol::databases::Databases;
use crate::protocol::reserved_keys::is_reserved;
use crate::server::{Endpoint, RECONNECT_AFTER};
use crate::value::is_orphan;

/// Keys asked for in one step of a scan, and read together, where there are no clients to give way
/// to. With half as many, a copy takes a quarter more of our CPU; with twice as many, the odd other
/// client of the server waits 2.3 ms at p99 where it waits 1.4 (2026-11-25).
const COUNT: usize = 256;
/// Batches copied at once.
const COPIERS: usize = 3;

/// So many keys in doubt are copied in a hurry: that takes seconds. More than these are a backfill, and
/// give way to clients as one.
const HURRIED: u64 = 1_000_000;

/// A pass: what is not migrated is copied, then what only the secondary holds is removed.
#[derive(Debug)]
pub(crate) struct Pass {
    /// What copiers need.
    pub route: Arc<Route>,
    /// The secondary, to look for what must not be there; `None` when it held nothing before.
    pub secondary: Option<Endpoint>,
    /// Whether keys that the primary does not hold may be on the secondary.
    pub keeps_extras: bool,
    /// Which databases.
    pub databases: Databases,
    /// Whether keys are in doubt that had been copied before, so that a flip waits for them.
    pub doubtful: bool,
}

impl Pass {
    /// Scans and copies. Gives the number of keys that were to be copied.
    pub(crate) async fn run(&self) -> u64 {
        let engine = &self.route.engine;
        self.free_discarded();
        let mut primary = Keyspace::new(self.route.endpoint.clone());
        let size = primary.size(&self.databases).await;
        self.route.progress.begin(size);
        let _hurry = (self.doubtful && size <= HURRIED).then(|| self.route.throttle.hurry());
        let mut claimed = 0;
        loop {
            let numbering = engine.look(Engine::numbering);
            claimed += self.copy_all(&mut primary).await;
            if let Some(secondary) = &self.secondary {
                // Before its databases can be looked into, everything said of them must be done.
                engine.until_arrived().await;
                self.clear_out(secondary).await;
            }
            engine.until(|engine| engine.settled_numbering().is_some()).await;
            if engine.look(Engine::numbering) == numbering {
                break;
            }
            // Databases changed numbers under the scan; the marks keep another one cheap.
        }
        engine.with(Engine::end_pass);
        self.free_discarded();
        claimed
    }

    /// Frees the marks that the engine has no use for any more, beside everything else.
    fn free_discarded(&self) {
        let discarded = self.route.engine.with(Engine::take_discarded);
        drop(tokio::task::spawn_blocking(move || drop(discarded)));
    }

    async fn copy_all(&self, scan: &mut Keyspace) -> u64 {
        let (sender, receiver) = mpsc::channel::<Vec<Ticket>>(COPIERS);
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        let mut copiers = JoinSet::new();
        for _ in 0..COPIERS {
            copiers.spawn(work(self.route.clone(), receiver.clone()));
        }
        let mut pace = Pace::new();
        let mut claimed = 0;
        for db in scan.databases(&self.databases).await {
            scan.start(db);
            let lookup = self.route.engine.with(|engine| engine.lookup(db));
            while let Some(keys) = scan.next(self.route.throttle.step(COUNT)).await {
                let progress = &self.route.progress;
                progress.scanned_more(keys.len());
                let tickets = self.claim(db, lookup.unclaimed(keys));
                claimed += tickets.len() as u64;
                pace.wait(tickets.len(), progress).await;
                if !tickets.is_empty() && sender.send(tickets).await.is_err() {
                    return claimed;
                }
            }
        }
        drop(sender);
        while copiers.join_next().await.is_some() {}
        claimed
    }

    fn claim(&self, db: u32, keys: Vec<Bytes>) -> Vec<Ticket> {
        self.route
            .engine
            .with(|engine| engine.claim(db, keys.into_iter().filter(|key| !is_reserved(db, key))))
    }

    /// Removes from the secondary what must not be there: half values that a process which is gone
    /// went on with no more, and keys that the primary did not hold.
    async fn clear_out(&self, secondary: &Endpoint) {
        let back = self.databases.reversed();
        let mut scan = Keyspace::new(secondary.clone());
        for db in scan.databases(&back).await {
            let Some(home) = back.to(db) else { continue };
            scan.start(db);
            // Nobody is served there.
            while let Some(keys) = scan.next(COUNT).await {
                let (halves, keys): (Vec<_>, Vec<_>) =
                    keys.into_iter().partition(|key| is_orphan(key));
                if !halves.is_empty() {
                    info!(db, keys = halves.len(), "half values of an earlier process are removed");
                    scan.remove(&halves).await;
                }
                self.route.engine.with(|engine| {
                    for key in keys.into_iter().filter(|key| !is_reserved(db, key)) {
                        engine.found_on_secondary(home, key, self.keeps_extras);
                    }
                });
            }
        }
    }
}

/// Copies batches until there are no more.
async fn work(route: Arc<Route>, batches: Arc<tokio::sync::Mutex<mpsc::Receiver<Vec<Ticket>>>>) {
    let mut copier: Option<Copier> = None;
    loop {
        let batch = batches.lock().await.recv().await;
        let Some(batch) = batch else { return };
        let mut open = match copier.take() {
            Some(open) => open,
            None => opened(&route).await,
        };
        open.wait_for_room().await;
        let (keys, began) = (batch.len(), Instant::now());
        match open.copy(batch).await {
            Ok(()) => copier = Some(open),
            // What was not copied is dirty, and the recopier's.
            Err(error) => warn!(%error, "a copier lost its connection"),
        }
        route.throttle.rest(keys, began.elapsed()).await;
    }
}

async fn opened(route: &Arc<Route>) -> Copier {
    loop {
        match Copier::open(route).await {
            Ok(copier) => return copier,
            Err(_) => sleep(RECONNECT_AFTER).await,
        }
    }
}
