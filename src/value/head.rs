//! Which type a key has, and when it ends.

use bytes::Bytes;

use super::ReadError;
use super::answer::Answer;
use crate::backend::{Broken, Connection};
use crate::capability::Capabilities;
use crate::diff::Kind;
use crate::effect::Expiry;
use crate::resp::{Reply, Request};

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
    connection.queue(&Request::new([b"TYPE".as_ref(), key]));
    for request in expiry_requests(key, server) {
        connection.queue(&request);
    }
    let kind = connection.answer().await?;
    let expiry = expiry_answer(connection, server).await?;
    let kind = Answer::new(kind, "TYPE")?.text()?;
    if kind == "none" {
        return Ok(None);
    }
    let kind = Kind::from_name(&kind).map_or(Type::Opaque(kind), Type::Known);
    Ok(match expiry? {
        // Gone in between: as good as never seen.
        Expiry::Missing => None,
        Expiry::Never => Some(Head { kind, expires_at: None }),
        Expiry::At(at) => Some(Head { kind, expires_at: Some(at) }),
    })
}

fn expiry_requests(key: &[u8], server: &Capabilities) -> Vec<Request> {
    if server.tells_absolute_expiry() {
        vec![Request::new([b"PEXPIRETIME".as_ref(), key])]
    } else {
        vec![Request::new(["TIME"]), Request::new([b"PTTL".as_ref(), key])]
    }
}

/// The outer error is the connection's: then no further answer follows.
async fn expiry_answer(
    connection: &mut Connection,
    server: &Capabilities,
) -> Result<Result<Expiry, ReadError>, Broken> {
    if server.tells_absolute_expiry() {
        return Ok(ends_at(connection.answer().await?, 0));
    }
    let (time, ttl) = (connection.answer().await?, connection.answer().await?);
    Ok(clock(time).and_then(|now| ends_at(ttl, now)))
}

/// What `PEXPIRETIME` (`base` 0) or `PTTL` (`base` now) says: no key, no end, or when.
pub(super) fn ends_at(reply: Reply, base: i64) -> Result<Expiry, ReadError> {
    Ok(Expiry::from_answer(Answer::new(reply, "PTTL")?.integer()?, base))
}

/// What `TIME` says, in milliseconds.
pub(super) fn clock(reply: Reply) -> Result<i64, ReadError> {
    Answer::new(reply, "TIME")?.milliseconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_answers_about_an_end_are_told_apart() {
        assert_eq!(ends_at(Reply::Integer(-2), 0).unwrap(), Expiry::Missing);
        assert_eq!(ends_at(Reply::Integer(-1), 0).unwrap(), Expiry::Never);
        assert_eq!(ends_at(Reply::Integer(5), 100).unwrap(), Expiry::At(105));
    }
}
