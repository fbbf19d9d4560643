//! Bytes on sockets: streams of any kind and how they are made, and the queue of what is to be
//! written.
//!
//! *Guarantees:* partial writes resume where they stopped; small pieces are gathered, large ones
//! are never copied.
//!
//! *Must not know:* RESP, servers, sessions.

mod outgoing;
mod rate_limited;
mod read_size;
mod stream;
mod tls;

pub(crate) use outgoing::Outgoing;
pub(crate) use rate_limited::RateLimited;
pub(crate) use read_size::ReadSize;
pub(crate) use stream::{Stream, raise_descriptors, tune};
pub use tls::{TlsError, TlsOptions, client_config};
pub(crate) use tls::{accept, authorities, certificates, server_config};
