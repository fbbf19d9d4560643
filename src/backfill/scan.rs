//! The keys of a server, page by page, and questions about them; a lost connection is opened again.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;
use tracing::info;

use crate::backend::{Broken, Connection, Endpoint, ServerInfo, Setup, keyspace};
use crate::databases::Databases;
use crate::resp::{Reply, Request};

/// How soon a lost connection is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// A scan that survives its connection.
pub(super) struct Scan {
    endpoint: Endpoint,
    connection: Option<Connection>,
    run_id: String,
    db: u32,
    cursor: Bytes,
}

impl Scan {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let cursor = Bytes::from_static(b"0");
        Self { endpoint, connection: None, run_id: String::new(), db: 0, cursor }
    }

    pub(super) fn start(&mut self, db: u32) {
        self.db = db;
        self.connection = None;
        self.cursor = Bytes::from_static(b"0");
    }

    /// The next keys, about `count`, perhaps none; `None` when all have been seen. A lost connection
    /// is opened again; if another process answers then, its cursors mean something else, and the
    /// scan of this database starts over.
    pub(super) async fn next(&mut self, count: usize) -> Option<Vec<Bytes>> {
        if self.cursor.is_empty() {
            return None;
        }
        loop {
            match self.step(count).await {
                Ok(keys) => return Some(keys),
                Err(reason) => {
                    info!(%reason, "a scan is interrupted");
                    self.connection = None;
                    sleep(RETRY).await;
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
    pub(super) async fn databases(&mut self, wanted: &Databases) -> Vec<u32> {
        self.keyspace()
            .await
            .into_iter()
            .map(|(db, _)| db)
            .filter(|db| wanted.to(*db).is_some())
            .collect()
    }

    /// How many keys they hold.
    pub(super) async fn size(&mut self, wanted: &Databases) -> u64 {
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
            sleep(RETRY).await;
        }
    }

    /// Removes keys of the database that is scanned.
    pub(super) async fn remove(&mut self, keys: &[Bytes]) {
        // Lazily where the server can; one that is refused ends by itself.
        let replies = self.ask_of_each("UNLINK", keys).await;
        let refused = keys.iter().zip(replies).filter(|(_, reply)| reply.is_error());
        let refused: Vec<Bytes> = refused.map(|(key, _)| key.clone()).collect();
        self.ask_of_each("DEL", &refused).await;
    }

    /// The answers to a command for each key; asked again if the connection is lost.
    async fn ask_of_each(&mut self, command: &str, keys: &[Bytes]) -> Vec<Reply> {
        let requests: Vec<Request> =
            keys.iter().map(|key| Request::new([command.as_bytes(), key])).collect();
        loop {
            if self.connect().await.is_ok()
                && let Some(connection) = &mut self.connection
                && let Ok(replies) = connection.ask_all(&requests).await
            {
                return replies;
            }
            self.connection = None;
            sleep(RETRY).await;
        }
    }
}
