//! Upstream connections: where a server is, how to reach it, how to talk to it.
//!
//! *Guarantees:* nothing is sent twice; an error says which server and why, and never a secret.
//!
//! *Must not know:* roles (primary, secondary), migrations, clients.

mod connection;
mod dial;
mod endpoint;
mod server;
mod wire;

pub use connection::Connection;
pub use dial::{ConnectError, Setup, dial};
pub use endpoint::{Address, Endpoint, EndpointError, Secret};
pub use server::{
    ClockGap, Lineage, ServerInfo, keyspace, parse_calls, parse_keyspace, some_key_ends, told,
};
pub use wire::{Broken, Wire};
