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
mod scan;
pub(crate) mod throttle;
mod wire;

pub use connection::{Answer, Connection, words};
pub use dial::{ConnectError, RECONNECT_AFTER, Setup, dial, end_connection, ended};
pub use endpoint::{Address, Endpoint, EndpointError, Secret};
pub use identity::{ClockGap, Lineage, ServerInfo, nonce, told};
pub use info::{Called, Client, Clients, Info, Library, Text};
pub use scan::{Scan, ScanError};
pub use wire::{Broken, Wire};
