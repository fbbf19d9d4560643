//! The mirror: carries the effect log to the secondary and compares the answers.
//!
//! *Guarantees:* effects are sent once, in the order of the log; what is in flight when the
//! connection breaks is in doubt, and its keys are dirty; a secondary that is away, slow or full
//! never holds anybody up: it only leaves the log where it is.
//!
//! *Must not know:* clients, where effects come from.

mod apply;
mod judge;
#[cfg(test)]
mod tests;
mod tracker;

pub(crate) use apply::{Before, Mirror, Peer};
pub(crate) use tracker::Tracker;
