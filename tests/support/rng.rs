//! A seeded generator, small enough to be read: splitmix64.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers that depend on nothing but the seed.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// The seed that the environment names, or this one; printed, so that a failure can be replayed.
    pub fn seeded(seed: u64) -> Self {
        let seed =
            std::env::var("CROSSFADE_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(seed);
        eprintln!("seed: CROSSFADE_TEST_SEED={seed}");
        Self(seed)
    }

    /// A seed from the clock: for choices that no assertion depends on, such as a port.
    pub fn arbitrary() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        Self(
            u64::try_from(now & u128::from(u64::MAX)).unwrap()
                ^ (u64::from(std::process::id()) << 32),
        )
    }

    /// An independent generator for one of several threads.
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of the things.
    pub fn pick<'a, T: ?Sized>(&mut self, things: &[&'a T]) -> &'a T {
        let index = self.below(things.len() as u64);
        things[usize::try_from(index).unwrap()]
    }
}
