//! Asking a server which payloads it takes.

use bytes::Bytes;

use super::ReadError;
use super::scratch::probe_key;
use crate::protocol::capability::Capabilities;
use crate::protocol::payload::{Acceptance, Payload, Sample, samples};
use crate::protocol::resp::{Reply, Request};
use crate::server::Connection;

/// How long the scratch key lives if nobody comes to remove it, in milliseconds.
const LIFETIME: &str = "10000";

/// What the server takes, found by restoring tiny values under one scratch key that is removed
/// again. Where it may not be asked (no permission, read-only, full), the table stands.
pub async fn probe(
    server: &Capabilities,
    connection: &mut Connection,
) -> Result<Acceptance, ReadError> {
    let expected = Acceptance::expected(server);
    let key = probe_key();
    let Some(version) = own_version(&key, connection).await? else {
        return Ok(expected);
    };
    let mut acceptance = expected.with_version(version);
    for sample in samples(server.family) {
        if let Some(taken) = takes(&sample, version, &key, connection).await? {
            acceptance = acceptance.with_type(sample.type_byte, taken);
        }
    }
    connection.command([b"DEL".as_ref(), &key]).await?;
    Ok(acceptance)
}

/// The version in the footer of the server's own payloads.
async fn own_version(key: &Bytes, connection: &mut Connection) -> Result<Option<u16>, ReadError> {
    let set = Request::new([b"SET".as_ref(), key, b"1", b"PX", LIFETIME.as_bytes()]);
    let dump = Request::new([b"DUMP".as_ref(), key]);
    let replies = connection.ask_all(&[set, dump]).await?;
    let payload = replies.get(1).and_then(Reply::text).and_then(|raw| Payload::new(raw).ok());
    Ok(payload.map(|payload| payload.version()))
}

/// Whether the server reads the sample; `None` when its error is about something else.
async fn takes(
    sample: &Sample,
    version: u16,
    key: &Bytes,
    connection: &mut Connection,
) -> Result<Option<bool>, ReadError> {
    let Ok(payload) = Payload::around(&sample.body, version) else { return Ok(None) };
    let restore = [b"RESTORE".as_ref(), key, LIFETIME.as_bytes(), payload.raw(), b"REPLACE"];
    Ok(match connection.command(restore).await? {
        reply if reply.is_ok() => Some(true),
        Reply::Error(text) if text.starts_with(b"ERR Bad data format") => Some(false),
        _ => None,
    })
}
