//! Bytes on sockets: streams of any kind, and the queue of what is to be written.
//!
//! *Guarantees:* partial writes resume where they stopped; small pieces are gathered, large ones
//! are never copied.
//!
//! *Must not know:* RESP, servers, sessions.

mod outgoing;
mod stream;

pub use outgoing::Outgoing;
pub use stream::Stream;
