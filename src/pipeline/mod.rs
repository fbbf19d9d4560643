//! What stands between two servers: everything that carries one's data to the other.
//!
//! *What it is:* a [`Direction`] is an engine with the lanes in front of it, the mirror and the copiers
//! behind it; the [`Environment`] is what all directions of a migration share. A [`Survey`] says what
//! must be known of both servers before one can be built.
//!
//! *Guarantees:* what was started for a direction ends with it.
//!
//! *Must not know:* phases, operators.

mod clocks;
mod direction;
mod environment;
mod libraries;
mod marker;
mod survey;
mod target;

pub(crate) use direction::Direction;
pub(crate) use environment::{Environment, ServerFacts, UNREACHABLE_AFTER};
pub(crate) use libraries::copy as copy_libraries;
pub(crate) use marker::{align_marker, check_marker, connect_to_zero, mark};
pub(crate) use survey::{Survey, acceptance, connect, lost, lost_one, open};
pub(crate) use target::check_target;
