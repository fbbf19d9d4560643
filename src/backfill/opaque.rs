//! Values that only their payload carries: of modules' types, or of types yet to come.
//!
//! Whether the secondary reads one depends on the modules that it has loaded, and is found out by
//! trying one value of each module.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Copier;
use super::whole::copied;
use crate::engine::{Accepted, Lack, Ticket};
use crate::protocol::payload::Payload;
use crate::protocol::resp::{Builder, Reply, Request};
use crate::server::{Connection, Endpoint, Setup};
use crate::value::{ReadError, TranscribeError, probe_key};

/// How long the value that is tried lives if nobody comes to remove it, in milliseconds.
const LIFETIME: &[u8] = b"10000";
/// What a payload begins with: its type byte, then the module and the module's version, in nine bytes.
const IDENTITY: usize = 10;

/// What has been tried on one secondary.
#[derive(Debug)]
pub(crate) struct Trials {
    /// The secondary.
    pub endpoint: Endpoint,
    /// What it said, by what the payloads begin with.
    pub taken: Mutex<HashMap<Bytes, bool>>,
}

impl Trials {
    /// Nothing has been tried yet.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, taken: Mutex::default() }
    }

    async fn takes(&self, payload: &Payload<'_>) -> Result<bool, TranscribeError> {
        let raw = payload.raw();
        let identity = Bytes::copy_from_slice(raw.get(..IDENTITY).unwrap_or(raw));
        if let Some(known) = self.taken.lock().get(&identity) {
            return Ok(*known);
        }
        let taken = self.attempt(payload).await?;
        self.taken.lock().insert(identity, taken);
        Ok(taken)
    }

    async fn attempt(&self, payload: &Payload<'_>) -> Result<bool, TranscribeError> {
        let setup = Setup::own(&self.endpoint, 0, "crossfade-copy");
        let refused = |error: String| TranscribeError::Refused(error);
        let opened = Connection::open(&self.endpoint, &setup).await;
        let mut connection = opened.map_err(|error| refused(error.to_string()))?;
        let key = probe_key();
        let restore = [b"RESTORE".as_ref(), &key, LIFETIME, payload.raw(), b"REPLACE"];
        let reply = connection.command(restore).await.map_err(TranscribeError::Broken)?;
        let removed = connection.command([b"DEL".as_ref(), &key]).await;
        removed.map_err(TranscribeError::Broken)?;
        match reply {
            Reply::Error(text) if text.starts_with(b"ERR Bad data format") => Ok(false),
            Reply::Error(text) => Err(refused(String::from_utf8_lossy(&text).into_owned())),
            _ => Ok(true),
        }
    }
}

impl Copier {
    /// Copies a value of this type as its payload, or leaves it out where that is not read.
    pub(super) async fn copy_opaque(
        &mut self,
        ticket: &Ticket,
        in_position: bool,
        kind: Bytes,
        expires_at: Option<i64>,
    ) -> Result<(), TranscribeError> {
        let dump = self.connection.command([b"DUMP".as_ref(), ticket.key()]).await;
        let dump = dump.map_err(ReadError::Broken)?;
        let payload = dump.text().and_then(|raw| Payload::new(raw).ok());
        let payload = payload.ok_or(ReadError::Changed)?;
        let route = self.route.clone();
        let way = route.acceptance.way_of_opaque(&payload);
        let Some(payload) = payload.by(way) else { return Err(ReadError::Changed.into()) };
        if !route.trials.takes(&payload).await? {
            self.leave_out(ticket, in_position, &Lack::Type(kind)).await;
            return Ok(());
        }
        let end = expires_at.map_or(0, |at| at.saturating_add(route.clock_offset()));
        let copied = copied(vec![restore(ticket.key(), end, &payload)], in_position);
        if let Accepted::At(_) = self.accept(ticket, &copied).await {
            route.progress.went(way);
        }
        Ok(())
    }
}

fn restore(key: &[u8], end: i64, payload: &Payload<'_>) -> Request {
    let mut restore = Builder::default();
    restore.push(b"RESTORE").push(key).push_integer(end).push(payload.raw()).push(b"REPLACE");
    if end > 0 {
        restore.push(b"ABSTTL");
    }
    restore.finish()
}
