//! The keys that crossfade itself puts on a server.
//!
//! *Guarantees:* such a key is told from the application's by its name alone, so that none is ever
//! copied, compared or mirrored as if it were data.
//!
//! *Must not know:* what each is for.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

/// The marker that a flip leaves on the source, in database 0.
pub const MARKER: &[u8] = b"crossfade:cutover";

/// What the name of a scratch key begins with, by what it is for.
const SCRATCH: [&[u8]; 2] = [b"crossfade:tmp:", b"crossfade:probe:"];

/// Whether a key of database `db` is crossfade's own.
pub fn is_ours(db: u32, key: &[u8]) -> bool {
    (db == 0 && key == MARKER) || SCRATCH.iter().any(|prefix| key.starts_with(prefix))
}

/// The name of a key that lives only while crossfade works: to build a value under (`tmp`) or to
/// try something with (`probe`). Nobody else has it; the hasher's seed is random.
pub fn scratch_key(purpose: &str) -> Bytes {
    let random = RandomState::new().hash_one(purpose);
    Bytes::from(format!("crossfade:{purpose}:{random:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_scratch_keys_differ_and_are_ours() {
        for purpose in ["tmp", "probe"] {
            assert_ne!(scratch_key(purpose), scratch_key(purpose));
            assert!(is_ours(7, &scratch_key(purpose)));
        }
    }

    #[test]
    fn the_marker_is_ours_only_where_a_flip_leaves_it() {
        assert!(is_ours(0, MARKER));
        assert!(!is_ours(1, MARKER));
        assert!(!is_ours(0, b"crossfade:cutover:plan"));
    }
}
