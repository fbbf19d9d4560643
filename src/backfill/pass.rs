//! One pass over all keys of a server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use super::copier::{Copier, Route, pause};
use super::pace::Pace;
use crate::backend::{Broken, Connection, Endpoint, ServerInfo, Setup, keyspace};
use crate::databases::Databases;
use crate::engine::{Cause, Ticket};
use crate::ledger::Groups;
use crate::own_keys::is_ours;
use crate::resp::{Reply, Request};

/// Keys asked for in one step of a scan.
const COUNT: usize = 512;
/// Batches copied at once.
const COPIERS: usize = 3;

/// A pass: what is not migrated is copied, then what only the secondary holds is removed.
#[derive(Debug)]
pub struct Pass {
    /// What copiers need.
    pub route: Arc<Route>,
    /// The secondary, to look for keys that the primary does not hold; `None` leaves them.
    pub secondary: Option<Endpoint>,
    /// Which databases.
    pub databases: Databases,
}

/// A scan that survives its connection.
struct Scan {
    endpoint: Endpoint,
    connection: Option<Connection>,
    run_id: String,
    db: u32,
    cursor: Bytes,
}

impl Pass {
    /// Scans and copies; `groups` are those that may hold keys which only the secondary has. Gives
    /// the number of keys that were to be copied.
    pub async fn run(&self, groups: &Groups) -> u64 {
        let mut primary = Scan::new(self.route.endpoint.clone());
        self.route.progress.begin(primary.size(&self.databases).await);
        let mut claimed = 0;
        loop {
            let numbering = self.route.hub.with(|engine| engine.numbering());
            claimed += self.copy_all(&mut primary).await;
            if let Some(secondary) = &self.secondary {
                // Before its databases can be looked into, everything said of them must be done.
                self.catch_up().await;
                self.find_extras(secondary, groups).await;
            }
            if self.settled_numbering().await == numbering {
                break;
            }
            // Databases changed numbers under the scan; the marks keep another one cheap.
        }
        self.route.hub.with(crate::engine::Engine::end_pass);
        claimed
    }

    /// Waits until the secondary has done what has been appended so far.
    async fn catch_up(&self) {
        let (last, _) = self.route.hub.with(|engine| engine.positions());
        while self.route.hub.with(|engine| engine.positions().1) < last {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The numbering of databases, once no command is under way that might change it.
    async fn settled_numbering(&self) -> u32 {
        loop {
            let now = self.route.hub.with(|engine| engine.settled_numbering());
            match now {
                Some(numbering) => return numbering,
                None => sleep(Duration::from_millis(1)).await,
            }
        }
    }

    async fn copy_all(&self, scan: &mut Scan) -> u64 {
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
            while let Some(keys) = scan.next(self.route.courtesy.step(COUNT)).await {
                let progress = &self.route.progress;
                progress.scanned_more(keys.len());
                let tickets = self.claim(db, keys);
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
        self.route.hub.with(|engine| {
            let theirs = keys.into_iter().filter(|key| !is_ours(db, key));
            theirs.filter_map(|key| engine.claim(db, key)).collect()
        })
    }

    /// Keys of the secondary that the primary does not hold: copying them removes them.
    async fn find_extras(&self, secondary: &Endpoint, groups: &Groups) {
        let back = self.databases.reversed();
        let seed = self.route.hub.with(|engine| engine.settings().seed);
        let mut scan = Scan::new(secondary.clone());
        let mut primary = Scan::new(self.route.endpoint.clone());
        for db in scan.databases(&back).await {
            let Some(home) = back.to(db) else { continue };
            scan.start(db);
            let courtesy = &self.route.courtesy;
            while let Some(keys) = scan.next(courtesy.step(COUNT)).await {
                let began = Instant::now();
                let doubtful = |key: &Bytes| !is_ours(db, key) && groups.contains(seed.group(key));
                let keys: Vec<Bytes> = keys.into_iter().filter(doubtful).collect();
                let missing = primary.missing(home, &keys).await;
                self.route.hub.with(|engine| {
                    for key in missing {
                        let named = engine.named(home, key);
                        engine.soil(&named, Cause::Verify);
                    }
                });
                courtesy.rest(began.elapsed()).await;
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
        loop {
            if copier.is_none() {
                copier = Copier::open(&route).await.ok();
            }
            if copier.is_some() {
                break;
            }
            pause().await;
        }
        if let Some(open) = &mut copier {
            open.wait_for_room().await;
            let began = Instant::now();
            if let Err(error) = open.copy(batch).await {
                // What was not copied is dirty, and the recopier's.
                warn!(%error, "a copier lost its connection");
                copier = None;
            }
            route.courtesy.rest(began.elapsed()).await;
        }
    }
}

impl Scan {
    fn new(endpoint: Endpoint) -> Self {
        let cursor = Bytes::from_static(b"0");
        Self { endpoint, connection: None, run_id: String::new(), db: 0, cursor }
    }

    fn start(&mut self, db: u32) {
        self.db = db;
        self.connection = None;
        self.cursor = Bytes::from_static(b"0");
    }

    /// The next keys, about `count`, perhaps none; `None` when all have been seen. A lost connection is opened
    /// again; if another process answers then, its cursors mean something else, and the scan of
    /// this database starts over.
    async fn next(&mut self, count: usize) -> Option<Vec<Bytes>> {
        if self.cursor.is_empty() {
            return None;
        }
        loop {
            match self.step(count).await {
                Ok(keys) => return Some(keys),
                Err(reason) => {
                    info!(%reason, "a scan is interrupted");
                    self.connection = None;
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn step(&mut self, count: usize) -> Result<Vec<Bytes>, String> {
        self.connect().await?;
        let (cursor, count) = (self.cursor.clone(), count.to_string());
        let scan = Request::new([b"SCAN".as_ref(), &cursor, b"COUNT", count.as_bytes()]);
        let reply = self.ask(&scan).await.map_err(|error| error.to_string())?;
        let Some([cursor, Reply::Array(keys)]) = reply.items() else {
            return Err(format!("SCAN: {reply:?}"));
        };
        let cursor = cursor.text().cloned().unwrap_or_default();
        self.cursor = if cursor.as_ref() == b"0" { Bytes::new() } else { cursor };
        Ok(keys.iter().filter_map(|key| key.text().cloned()).collect())
    }

    async fn connect(&mut self) -> Result<(), String> {
        if self.connection.is_some() {
            return Ok(());
        }
        let setup =
            Setup { no_touch: true, ..Setup::own(&self.endpoint, self.db, "crossfade-scan") };
        let opened = Connection::open(&self.endpoint, &setup).await;
        let mut connection = opened.map_err(|error| error.to_string())?;
        let info = ServerInfo::ask(&mut connection).await.map_err(|error| error.to_string())?;
        if info.run_id != self.run_id {
            if !self.run_id.is_empty() {
                info!(db = self.db, "the server was restarted: its scan starts over");
            }
            self.run_id = info.run_id;
            self.cursor = Bytes::from_static(b"0");
        }
        self.connection = Some(connection);
        Ok(())
    }

    async fn ask(&mut self, request: &Request) -> Result<Reply, Broken> {
        match &mut self.connection {
            Some(connection) => connection.ask(request).await,
            None => Err(Broken::Closed),
        }
    }

    /// Which databases hold keys, of those that are migrated.
    async fn databases(&mut self, wanted: &Databases) -> Vec<u32> {
        self.keyspace()
            .await
            .into_iter()
            .map(|(db, _)| db)
            .filter(|db| wanted.to(*db).is_some())
            .collect()
    }

    /// How many keys they hold.
    async fn size(&mut self, wanted: &Databases) -> u64 {
        let counted = self.keyspace().await.into_iter();
        counted.filter(|(db, _)| wanted.to(*db).is_some()).map(|(_, keys)| keys).sum()
    }

    async fn keyspace(&mut self) -> Vec<(u32, u64)> {
        loop {
            if self.connect().await.is_ok()
                && let Some(connection) = &mut self.connection
                && let Ok(Some(held)) = keyspace(connection).await
            {
                return held;
            }
            self.connection = None;
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Which of these keys are not there.
    async fn missing(&mut self, db: u32, keys: &[Bytes]) -> Vec<Bytes> {
        if db != self.db {
            self.db = db;
            self.connection = None;
        }
        let questions: Vec<Request> =
            keys.iter().map(|key| Request::new([b"EXISTS".as_ref(), key])).collect();
        loop {
            if self.connect().await.is_ok()
                && let Some(connection) = &mut self.connection
                && let Ok(replies) = connection.ask_all(&questions).await
            {
                let gone = keys.iter().zip(replies).filter(|(_, reply)| reply.integer() == Some(0));
                return gone.map(|(key, _)| key.clone()).collect();
            }
            self.connection = None;
            sleep(Duration::from_millis(200)).await;
        }
    }
}
