//! What a key is, without its value: whether it is there, its type, its size, when it ends.

use bytes::Bytes;

use super::ReadError;
use super::answer::{Answer, misfit};
use crate::engine::effect::{Ends, Expiry};
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Flat, Row, about, command};
use crate::server::Connection;
use crate::value::diff::Kind;

/// What a key holds, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyInfo {
    /// The type of its value.
    pub kind: Type,
    /// When it ends, in Unix milliseconds of the server's clock.
    pub expires_at: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// One that commands can read and write.
    Known(Kind),
    /// A module's, or one of the future: only a payload carries it.
    Opaque(Bytes),
}

/// Asks for type and expiry; `None` when there is no such key.
pub(crate) async fn key_info(
    key: &[u8],
    connection: &mut Connection,
    server: &Capabilities,
) -> Result<Option<KeyInfo>, ReadError> {
    let (wire, ends) = (connection.wire(), Ends::told_by(server));
    wire.outgoing.write(|out| {
        command(out, &[b"TYPE", key]);
        ends.ask(key, out);
    });
    let answers = wire.row(1 + ends.replies()).await?;
    let mut row = Row::new(&answers);
    let kind = match row.next().unwrap_or(Flat::Null) {
        Flat::Text(b"none") => return Ok(None),
        Flat::Text(name) => Kind::from_name(name)
            .map_or_else(|| Type::Opaque(Bytes::copy_from_slice(name)), Type::Known),
        other => return Err(misfit(other, "TYPE")),
    };
    Ok(match ends.read(&mut row).map_err(|other| misfit(other, "PTTL"))? {
        // Gone in between: as good as never seen.
        Expiry::Missing => None,
        expiry => Some(KeyInfo { kind, expires_at: expiry.at() }),
    })
}

/// Above this estimate of its memory a key is not dumped but read in parts, in bytes. It bounds
/// how long one `DUMP` holds a server up, and with the number of keys a batch's memory.
const BIG: i64 = 32 * 1024;

/// What decides how a key is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline {
    pub(super) expiry: Expiry,
    pub(super) big: bool,
}

/// Asks for size and expiry of all keys.
pub(super) async fn outlines(
    keys: &[Bytes],
    server: &Capabilities,
    connection: &mut Connection,
) -> Result<Vec<Outline>, ReadError> {
    let (wire, ends) = (connection.wire(), Ends::told_by(server));
    wire.outgoing.write(|out| {
        for key in keys {
            about(out, b"*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n", key);
            ends.ask(key, out);
        }
    });
    let answers = wire.row((1 + ends.replies()) * keys.len()).await?;
    let mut row = Row::new(&answers);
    let mut outlines = Vec::with_capacity(keys.len());
    for _ in keys {
        // A server that may not be asked for sizes has its keys dumped, whatever their size.
        let size = row.next().and_then(Flat::integer);
        let big = size.is_some_and(|size| size > BIG);
        let expiry = ends.read(&mut row).map_err(|other| misfit(other, "PTTL"))?;
        outlines.push(Outline { expiry, big });
    }
    Ok(outlines)
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
