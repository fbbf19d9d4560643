//! `DUMP` payloads: what they say of themselves, and which way one can take to another server.
//!
//! A payload is the value's type byte, the value, and a footer: a 2-byte version and a CRC-64. A
//! server that knows the type byte reads the value whatever version the footer names, so a payload
//! of a newer server can often travel under a footer written anew (measured for every ordered pair
//! of Redis 5.0 to 8.0 and Valkey 8.0 to 9.1).
//!
//! *Guarantees:* a payload is never sent to a server that would read its type byte as another
//! layout; a value that can't travel as a payload is said to need commands, not guessed at.
//!
//! *Must not know:* sockets, keys, how the acceptance of a server was asked for.

mod acceptance;

use std::borrow::Cow;

use crc::{CRC_64_REDIS, Crc, Table};
use thiserror::Error;

pub use acceptance::{Acceptance, Way};
pub(crate) use acceptance::{Sample, samples};

/// The footer's length: two bytes of version, eight of checksum, both little-endian.
const FOOTER: usize = 10;
const CHECKSUM: usize = 8;

/// Sixteen bytes a step: about ten times as fast as a byte a step.
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// What came is shorter than any payload.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a DUMP payload: too short")]
pub struct TooShort;

/// A payload as `DUMP` gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    raw: Cow<'a, [u8]>,
}

impl<'a> Payload<'a> {
    /// Takes what `DUMP` answered.
    pub fn new(raw: &'a [u8]) -> Result<Self, TooShort> {
        if raw.len() > FOOTER { Ok(Self { raw: raw.into() }) } else { Err(TooShort) }
    }

    /// A payload of `version` around a body that begins with its type byte.
    pub fn around(body: &[u8], version: u16) -> Result<Self, TooShort> {
        if body.is_empty() { Err(TooShort) } else { Ok(Self { raw: seal(body, version).into() }) }
    }

    /// The bytes for `RESTORE`.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The first byte: how the value is laid out.
    pub fn type_byte(&self) -> u8 {
        self.raw.first().copied().unwrap_or_default()
    }

    /// The version that the footer names.
    pub fn version(&self) -> u16 {
        let (_, footer) = self.split();
        footer.first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    /// Type byte and value: equal bodies are equal values of equal encoding.
    pub fn body(&self) -> &[u8] {
        self.split().0
    }

    /// Whether the checksum is right.
    pub fn is_intact(&self) -> bool {
        let (covered, checksum) = self.raw.split_at(self.raw.len() - CHECKSUM);
        CRC.checksum(covered).to_le_bytes() == checksum
    }

    /// The same value under a footer of another version.
    #[must_use]
    pub fn with_version(&self, version: u16) -> Payload<'static> {
        Payload { raw: seal(self.body(), version).into() }
    }

    /// The payload as it travels that way; `None` by commands.
    pub fn by(&self, way: Way) -> Option<Self> {
        match way {
            Way::AsIs => Some(self.clone()),
            Way::Footer(version) => Some(self.with_version(version)),
            Way::Commands => None,
        }
    }

    fn split(&self) -> (&[u8], &[u8]) {
        self.raw.split_at(self.raw.len() - FOOTER)
    }
}

fn seal(body: &[u8], version: u16) -> Vec<u8> {
    let mut raw = Vec::with_capacity(body.len() + FOOTER);
    raw.extend_from_slice(body);
    raw.extend_from_slice(&version.to_le_bytes());
    let checksum = CRC.checksum(&raw);
    raw.extend_from_slice(&checksum.to_le_bytes());
    raw
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `SET k 1` and `DUMP k` on Redis 7.0.15.
    const ONE: &[u8] = b"\x00\xc0\x01\x0a\x00\x26x\xe7\xb6\xd1\x01\x11\xfc";

    #[test]
    fn a_servers_own_payload_is_understood() {
        let payload = Payload::new(ONE).unwrap();
        assert_eq!((payload.type_byte(), payload.version()), (0, 10));
        assert_eq!(payload.body(), b"\x00\xc0\x01");
        assert!(payload.is_intact());
        assert_eq!(payload.with_version(10), payload);
    }

    #[test]
    fn a_damaged_payload_is_noticed() {
        for index in 0..ONE.len() {
            let mut damaged = ONE.to_vec();
            damaged[index] ^= 1;
            assert!(!Payload::new(&damaged).unwrap().is_intact(), "byte {index}");
        }
    }

    #[test]
    fn what_is_too_short_is_no_payload() {
        assert_eq!(Payload::new(&[0; 10]), Err(TooShort));
        assert_eq!(Payload::around(b"", 9), Err(TooShort));
    }

    proptest! {
        #[test]
        fn a_footer_written_anew_keeps_the_value(
            body in prop::collection::vec(any::<u8>(), 1..200), from: u16, to: u16,
        ) {
            let payload = Payload::around(&body, from).unwrap();
            let moved = payload.with_version(to);
            prop_assert!(payload.is_intact() && moved.is_intact());
            prop_assert_eq!((moved.version(), moved.body()), (to, body.as_slice()));
            prop_assert_eq!(moved.with_version(from), payload);
        }
    }
}
