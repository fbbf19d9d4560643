//! Connections to one server, for reads of clients.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use crate::lane::Sample;
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Protocol, Request};
use crate::server::{Broken, Connection, Endpoint, Setup};

/// How long the server may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Open ones at once; one more, and all begin anew.
const OPEN: usize = 16;

/// The database and the protocol version of one.
pub(super) type Line = (u32, Protocol);

/// What was answered, and how long that took.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: Bytes,
    pub(super) took: Duration,
}

impl Answer {
    /// Whether the server would not answer. That a key is of another type is an answer.
    pub(super) fn is_refusal(&self) -> bool {
        self.reply.starts_with(b"-") && !self.reply.starts_with(b"-WRONGTYPE")
    }
}

#[derive(Debug)]
pub(super) struct Lines {
    endpoint: Endpoint,
    /// From the primary's numbers to the server's.
    databases: Databases,
    open: HashMap<Line, Connection>,
}

impl Lines {
    pub(super) fn to(endpoint: Endpoint, databases: Databases) -> Self {
        Self { endpoint, databases, open: HashMap::new() }
    }

    /// The one for a read.
    pub(super) fn of(&self, sample: &Sample) -> Line {
        (self.databases.to(sample.db).unwrap_or(sample.db), sample.protocol)
    }

    /// Asks all at once. `None`: no answer could be had.
    pub(super) async fn ask<'a>(
        &mut self,
        line: Line,
        requests: impl IntoIterator<Item = &'a Request>,
    ) -> Option<Vec<Answer>> {
        // Taken out: what is not answered in time is answered to nobody.
        let mut connection = match self.open.remove(&line) {
            Some(connection) => connection,
            None => self.open(line).await?,
        };
        let answers = timeout(PATIENCE, answers(&mut connection, requests)).await.ok()?.ok()?;
        self.open.insert(line, connection);
        Some(answers)
    }

    async fn open(&mut self, (db, protocol): Line) -> Option<Connection> {
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        let setup = Setup::own(&self.endpoint, db, "crossfade-shadow");
        let setup = Setup { protocol, no_touch: true, ..setup };
        Connection::open(&self.endpoint, &setup).await.ok()
    }
}

async fn answers<'a>(
    connection: &mut Connection,
    requests: impl IntoIterator<Item = &'a Request>,
) -> Result<Vec<Answer>, Broken> {
    let count = requests.into_iter().map(|request| connection.queue(request)).count();
    let (since, mut answers) = (Instant::now(), Vec::with_capacity(count));
    for _ in 0..count {
        let reply = connection.frame().await?;
        answers.push(Answer { reply, took: since.elapsed() });
    }
    Ok(answers)
}
