//! Which type a key has, and when it ends.

use bytes::Bytes;

use super::ReadError;
use super::answer::misfit;
use crate::engine::effect::{Ends, Expiry};
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Flat, Row, command};
use crate::server::Connection;
use crate::value::diff::Kind;

/// What a key holds, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The type of its value.
    pub kind: Type,
    /// When it ends, in Unix milliseconds of the server's clock.
    pub expires_at: Option<i64>,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// One that commands can read and write.
    Known(Kind),
    /// A module's, or one of the future: only a payload carries it.
    Opaque(Bytes),
}

/// Asks for type and expiry; `None` when there is no such key.
///
/// # Errors
/// The connection is broken or the server refuses.
pub async fn head(
    key: &[u8],
    connection: &mut Connection,
    server: &Capabilities,
) -> Result<Option<Head>, ReadError> {
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
        expiry => Some(Head { kind, expires_at: expiry.at() }),
    })
}
