//! What Redis and Valkey say and understand: their wire format, their commands, the payloads of their
//! values, and what each version of them can do.
//!
//! *Must not know:* sockets, clocks, migrations.

pub mod capability;
pub mod command;
pub mod databases;
pub mod payload;
pub(crate) mod reserved_keys;
pub mod resp;
