//! Names of scratch keys: where values are built before they are moved into their place, and where
//! something is tried.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::protocol::reserved_keys::{BUILDING, PROBE};
use crate::server::nonce;

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
