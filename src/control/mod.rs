//! The migration as a whole: it owns the phase, and runs what the phase needs.
//!
//! *What it is:* a `Migration` takes events, and carries out what the pure [`phase`] makes of them. What
//! tells it of events stands on it: the supervisor of passes, the flip, the looks at both servers, a
//! verify. The chronicle tells of it; `Operations` is what the admin API holds.
//!
//! *Guarantees:* the phase is durable before it takes effect; a flip that can't be finished in time
//! leaves everything as it was; no file here imports one that imports it.
//!
//! *Must not know:* HTTP, commands, sockets.

mod calm;
mod changes;
mod chronicle;
mod flip;
mod foreign;
mod halting;
mod health;
mod history;
mod hooks;
mod intent_file;
mod migration;
mod nodes;
mod operations;
mod phase;
mod picture;
mod prepare;
mod rehearsing;
mod remembered;
mod reporting;
mod shadowing;
mod start;
mod state;
mod supervise;
mod users;
mod verifying;

pub(crate) use start::start;
pub use state::{State, StateDir, StateError};
