//! Upstream connections: where a server is, how to reach it, how to talk to it.
//!
//! *Guarantees:* nothing is sent twice; an error says which server and why, and never a secret.
//!
//! *Must not know:* roles (primary, secondary), migrations, clients.

mod again;
mod connection;
mod dial;
mod endpoint;
mod identity;
mod info;
mod questions;
mod scan;
pub(crate) mod throttle;
mod wire;

pub use again::{RECONNECT_AFTER, end_connection, ended};
pub use connection::Connection;
pub use dial::{ConnectError, Setup, dial};
pub use endpoint::{Address, Endpoint, EndpointError, Secret};
pub use identity::{ClockGap, Lineage, ServerInfo, told};
pub use info::{Called, Client, Clients, Info, Library, Text};
pub use questions::{Answer, words};
pub use scan::{Scan, ScanError};
pub use wire::{Broken, Wire};
