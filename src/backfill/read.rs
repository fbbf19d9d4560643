//! What is asked about a key that is copied, and the command that its answers come to.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::Route;
use crate::effect::Expiry;
use crate::payload::Payload;
use crate::resp::{Flat, Row, array_header, bulk, bulk_integer, command, parse_integer};

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
    /// Writes the questions about a key.
    pub(super) fn ask(&self, key: &[u8], out: &mut BytesMut) {
        if self.from.tells_absolute_expiry() {
            command(out, &[b"PEXPIRETIME", key]);
        } else {
            command(out, &[b"TIME"]);
            command(out, &[b"PTTL", key]);
        }
        command(out, &[b"OBJECT", self.clock(), key]);
        command(out, &[b"DUMP", key]);
    }

    /// How many replies there are to the questions about a key.
    pub(super) fn replies(&self) -> usize {
        if self.from.tells_absolute_expiry() { 3 } else { 4 }
    }

    /// Understands the answers about the next key.
    pub(super) fn read<'a>(&self, row: &mut Row<'a>) -> Result<Read<'a>, Refused> {
        let now = if self.from.tells_absolute_expiry() { Some(0) } else { time(row) };
        let expiry = row.next().unwrap_or(Flat::Null);
        let clock = row.next().and_then(Flat::integer);
        let dump = row.next().unwrap_or(Flat::Null);
        match (expiry, dump) {
            (Flat::Error(text), _) | (_, Flat::Error(text)) => {
                Err(Refused(Bytes::copy_from_slice(text)))
            }
            (Flat::Integer(expiry), Flat::Text(payload)) => {
                Ok(match Expiry::from_answer(expiry, now.unwrap_or(0)) {
                    Expiry::Missing => Read::Gone,
                    expiry => Read::Value { expiry, clock, payload },
                })
            }
            _ => Ok(Read::Gone),
        }
    }

    /// What gives the secondary this state; `None` when only commands of the value's type can.
    pub(super) fn restore<'a>(&self, read: Read<'a>, clock_offset: i64) -> Option<Restore<'a>> {
        let Read::Value { expiry, clock, payload } = read else { return Some(Restore::Delete) };
        let payload = Payload::new(payload).ok()?;
        let expires_at = match expiry {
            Expiry::At(at) => at + clock_offset,
            Expiry::Never | Expiry::Missing => 0,
        };
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
        out.put_slice(b"$7\r\nRESTORE\r\n");
        bulk(out, key);
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

/// What `TIME` says, in Unix milliseconds.
fn time(row: &mut Row<'_>) -> Option<i64> {
    let Some(Flat::Elements(2)) = row.next() else { return None };
    let (seconds, micros) = (row.next()?.text()?, row.next()?.text()?);
    Some(parse_integer(seconds)? * 1000 + parse_integer(micros)? / 1000)
}
