//! A reply in eight bytes, for comparing two servers' answers long after one has been forgotten.

use xxhash_rust::xxh3::xxh3_64;

use crate::protocol::resp::Reply;

/// Equal for replies that say the same in either protocol version. Two different replies have the
/// same digest once in 2^64: then a mismatch goes unseen until the key's next write or `verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// The digest of a reply.
    pub fn of(reply: &Reply) -> Self {
        Self(hash(reply))
    }
}

fn hash(reply: &Reply) -> u64 {
    match reply {
        Reply::Integer(value) => scalar(b'i', &value.to_le_bytes()),
        Reply::Boolean(flag) => scalar(b'i', &i64::from(*flag).to_le_bytes()),
        Reply::Simple(text) | Reply::Bulk(text) | Reply::Double(text) | Reply::BigNumber(text) => {
            scalar(b's', text)
        }
        Reply::Error(text) => scalar(b'e', text),
        Reply::Null => scalar(b'n', b""),
        Reply::Array(items) | Reply::Push(items) => ordered(items.iter()),
        Reply::Set(items) => items.iter().map(hash).fold(1, u64::wrapping_add),
        Reply::Map(pairs) => ordered(pairs.iter().flat_map(|(key, value)| [key, value])),
    }
}

fn scalar(kind: u8, bytes: &[u8]) -> u64 {
    xxh3_64(bytes).rotate_left(u32::from(kind % 64)) ^ u64::from(kind)
}

fn ordered<'a>(items: impl Iterator<Item = &'a Reply>) -> u64 {
    items.fold(0x9e37_79b9_7f4a_7c15, |sum, item| {
        (sum.rotate_left(5) ^ hash(item)).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn digest(text: &'static str) -> Digest {
        Digest::of(&Reply::parse(&Bytes::from_static(text.as_bytes())).unwrap())
    }

    #[test]
    fn both_protocols_have_one_digest() {
        assert_eq!(digest("$-1\r\n"), digest("_\r\n"));
        assert_eq!(digest("$3\r\n1.5\r\n"), digest(",1.5\r\n"));
        assert_eq!(digest("*2\r\n:1\r\n:2\r\n"), digest("%1\r\n:1\r\n:2\r\n"));
    }

    #[test]
    fn order_and_kind_matter() {
        assert_ne!(digest("*2\r\n:1\r\n:2\r\n"), digest("*2\r\n:2\r\n:1\r\n"));
        assert_ne!(digest("+OK\r\n"), digest("-OK\r\n"));
        assert_ne!(digest(":1\r\n"), digest("$1\r\n1\r\n"));
    }
}
