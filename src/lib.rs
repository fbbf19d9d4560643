//! crossfade, the live migrator for Redis and Valkey.

pub mod backend;
pub mod capability;
pub mod command;
pub mod effect;
pub mod engine;
pub mod lane;
pub mod ledger;
pub mod net;
pub mod proxy;
pub mod resp;
