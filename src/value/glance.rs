//! A quick look at many keys of one server: size, expiry, payload.
//!
//! Two servers that hold the same small value in the same encoding dump the same bytes, so nearly
//! every key is settled here. Frames are taken as they come: nothing is parsed that is only to be
//! compared.

use bytes::{Bytes, BytesMut};

use super::ReadError;
use super::answer::Answer;
use super::head::{clock, ends_at};
use crate::backend::Connection;
use crate::capability::Capabilities;
use crate::resp::{Reply, command};

/// Above this estimate of its memory a key is not dumped but read in parts, in bytes. It bounds
/// how long one `DUMP` holds a server up, and with the number of keys a batch's memory.
const BIG: i64 = 32 * 1024;
/// What surrounds a payload's value in a frame: version, checksum and line end.
const FOOTER: usize = 12;

/// The first question's answers about one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance {
    /// `None` when there is no such key; else its end, in Unix milliseconds.
    pub(super) expiry: Option<Option<i64>>,
    pub(super) big: bool,
}

/// Asks for size and expiry of all keys.
pub(super) async fn glance(
    keys: &[Bytes],
    server: &Capabilities,
    connection: &mut Connection,
) -> Result<Vec<Glance>, ReadError> {
    let absolute = server.tells_absolute_expiry();
    let expiry: &[u8] = if absolute { b"PEXPIRETIME" } else { b"PTTL" };
    connection.wire().outgoing.write(|out| {
        if !absolute {
            command(out, &[b"TIME"]);
        }
        for key in keys {
            command(out, &[b"MEMORY", b"USAGE", key]);
            command(out, &[expiry, key]);
        }
    });
    let now = if absolute { 0 } else { clock(connection.answer().await?)? };
    let mut glances = Vec::with_capacity(keys.len());
    for _ in keys {
        let (size, expiry) = (connection.answer().await?, connection.answer().await?);
        // A server that may not be asked for sizes has its keys dumped, whatever their size.
        let big = size.integer().is_some_and(|size| size > BIG);
        glances.push(Glance { expiry: ends_at(expiry, now)?, big });
    }
    Ok(glances)
}

/// What `DUMP` answers for all keys, each as its frame without the footer.
pub(super) async fn bodies(
    keys: &[&Bytes],
    connection: &mut Connection,
) -> Result<Vec<Bytes>, ReadError> {
    connection.wire().outgoing.write(|out: &mut BytesMut| {
        for key in keys {
            command(out, &[b"DUMP", key]);
        }
    });
    let mut bodies = Vec::with_capacity(keys.len());
    let mut refusal = None;
    for _ in keys {
        let frame = connection.wire().frame().await?;
        if frame.is_error() {
            let reply = Reply::parse(&frame.raw).unwrap_or(Reply::Null);
            refusal = refusal.or(Answer::new(reply, "DUMP").err());
        }
        bodies.push(frame.raw.slice(..frame.raw.len().saturating_sub(FOOTER)));
    }
    refusal.map_or(Ok(bodies), Err)
}
