//! crossfade, the live migrator for Redis and Valkey.

pub mod backend;
pub mod capability;
pub mod check;
pub mod command;
pub mod compare;
pub mod diff;
pub mod effect;
pub mod net;
pub mod payload;
pub mod resp;
pub mod value;
