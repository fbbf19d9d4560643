//! The keys of a server, page by page, and questions about them; a lost connection is opened again.

use bytes::Bytes;
use tokio::time::sleep;
use tracing::info;

use crate::protocol::databases::Databases;
use crate::protocol::resp::{Reply, Request};
use crate::server::{Connection, Endpoint, RECONNECT_AFTER, Scan, ServerInfo, Setup};
use crate::value::{Fault, ReadError};

/// A server's keys, over as many connections as it takes.
pub(super) struct Keyspace {
    endpoint: Endpoint,
    connection: Option<Connection>,
    run_id: String,
    db: u32,
    scan: Scan,
}

impl Keyspace {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let (run_id, scan) = (String::new(), Scan::default());
        Self { endpoint, connection: None, run_id, db: 0, scan }
    }

    /// Begins to scan a database.
    pub(super) fn start(&mut self, db: u32) {
        self.db = db;
        self.connection = None;
        self.scan = Scan::default();
    }

    /// The next keys, about `count`, perhaps none; `None` when all have been seen. If another process
    /// answers after a connection was lost, its cursors mean something else, and the scan of this
    /// database starts over.
    pub(super) async fn next(&mut self, count: usize) -> Option<Vec<Bytes>> {
        loop {
            let (connection, scan) = self.connected().await;
            match scan.next(count, connection).await {
                Ok(keys) => return keys,
                Err(reason) => self.lose(&reason.into()).await,
            }
        }
    }

    async fn connected(&mut self) -> (&mut Connection, &mut Scan) {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await,
        };
        (self.connection.insert(connection), &mut self.scan)
    }

    async fn connect(&mut self) -> Connection {
        loop {
            match self.open().await {
                Ok(connection) => return connection,
                Err(reason) => self.lose(&reason).await,
            }
        }
    }

    async fn lose(&mut self, reason: &Fault) {
        info!(%reason, "a scan is interrupted");
        self.connection = None;
        sleep(RECONNECT_AFTER).await;
    }

    async fn open(&mut self) -> Result<Connection, Fault> {
        let setup =
            Setup { no_touch: true, ..Setup::own(&self.endpoint, self.db, "crossfade-scan") };
        let mut connection = Connection::open(&self.endpoint, &setup).await?;
        let info = ServerInfo::ask(&mut connection).await?;
        if info.run_id != self.run_id {
            if !self.run_id.is_empty() {
                info!(db = self.db, "the server was restarted: its scan starts over");
            }
            self.run_id = info.run_id;
            self.scan = Scan::default();
        }
        Ok(connection)
    }

    /// Which databases hold keys, of those that are migrated.
    pub(super) async fn databases(&mut self, wanted: &Databases) -> Vec<u32> {
        self.held(wanted).await.into_iter().map(|(db, _)| db).collect()
    }

    /// How many keys they hold.
    pub(super) async fn size(&mut self, wanted: &Databases) -> u64 {
        self.held(wanted).await.into_iter().map(|(_, keys)| keys).sum()
    }

    async fn held(&mut self, wanted: &Databases) -> Vec<(u32, u64)> {
        loop {
            let (connection, _) = self.connected().await;
            match connection.info("keyspace").await {
                Ok(Ok(info)) => {
                    let mut held = info.keyspace();
                    held.retain(|(db, _)| wanted.to(*db).is_some());
                    return held;
                }
                Ok(Err(_)) => self.lose(&ReadError::Unexpected("INFO").into()).await,
                Err(reason) => self.lose(&reason.into()).await,
            }
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
            let (connection, _) = self.connected().await;
            match connection.ask_all(&requests).await {
                Ok(replies) => return replies,
                Err(reason) => self.lose(&reason.into()).await,
            }
        }
    }
}
