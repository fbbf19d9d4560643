//! crossfade, the live migrator for Redis and Valkey.

pub mod admin;
pub mod backend;
pub mod backfill;
pub mod capability;
pub mod cli;
pub mod command;
pub mod config;
pub mod diff;
pub mod effect;
pub mod engine;
pub mod failure;
pub mod lane;
pub mod ledger;
pub mod metrics;
pub mod mirror;
pub mod net;
pub mod payload;
pub mod proxy;
pub mod resp;
pub mod status;
pub mod telemetry;
pub mod value;
