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

pub use outgoing::Outgoing;
pub use rate_limited::RateLimited;
pub use read_size::ReadSize;
pub use stream::{Stream, raise_descriptors, tune};
pub use tls::{
    TlsError, TlsOptions, accept, authorities, certificates, client_config, server_config,
};
