//! Which type a key has, and when it ends.

use bytes::Bytes;

use super::ReadError;
use super::answer::Answer;
use crate::backend::Connection;
use crate::capability::Capabilities;
use crate::diff::Kind;
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
    expiry_requests(key, server).iter().for_each(|request| connection.queue(request));
    let kind = connection.answer().await?;
    let expiry = expiry_answer(connection, server).await?;
    let kind = Answer::new(kind, "TYPE")?.text()?;
    if kind == "none" {
        return Ok(None);
    }
    let kind = Kind::from_name(&kind).map_or(Type::Opaque(kind), Type::Known);
    // Gone in between: as good as never seen.
    Ok(expiry?.map(|expires_at| Head { kind, expires_at }))
}

fn expiry_requests(key: &[u8], server: &Capabilities) -> Vec<Request> {
    if server.tells_absolute_expiry() {
        vec![Request::new([b"PEXPIRETIME".as_ref(), key])]
    } else {
        vec![Request::new(["TIME"]), Request::new([b"PTTL".as_ref(), key])]
    }
}

type Expiry = Result<Option<Option<i64>>, ReadError>;

/// The outer error is the connection's: then no further answer follows.
async fn expiry_answer(
    connection: &mut Connection,
    server: &Capabilities,
) -> Result<Expiry, ReadError> {
    if server.tells_absolute_expiry() {
        return Ok(ends_at(connection.answer().await?, 0));
    }
    let (time, ttl) = (connection.answer().await?, connection.answer().await?);
    Ok(clock(time).and_then(|now| ends_at(ttl, now)))
}

/// What `PEXPIRETIME` (`base` 0) or `PTTL` (`base` now) says: no key, no end, or when.
pub(super) fn ends_at(reply: Reply, base: i64) -> Expiry {
    Ok(match Answer::new(reply, "PTTL")?.integer()? {
        -2 => None,
        -1 => Some(None),
        at => Some(Some(base.saturating_add(at))),
    })
}

/// What `TIME` says, in milliseconds.
pub(super) fn clock(reply: Reply) -> Result<i64, ReadError> {
    let [seconds, micros] = Answer::new(reply, "TIME")?.tuple()?;
    Ok(seconds.integer()? * 1000 + micros.integer()? / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_answers_about_an_end_are_told_apart() {
        assert_eq!(ends_at(Reply::Integer(-2), 0).unwrap(), None);
        assert_eq!(ends_at(Reply::Integer(-1), 0).unwrap(), Some(None));
        assert_eq!(ends_at(Reply::Integer(5), 100).unwrap(), Some(Some(105)));
    }
}
