//! What goes down a connection as one step: a write, or a transaction of several commands.

use bytes::Bytes;
use smallvec::SmallVec;

use super::Named;
use crate::engine::ledger::Fingerprint;
use crate::protocol::command::{Command, Reach};
use crate::protocol::resp::Request;

/// A key that a write touches.
#[derive(Clone, Debug)]
pub(super) struct Touch {
    pub(super) named: Named,
    pub(super) written: bool,
}

/// One command that may write.
#[derive(Clone, Debug)]
pub struct Write {
    /// Its entry in the table; `None` for a command that only the server knows.
    pub(super) command: Option<&'static Command>,
    pub(super) request: Request,
    pub(super) db: u32,
    pub(super) touches: SmallVec<[Touch; 1]>,
    pub(super) reach: Reach,
    /// The probes to send behind it.
    pub(super) probes: SmallVec<[Request; 2]>,
    /// Whether it only reads.
    pub(super) passive: bool,
}

impl Write {
    /// A command of a transaction that only reads: it has its reply among the others'.
    pub fn passive(request: Request, db: u32) -> Self {
        let (touches, probes) = Default::default();
        Self { command: None, request, db, touches, reach: Reach::Keys, probes, passive: true }
    }

    /// As the client sent it.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The names of the keys that it writes.
    pub fn written(&self) -> impl Iterator<Item = &Bytes> {
        self.written_keys().map(|named| &named.key)
    }

    pub(super) fn written_keys(&self) -> impl Iterator<Item = &Named> {
        self.touches.iter().filter(|touch| touch.written).map(|touch| &touch.named)
    }
}

/// One step: what is claimed, sent, answered and mirrored together.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    pub(super) writes: SmallVec<[Write; 1]>,
    /// Whether it is a transaction, to be mirrored as one.
    pub(super) atomic: bool,
    pub(super) fingerprints: SmallVec<[Fingerprint; 2]>,
    pub(super) everything: bool,
    /// Whether it runs scripts that are followed.
    pub(super) scripts: bool,
    /// Set for a command that waits on a connection of its own, and holds no keys: its number.
    pub(super) waits: Option<u64>,
    /// Under which numbering of databases the fingerprints were made.
    pub(super) numbering: u32,
}

impl Unit {
    /// The probes to send behind it, in order.
    pub fn probes(&self) -> impl Iterator<Item = &Request> {
        self.writes.iter().flat_map(|write| write.probes.iter())
    }

    /// Whether it empties databases, or makes them change places.
    pub(super) fn reaches_databases(&self) -> bool {
        let reaches = |write: &Write| !matches!(write.reach, Reach::Keys | Reach::Code);
        self.everything && self.writes.iter().any(reaches)
    }

    /// The commands, in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }
}
