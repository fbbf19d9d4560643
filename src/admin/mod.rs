//! The admin API.

mod control;

pub use control::{Control, Flipped, Refusal};
