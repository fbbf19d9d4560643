//! A quick look at many keys of one server: size, expiry, payload.
//!
//! Two servers that hold the same small value in the same encoding dump the same bytes, so nearly
//! every key is settled here. Answers are taken as they come, all in one piece, and looked at in
//! place.

use bytes::Bytes;

use super::ReadError;
use super::answer::{Answer, misfit, refusal};
use crate::engine::effect::{Ends, Expiry};
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Flat, Row, command};
use crate::server::Connection;

/// Above this estimate of its memory a key is not dumped but read in parts, in bytes. It bounds
/// how long one `DUMP` holds a server up, and with the number of keys a batch's memory.
const BIG: i64 = 32 * 1024;
/// What follows the value in a payload: version and checksum.
const FOOTER: usize = 10;

/// The first question's answers about one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance {
    pub(super) expiry: Expiry,
    pub(super) big: bool,
}

/// Asks for size and expiry of all keys.
pub(super) async fn glance(
    keys: &[Bytes],
    server: &Capabilities,
    connection: &mut Connection,
) -> Result<Vec<Glance>, ReadError> {
    let (wire, ends) = (connection.wire(), Ends::told_by(server));
    wire.outgoing.write(|out| {
        for key in keys {
            command(out, &[b"MEMORY", b"USAGE", key]);
            ends.ask(key, out);
        }
    });
    let answers = wire.row((1 + ends.replies()) * keys.len()).await?;
    let mut row = Row::new(&answers);
    let mut glances = Vec::with_capacity(keys.len());
    for _ in keys {
        // A server that may not be asked for sizes has its keys dumped, whatever their size.
        let size = row.next().and_then(Flat::integer);
        let big = size.is_some_and(|size| size > BIG);
        let expiry = ends.read(&mut row).map_err(|other| misfit(other, "PTTL"))?;
        glances.push(Glance { expiry, big });
    }
    Ok(glances)
}

/// What `DUMP` answers for many keys, as it came.
pub(super) struct Dumps {
    answers: Bytes,
}

impl Dumps {
    /// Asks for all of them.
    pub(super) async fn ask(
        keys: &[&Bytes],
        connection: &mut Connection,
    ) -> Result<Self, ReadError> {
        let wire = connection.wire();
        wire.outgoing.write(|out| keys.iter().for_each(|key| command(out, &[b"DUMP", key])));
        let answers = wire.row(keys.len()).await?;
        match Row::new(&answers).find(|dump| matches!(dump, Flat::Error(_))) {
            Some(Flat::Error(text)) => Err(refusal(text)),
            _ => Ok(Self { answers }),
        }
    }

    /// The values without their footers, key by key: servers' versions may differ. `None` for a key
    /// that is not there.
    pub(super) fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        Row::new(&self.answers).map(|dump| Some(dump.text()?.split_last_chunk::<FOOTER>()?.0))
    }
}

/// Those of the keys that are not there.
pub(super) async fn lacking(
    keys: &[Bytes],
    connection: &mut Connection,
) -> Result<Vec<Bytes>, ReadError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    // Nearly always all are there, and one question tells. In a cluster it is refused.
    let all =
        connection.command([b"EXISTS".as_ref()].into_iter().chain(keys.iter().map(Bytes::as_ref)));
    if all.await?.integer() == i64::try_from(keys.len()).ok() {
        return Ok(Vec::new());
    }
    connection.wire().outgoing.write(|out| {
        for key in keys {
            command(out, &[b"EXISTS", key]);
        }
    });
    let mut answers = Vec::with_capacity(keys.len());
    for _ in keys {
        answers.push(connection.answer().await?);
    }
    let mut lacking = Vec::new();
    for (key, reply) in keys.iter().zip(answers) {
        if Answer::new(reply, "EXISTS")?.integer()? == 0 {
            lacking.push(key.clone());
        }
    }
    Ok(lacking)
}
