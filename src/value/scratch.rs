//! Names for keys that live only while crossfade works.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

/// A name under `prefix` that nobody else has; the hasher's seed is random.
pub fn scratch_key(prefix: &str) -> Bytes {
    let random = RandomState::new().hash_one(prefix);
    Bytes::from(format!("crossfade:{prefix}:{random:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_scratch_keys_differ() {
        assert!(scratch_key("tmp").starts_with(b"crossfade:tmp:"));
        assert_ne!(scratch_key("tmp"), scratch_key("tmp"));
    }
}
