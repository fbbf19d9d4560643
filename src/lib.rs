//! crossfade, the live migrator for Redis and Valkey.

pub mod capability;
pub mod command;
pub mod effect;
pub mod resp;
