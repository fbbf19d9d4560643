//! The engine between two servers in memory, with everything that can go wrong in between.
//!
//! A run is a seed: clients ask, servers execute one command at a time, answers arrive late,
//! connections break with commands half done, keys expire at different moments on the two servers,
//! whose clocks are set now and then, copies are read long before they are offered, some of them in
//! parts that follow the writes, and the engine itself dies and leaves nothing but its record. At the end of a run the two servers must hold the same and the engine nothing.
//!
//! `CROSSFADE_SIMULATION_RUNS` sets the number of runs, `CROSSFADE_SIMULATION_SEED` replays one.

mod copier;
mod link;
mod model;
mod pass;
mod rng;
mod upstream;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::World;

use super::Engine;

/// Runs in an ordinary test.
const RUNS: u64 = 2_000;
/// Things that happen in one run before it is brought to its end.
const EVENTS: usize = 600;

impl Engine {
    /// Whether nothing is remembered of what has been.
    fn is_at_rest(&self) -> bool {
        self.order.is_at_rest()
            && self.ledger.is_empty()
            && self.copying.is_empty()
            && self.copied_at.is_empty()
            && self.log.is_empty()
            && self.log.bytes() == 0
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..EVENTS {
        world.happen();
    }
    world.settle();
    world.check();
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_interleaving_ends_with_two_equal_servers() {
    if let Some(seed) = variable("CROSSFADE_SIMULATION_SEED") {
        return run(seed);
    }
    for seed in 0..variable("CROSSFADE_SIMULATION_RUNS").unwrap_or(RUNS) {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("to replay: CROSSFADE_SIMULATION_SEED={seed}");
            resume_unwind(failure);
        }
    }
}
