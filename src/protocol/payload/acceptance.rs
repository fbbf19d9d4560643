//! Which payloads a server takes, and so which way a value goes there; the smallest value of each layout,
//! to ask it with.

use bytes::{BufMut, BytesMut};

use serde::{Deserialize, Serialize};

use super::Payload;
use crate::protocol::capability::{Capabilities, Family};

/// From this type byte on Redis and Valkey give one number to different layouts.
const FIRST_OF_FAMILY: u8 = 22;
/// The type bytes of modules' values. Whether a server knows one depends on the modules that it has.
const MODULES: [u8; 2] = [6, 7];
/// The newest version that the two families share; Valkey 9 counts from 80.
const LAST_SHARED: u16 = 11;

/// How one value gets to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By `RESTORE` of the payload as it came.
    AsIs,
    /// By `RESTORE` of the payload under this version's footer.
    Footer(u16),
    /// By reading the value and writing it with commands of its type.
    Commands,
}

/// What a server's `RESTORE` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    family: Family,
    version: u16,
    /// A bit a type byte.
    types: u32,
}

impl Acceptance {
    /// What a server of this kind was measured to take (2026-11-21). Versions between the measured
    /// ones are taken for the older.
    pub fn expected(server: &Capabilities) -> Self {
        let (version, first_unknown) = match server.family {
            Family::Valkey if server.since_valkey(9, 0) => (80, 23),
            Family::Valkey => (11, 22),
            Family::Redis => match server.version {
                version if version >= (8, 6, 0) => (13, 27),
                version if version >= (7, 4, 0) => (12, 26),
                version if version >= (7, 2, 0) => (11, 22),
                version if version >= (7, 0, 0) => (10, 20),
                version if version >= (5, 0, 0) => (9, 16),
                version if version >= (4, 0, 0) => (8, 15),
                _ => (7, 15),
            },
        };
        Self { family: server.family, version, types: (1 << first_unknown) - 1 }
    }

    /// Replaces the expected version by the one that the server's own `DUMP` names.
    #[must_use]
    pub fn with_version(self, version: u16) -> Self {
        Self { version, ..self }
    }

    /// Replaces what was expected of one type byte by what the server said to a sample.
    #[must_use]
    pub fn with_type(self, type_byte: u8, taken: bool) -> Self {
        let bit = 1u32.checked_shl(u32::from(type_byte)).unwrap_or(0);
        let types = if taken { self.types | bit } else { self.types & !bit };
        Self { types, ..self }
    }

    /// The version that the server writes itself.
    pub fn version(self) -> u16 {
        self.version
    }

    /// The way for a payload of a module, if the server has the module.
    pub fn way_of_opaque(self, payload: &Payload) -> Way {
        if self.takes_version(payload.version()) { Way::AsIs } else { Way::Footer(self.version) }
    }

    /// Whether the server knows a type byte that a server of `from` wrote.
    pub fn knows(self, from: Family, type_byte: u8) -> bool {
        let same_layout = type_byte < FIRST_OF_FAMILY || from == self.family;
        let of_module = MODULES.contains(&type_byte);
        same_layout
            && !of_module
            && self.types.checked_shr(u32::from(type_byte)).unwrap_or(0) & 1 == 1
    }

    /// The way for one payload that a server of `from` wrote.
    pub fn way(self, from: Family, payload: &Payload<'_>) -> Way {
        // A server reads what its own kind wrote so far, layouts that we have never heard of too.
        let own_kind = from == self.family
            && payload.version() <= self.version
            && !MODULES.contains(&payload.type_byte());
        let known = self.knows(from, payload.type_byte());
        if own_kind || known && self.takes_version(payload.version()) {
            Way::AsIs
        } else if !known {
            Way::Commands
        } else {
            Way::Footer(self.version)
        }
    }

    /// Whether a payload of this version is restored as it is.
    pub fn takes_version(self, version: u16) -> bool {
        version == self.version || version <= self.version && version <= self.newest_foreign()
    }

    /// The newest version other than its own.
    fn newest_foreign(self) -> u16 {
        match self.family {
            Family::Redis => self.version,
            Family::Valkey => LAST_SHARED,
        }
    }
}

/// A body without a footer, type byte first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The body's first byte.
    pub type_byte: u8,
    /// Type byte and value.
    pub body: BytesMut,
}

/// A listpack of `a`.
const LISTPACK_A: &[u8] = b"\x0a\0\0\0\x01\0\x81a\x02\xff";
/// A listpack of `a` and 1.
const LISTPACK_A_1: &[u8] = b"\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff";
/// A listpack of `a`, 1 and 0: a hash field, its value, and no expiry.
const LISTPACK_A_1_0: &[u8] = b"\x0e\0\0\0\x03\0\x81a\x02\x01\x01\x00\x01\xff";
/// A ziplist of `a`.
const ZIPLIST_A: &[u8] = b"\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff";
/// A ziplist of `a` and 1.
const ZIPLIST_A_1: &[u8] = b"\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf2\xff";
/// An intset of 1.
const INTSET_1: &[u8] = b"\x02\0\0\0\x01\0\0\0\x01\0";

/// The samples that a server of `family` may know. Values of modules are not among them: whether
/// those are known depends on the module.
pub(crate) fn samples(family: Family) -> Vec<Sample> {
    let mut samples = vec![
        sample(0, b"", b"a"),
        sample(11, b"", INTSET_1),
        sample(12, b"", ZIPLIST_A_1),
        sample(13, b"", ZIPLIST_A_1),
        sample(14, b"\x01", ZIPLIST_A),
        // No nodes, length 0, last ID 0-0, no groups.
        plain(15, &[0; 5]),
        sample(16, b"", LISTPACK_A_1),
        sample(17, b"", LISTPACK_A_1),
        // One node, packed.
        sample(18, b"\x01\x02", LISTPACK_A),
        // As 15, with the first ID, the highest deleted ID and the number of entries ever added.
        plain(19, &[0; 10]),
        sample(20, b"", LISTPACK_A),
        plain(21, &[0; 10]),
    ];
    match family {
        Family::Valkey => {
            samples.push(plain(22, b"\x01\x01a\x01b\xff\xff\xff\xff\xff\xff\xff\xff"));
        }
        Family::Redis => {
            samples.push(plain(24, b"\0\0\0\0\0\0\0\0\x01\0\x01a\x01b"));
            samples.push(sample(25, &[0; 8], LISTPACK_A_1_0));
        }
    }
    samples
}

fn plain(type_byte: u8, rest: &[u8]) -> Sample {
    let mut body = BytesMut::from([type_byte].as_slice());
    body.put_slice(rest);
    Sample { type_byte, body }
}

/// A body that ends in one short string.
fn sample(type_byte: u8, head: &[u8], string: &[u8]) -> Sample {
    let mut sample = plain(type_byte, head);
    sample.body.put_u8(string.len().to_le_bytes()[0]);
    sample.body.put_slice(string);
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(family: Family, major: u32, minor: u32) -> Capabilities {
        Capabilities { family, version: (major, minor, 0) }
    }

    fn way(from: Family, type_byte: u8, version: u16, to: Capabilities) -> Way {
        let payload = Payload::around(&[type_byte], version).unwrap();
        Acceptance::expected(&to).way(from, &payload)
    }

    #[test]
    fn a_known_type_of_a_newer_version_gets_a_new_footer() {
        assert_eq!(way(Family::Redis, 0, 12, server(Family::Redis, 7, 0)), Way::Footer(10));
        assert_eq!(way(Family::Redis, 0, 12, server(Family::Valkey, 9, 1)), Way::Footer(80));
        assert_eq!(way(Family::Valkey, 20, 80, server(Family::Redis, 8, 0)), Way::Footer(12));
    }

    #[test]
    fn an_older_or_equal_version_travels_as_it_is() {
        assert_eq!(way(Family::Redis, 14, 9, server(Family::Redis, 8, 0)), Way::AsIs);
        assert_eq!(way(Family::Redis, 18, 11, server(Family::Valkey, 9, 1)), Way::AsIs);
        assert_eq!(way(Family::Valkey, 22, 80, server(Family::Valkey, 9, 1)), Way::AsIs);
    }

    #[test]
    fn an_unknown_type_goes_by_commands() {
        for type_byte in [16, 17, 18, 19, 20, 21] {
            assert_eq!(
                way(Family::Redis, type_byte, 12, server(Family::Redis, 6, 2)),
                Way::Commands,
                "{type_byte}"
            );
        }
        assert_eq!(way(Family::Redis, 200, 13, server(Family::Redis, 8, 0)), Way::Commands);
    }

    #[test]
    fn a_modules_value_is_never_taken_for_known() {
        let same = server(Family::Redis, 8, 0);
        assert_eq!(way(Family::Redis, 7, 12, same), Way::Commands);
        let payload = Payload::around(&[7], 12).unwrap();
        let older = Acceptance::expected(&server(Family::Redis, 7, 0));
        assert_eq!(older.way_of_opaque(&payload), Way::Footer(10));
        assert_eq!(Acceptance::expected(&same).way_of_opaque(&payload), Way::AsIs);
    }

    #[test]
    fn a_server_reads_what_its_own_kind_wrote_so_far() {
        assert_eq!(way(Family::Redis, 200, 12, server(Family::Redis, 8, 0)), Way::AsIs);
        assert_eq!(way(Family::Redis, 200, 12, server(Family::Valkey, 9, 1)), Way::Commands);
    }

    #[test]
    fn hashes_with_field_expiry_never_cross_between_the_families() {
        for type_byte in 22..=26 {
            let redis = way(Family::Redis, type_byte, 12, server(Family::Valkey, 9, 1));
            let valkey = way(Family::Valkey, type_byte, 80, server(Family::Redis, 8, 0));
            assert_eq!((redis, valkey), (Way::Commands, Way::Commands), "{type_byte}");
        }
    }

    #[test]
    fn what_a_server_said_outweighs_the_table() {
        let expected = Acceptance::expected(&server(Family::Redis, 7, 0));
        assert!(!expected.knows(Family::Redis, 20));
        assert!(expected.with_type(20, true).knows(Family::Redis, 20));
        assert!(!expected.with_type(16, false).knows(Family::Redis, 16));
        assert_eq!(expected.with_version(13).version(), 13);
    }

    #[test]
    fn a_sample_begins_with_its_type_byte() {
        for family in [Family::Redis, Family::Valkey] {
            for sample in samples(family) {
                assert_eq!(sample.body.first(), Some(&sample.type_byte));
            }
        }
    }
}
