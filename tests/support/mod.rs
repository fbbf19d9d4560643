//! What the integration tests share: real servers, the real binary, and eyes that miss nothing.
//!
//! Everything is driven from outside, by the promises of the command line, the admin API and RESP
//! alone: nothing here may import the crate under test. Every wait is for a condition and has a bound;
//! every process started is killed when its owner is dropped.
//!
//! Variables: `CROSSFADE_TEST_SOURCE` and `CROSSFADE_TEST_TARGET` name the server programs (default
//! `redis-server`), `CROSSFADE_TEST_SERVERS` a directory of more of them (default
//! `.cache/servers`), `CROSSFADE_TEST_SEED` a seed.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this module")]
#![allow(unreachable_pub, reason = "a module shared by test binaries has no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod admin;
mod browser;
mod clock;
mod conversation;
mod crossfade;
mod dataset;
mod invariants;
mod log;
mod migration;
pub mod mischief;
mod newer;
mod process;
mod programs;
mod resp;
mod rng;
mod scene;
mod sentinel;
mod server;
mod snapshot;
mod stream;
mod tamer;
mod terminal;
mod twins;
mod workload;

pub use admin::{Admin, Answer};
pub use browser::{Browser, Driver};
pub use clock::Clock;
pub use conversation::CONVERSATION;
pub use crossfade::{Crossfade, Launch, Outcome, command, run_cli, run_cli_with};
pub use dataset::every_encoding;
pub use invariants::Invariants;
pub use migration::{Migration, source_with_keys};
pub use programs::all_servers;
pub use resp::{Resp, Value, Words, encode};
pub use rng::Rng;
pub use scene::Scene;
pub use sentinel::Deployment;
pub use server::Server;
pub use snapshot::{assert_equal, differences, now};
pub use tamer::{Tamer, Temper};
pub use terminal::Terminal;
pub use twins::{Twins, assert_same, difference};
pub use workload::{Dialect, Workload, fill, fill_speaking, random_write};

use std::time::{Duration, Instant};

/// The bound of a wait for something that takes milliseconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until the condition holds; panics with its name when it never does.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// Polls until there is an answer; panics with the name of the thing waited for when there never is.
pub fn wait_for<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(10));
    }
}
