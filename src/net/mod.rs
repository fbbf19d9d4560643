//! Bytes on sockets: streams of any kind and how they are made, and the queue of what is to be
//! written.
//!
//! *Guarantees:* partial writes resume where they stopped; small pieces are gathered, large ones
//! are never copied.
//!
//! *Must not know:* RESP, servers, sessions.

mod outgoing;
mod room;
mod seldom;
mod stream;
mod tls;

pub use outgoing::Outgoing;
pub use room::Room;
pub use seldom::Seldom;
pub use stream::{Stream, raise_descriptors, tune};
pub use tls::{
    TlsError, TlsOptions, accept, authorities, certificates, client_config, server_config,
};
