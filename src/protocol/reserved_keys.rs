//! The keys that crossfade itself puts on a server.
//!
//! *Guarantees:* such a key is told from the application's by its name alone, so that none is ever
//! copied, compared or mirrored as if it were data.
//!
//! *Must not know:* what is done with them.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use bytes::Bytes;

/// The marker that a flip leaves on the source, in database 0.
pub const MARKER: &[u8] = b"crossfade:cutover";

/// What the name of a scratch key begins with, by what it is for.
const SCRATCH: [&[u8]; 2] = [b"crossfade:tmp:", b"crossfade:probe:"];

/// What the scratch keys of this process under which values are built begin with.
static BUILT_HERE: LazyLock<String> = LazyLock::new(|| format!("crossfade:tmp:{}", nonce("tmp")));

/// Whether a key of database `db` is crossfade's own.
pub fn is_ours(db: u32, key: &[u8]) -> bool {
    (db == 0 && key == MARKER) || SCRATCH.iter().any(|prefix| key.starts_with(prefix))
}

/// The name of a key under which a value is built before it is moved into its place.
pub fn building_key() -> Bytes {
    Bytes::from(format!("{}:{}", *BUILT_HERE, nonce("value")))
}

/// Whether another process built a value under this key. If nobody is left to go on with it, it
/// must go.
pub fn is_left_behind(key: &[u8]) -> bool {
    key.starts_with(b"crossfade:tmp:") && !key.starts_with(BUILT_HERE.as_bytes())
}

/// The name of a key to try something with.
pub fn probe_key() -> Bytes {
    Bytes::from(format!("crossfade:probe:{}", nonce("probe")))
}

/// Letters that nobody else has; the hasher's seed is random.
fn nonce(purpose: &str) -> String {
    format!("{:016x}", RandomState::new().hash_one(purpose))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_scratch_keys_differ_and_are_ours() {
        for key in [building_key, probe_key] {
            assert_ne!(key(), key());
            assert!(is_ours(7, &key()));
        }
    }

    #[test]
    fn what_another_process_was_building_is_told_from_what_this_one_builds() {
        assert!(is_left_behind(b"crossfade:tmp:0123456789abcdef:0123456789abcdef"));
        for key in [&building_key(), &probe_key(), MARKER, b"crossfade:tmp"] {
            assert!(!is_left_behind(key));
        }
    }

    #[test]
    fn the_marker_is_ours_only_where_a_flip_leaves_it() {
        assert!(is_ours(0, MARKER));
        assert!(!is_ours(1, MARKER));
        assert!(!is_ours(0, b"crossfade:cutover:plan"));
    }
}
