//! A key in eight bytes.

use std::hash::{BuildHasher, Hash, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::groups::{GROUPS, Group};

/// The secret under which fingerprints are made, so that nobody outside can choose two keys that
/// share one. Kept with the state: groups of keys must mean the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// A fresh one, from the system's randomness.
    pub fn random() -> Self {
        Self(std::hash::RandomState::new().hash_one(std::process::id()))
    }

    /// One that was kept.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// To be kept.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// The fingerprint of `key` in `space`.
    pub fn fingerprint(self, space: u32, key: &[u8]) -> Fingerprint {
        let seed = self.0 ^ u64::from(space).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Fingerprint(xxh3_64_with_seed(key, seed).to_le_bytes())
    }
}

/// Stands for a key. Bytes rather than a number, so that a mark beside it needs no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// The group that the key belongs to.
    pub fn group(self) -> Group {
        Group((u64::from_le_bytes(self.0) % GROUPS as u64) as u16)
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(self.0));
    }
}

/// A fingerprint is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passthrough;

impl BuildHasher for Passthrough {
    type Hasher = Identity;

    fn build_hasher(&self) -> Identity {
        Identity(0)
    }
}

/// Hands on the one number that it was given.
#[derive(Debug)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
