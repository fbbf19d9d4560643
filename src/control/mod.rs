//! The migration as a whole: it owns the phase, and runs what the phase needs.
//!
//! *What it is:* [`Migration`] starts a `Direction` (an engine with its mirror, its copiers and
//! the lanes in front), runs its passes, verifies, and flips to the opposite direction and back.
//!
//! *Guarantees:* the phase is durable before it takes effect; a flip that can't be finished in time
//! leaves everything as it was.
//!
//! *Must not know:* HTTP, commands, sockets.

mod advice;
mod calm;
mod changes;
mod chronicle;
mod clocks;
mod course;
mod default_user;
mod direction;
mod flip;
mod foreign;
mod halting;
mod hooks;
mod left_out;
mod libraries;
mod marker;
mod memory;
mod migration;
mod observing;
mod operate;
mod passes;
mod phase;
mod predecessor;
mod preflight;
mod recording;
mod reporting;
mod start;
mod state;
mod survey;
mod verifying;
mod watch;

pub(crate) use direction::{Direction, Known, World};
pub(crate) use libraries::copy as copy_libraries;
pub(crate) use preflight::{check_marker, check_target, open};
pub(crate) use start::start;
pub use state::{State, StateDir, StateError};
pub(crate) use survey::{Survey, acceptance};
