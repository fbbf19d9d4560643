//! The command table and the effects, held against real servers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod convergence;
mod keys;
#[path = "../support/programs.rs"]
mod programs;
mod server;
mod state;
mod table;
mod writes;
