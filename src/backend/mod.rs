//! Upstream connections: where a server is, how to reach it, how to talk to it.
//!
//! *Guarantees:* nothing is sent twice; an error says which server and why, and never a secret.
//!
//! *Must not know:* roles (primary, secondary), migrations, clients.

mod again;
mod connection;
mod dial;
mod endpoint;
mod info;
mod questions;
mod scan;
mod server;
mod wire;

pub use again::{RECONNECT_AFTER, end_connection, ended};
pub use connection::Connection;
pub use dial::{ConnectError, Setup, dial};
pub use endpoint::{Address, Endpoint, EndpointError, Secret};
pub use info::{Called, Client, Clients, Info, Library, Text};
pub use questions::{Answer, words};
pub use scan::{Scan, ScanError};
pub use server::{ClockGap, Lineage, ServerInfo, told};
pub use wire::{Broken, Wire};
