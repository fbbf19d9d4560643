//! The smallest value of each layout, to ask a server which it knows.

use bytes::{BufMut, BytesMut};

use crate::protocol::capability::Family;

/// A body without a footer, type byte first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
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
pub fn samples(family: Family) -> Vec<Sample> {
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

    #[test]
    fn a_sample_begins_with_its_type_byte() {
        for family in [Family::Redis, Family::Valkey] {
            for sample in samples(family) {
                assert_eq!(sample.body.first(), Some(&sample.type_byte));
            }
        }
    }
}
