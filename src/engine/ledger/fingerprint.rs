//! A key in eight bytes.
//!
//! The ledger remembers keys by a 64-bit fingerprint of database and key, so that a mark costs bytes and not the key's length. The
//! fingerprint depends on a random seed, so nobody can choose keys that share one. Among
//! 100 million keys the chance that any two share one is about 1 in 3,700; among a million, 1 in 37 million. Two such keys share
//! their mark: one may be held for copied because the other is, and then be missing on the target or receive an effect before its copy.
//! The effect's reply shows it, and the key is copied; verify compares keys and not fingerprints, and finds the rest. As a cut-over
//! asks for a clean verify, a collision costs a repair, not data.

use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::groups::Group;

/// The secret under which fingerprints are made, so that nobody outside can choose two keys that
/// share one. Kept with the state: groups of keys must mean the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// From randomness, or as it was kept.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// To be kept.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// The fingerprint of `key` in `space`.
    ///
    /// The space changes no bit of the [group](Fingerprint::group): groups must mean the same when
    /// databases have changed numbers, and on the server that counts them otherwise.
    pub fn fingerprint(self, space: u32, key: &[u8]) -> Fingerprint {
        let space = u64::from(space).wrapping_mul(0x9e37_79b9_7f4a_7c15) << u16::BITS;
        Fingerprint(xxh3_64_with_seed(key, self.0) ^ space)
    }

    /// The group of `key`, in whatever space.
    pub fn group(self, key: &[u8]) -> Group {
        self.fingerprint(0, key).group()
    }
}

/// Stands for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The group that the key belongs to: keys of one name, whatever their space, are in one.
    pub fn group(self) -> Group {
        Group(self.0 as u16)
    }

    /// As a number, all of whose bits are equally likely.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    #[cfg(test)]
    pub(super) fn of(number: u64) -> Self {
        Self(number)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_group_in_all_spaces_and_a_fingerprint_in_each() {
        let seed = Seed::from_bytes([7; 8]);
        let (here, there) = (seed.fingerprint(0, b"a"), seed.fingerprint(3, b"a"));
        assert_ne!(here, there);
        assert_eq!((here.group(), there.group()), (seed.group(b"a"), seed.group(b"a")));
    }
}
