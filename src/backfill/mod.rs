//! The backfill: copies what was there before, and copies again what is dirty.
//!
//! *What it is:* a pass scans a server's keys and copies those that are not migrated; the recopier
//! works off the dirty keys; both use copiers, each with a connection of its own, in pipelined
//! batches.
//!
//! *Guarantees:* every key that is there from the start of a pass to its end is copied or dirty at
//! its end; a scan that the server has lost (a restart) starts over, and the marks keep it cheap;
//! eviction clocks are left alone on the primary and carried over.
//!
//! *Must not know:* clients, phases.

mod copier;
mod keyspace;
mod opaque;
mod pace;
mod pass;
mod progress;
mod read;
mod recopy;
#[cfg(test)]
mod tests;
mod whole;

pub(crate) use copier::{Copier, Route};
pub(crate) use opaque::Trials;
pub(crate) use pass::Pass;
pub(crate) use progress::Progress;
pub(crate) use recopy::{recopy, retry};
