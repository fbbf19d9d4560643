//! Scratch keys: where values are built before they are moved into their place, and where something is
//! tried: which payloads a server takes.

use std::sync::LazyLock;

use bytes::Bytes;

use super::ReadError;
use crate::protocol::capability::Capabilities;
use crate::protocol::payload::{Acceptance, Payload, Sample, samples};
use crate::protocol::reserved_keys::{BUILDING, PROBE};
use crate::protocol::resp::{Reply, Request};
use crate::server::{Connection, nonce};

/// What the keys begin with under which this process builds values.
static BUILT_HERE: LazyLock<String> = LazyLock::new(|| format!("{BUILDING}{:016x}", nonce()));

/// The name of a key under which a value is built.
pub(super) fn building_key() -> Bytes {
    Bytes::from(format!("{}:{:016x}", *BUILT_HERE, nonce()))
}

/// Whether another process built a value under this key. If none is left to go on with it, it must
/// go.
pub(crate) fn is_orphan(key: &[u8]) -> bool {
    key.starts_with(BUILDING.as_bytes()) && !key.starts_with(BUILT_HERE.as_bytes())
}

/// The name of a key to try something with.
pub(crate) fn probe_key() -> Bytes {
    Bytes::from(format!("{PROBE}{:016x}", nonce()))
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::reserved_keys::{MARKER, is_reserved};

    #[test]
    fn two_scratch_keys_differ_and_are_reserved() {
        for key in [building_key, probe_key] {
            assert_ne!(key(), key());
            assert!(is_reserved(7, &key()));
        }
    }

    #[test]
    fn what_another_process_was_building_is_told_from_what_this_one_builds() {
        assert!(is_orphan(b"crossfade:tmp:0123456789abcdef:0123456789abcdef"));
        for key in [&building_key(), &probe_key(), MARKER, b"crossfade:tmp"] {
            assert!(!is_orphan(key));
        }
    }
}
