//! What is asked about a key that is copied, and the command that its answers come to.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::Route;
use crate::engine::effect::{Ends, Expiry};
use crate::protocol::payload::Payload;
use crate::protocol::resp::{Flat, Row, about, array_header, bulk, bulk_integer, command};

/// What was read of one key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Read<'a> {
    /// There is none.
    Gone,
    Value {
        expiry: Expiry,
        clock: Option<i64>,
        payload: &'a [u8],
    },
}

/// The primary won't let us read a key: its error.
#[derive(Debug, Error)]
#[error("the primary refuses: {}", .0.escape_ascii())]
pub(super) struct Refused(Bytes);

/// What gives the secondary a key's state.
#[derive(Debug)]
pub(super) enum Restore<'a> {
    Delete,
    Value {
        /// On the secondary's clock; 0 for never.
        expires_at: i64,
        payload: Payload<'a>,
        /// The name of the eviction clock, and what it shows.
        clock: Option<(&'static [u8], i64)>,
    },
}

impl Route {
    /// How to ask when a key ends, given whether any key of its database may.
    pub(super) fn ends(&self, some: bool) -> Ends {
        if some { Ends::told_by(&self.from) } else { Ends::Never }
    }

    /// How many replies there are to the questions about a key.
    pub(super) fn replies(ends: Ends) -> usize {
        ends.replies() + 2
    }

    /// Writes the questions about a key.
    pub(super) fn ask(&self, key: &[u8], ends: Ends, out: &mut BytesMut) {
        ends.ask(key, out);
        let clock: &[u8] = if self.by_frequency {
            b"*3\r\n$6\r\nOBJECT\r\n$4\r\nFREQ\r\n"
        } else {
            b"*3\r\n$6\r\nOBJECT\r\n$8\r\nIDLETIME\r\n"
        };
        about(out, clock, key);
        about(out, b"*2\r\n$4\r\nDUMP\r\n", key);
    }

    /// Understands the answers about the next key.
    pub(super) fn read<'a>(row: &mut Row<'a>, ends: Ends) -> Result<Read<'a>, Refused> {
        let expiry = ends.read(row);
        let clock = row.next().and_then(Flat::integer);
        match (expiry, row.next().unwrap_or(Flat::Null)) {
            (Err(Flat::Error(text)), _) | (_, Flat::Error(text)) => {
                Err(Refused(Bytes::copy_from_slice(text)))
            }
            (Ok(Expiry::Missing) | Err(_), _) => Ok(Read::Gone),
            (Ok(expiry), Flat::Text(payload)) => Ok(Read::Value { expiry, clock, payload }),
            _ => Ok(Read::Gone),
        }
    }

    /// What gives the secondary this state; `None` when only commands of the value's type can.
    pub(super) fn restore<'a>(&self, read: Read<'a>, clock_offset: i64) -> Option<Restore<'a>> {
        let Read::Value { expiry, clock, payload } = read else { return Some(Restore::Delete) };
        let payload = Payload::new(payload).ok()?;
        let expires_at = expiry.at().map_or(0, |at| at.saturating_add(clock_offset));
        // What has just been restored has been idle for 0 s anyway.
        let told = |clock: &i64| self.to.since_redis(5, 0) && (self.by_frequency || *clock > 0);
        let way = self.acceptance.way(self.from.family, &payload);
        let payload = payload.by(way)?;
        self.progress.went(way);
        Some(Restore::Value {
            expires_at,
            payload,
            clock: clock.filter(told).map(|clock| (self.clock(), clock)),
        })
    }

    fn clock(&self) -> &'static [u8] {
        if self.by_frequency { b"FREQ" } else { b"IDLETIME" }
    }
}

impl Restore<'_> {
    /// Writes the command.
    pub(super) fn write(&self, key: &[u8], out: &mut BytesMut) {
        let Self::Value { expires_at, payload, clock } = self else {
            return command(out, &[b"DEL", key]);
        };
        let arguments = 5 + usize::from(*expires_at > 0) + 2 * usize::from(clock.is_some());
        array_header(out, arguments);
        about(out, b"$7\r\nRESTORE\r\n", key);
        bulk_integer(out, *expires_at);
        bulk(out, payload.raw());
        out.put_slice(b"$7\r\nREPLACE\r\n");
        if *expires_at > 0 {
            out.put_slice(b"$6\r\nABSTTL\r\n");
        }
        if let Some((name, clock)) = clock {
            bulk(out, name);
            bulk_integer(out, *clock);
        }
    }
}
