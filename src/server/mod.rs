//! Upstream connections: where a server is, how to reach it, how to talk to it.
//!
//! *Guarantees:* nothing is sent twice; an error says which server and why, and never a secret.
//!
//! *Must not know:* roles (primary, secondary), migrations, clients.

mod connection;
mod dial;
mod endpoint;
mod identity;
mod info;
mod left_behind;
mod nat;
mod nodes;
mod scan;
#[cfg(test)]
pub(crate) mod scripted;
mod sentinel;
pub(crate) mod throttle;
mod wire;

pub use connection::Connection;
pub(crate) use connection::{Answer, words};
pub use dial::{ConnectError, Setup};
pub(crate) use dial::{RECONNECT_AFTER, end_connection, ended};
pub use endpoint::{Address, Endpoint, EndpointError, Secret};
pub(crate) use identity::{ClockGap, OneBroke, nonce, told};
pub use identity::{Lineage, Replica, ServerInfo};
pub(crate) use info::{Called, Client, Clients, Info, Library, Text};
pub(crate) use left_behind::end_left_behind;
pub use nat::Nat;
pub use nodes::{Nodes, Place};
pub(crate) use scan::{Scan, ScanError};
pub use sentinel::{Said, Sentinels, Watched};
pub use wire::Broken;
pub(crate) use wire::Wire;
