//! The Redis serialization protocol, RESP2 and RESP3, as bytes.
//!
//! *What it is:* finding the boundaries of requests and replies in a stream, looking inside them
//! where a rule needs it, and writing requests and replies of our own.
//!
//! *Guarantees:* any split of the bytes gives the same frames; scanning resumes where it stopped;
//! nothing recurses without a limit; a frame is never copied to be forwarded.
//!
//! *Must not know:* sockets, clocks, what a command means.

mod answer;
mod decode;
mod encode;
mod inline;
mod reply;
mod request;
mod row;
mod scan;

pub(crate) use answer::{error, integer, null, null_array, push, simple, text, verbatim};
pub use decode::{Decoder, ProtocolError};
pub(crate) use encode::{
    about, array_header, bulk, bulk_integer, bulk_len, command, parse_integer, write_integer,
};
pub use reply::{Reply, ReplyError};
pub use request::{Builder, Request};
pub(crate) use row::{Flat, Row};
pub use scan::{Frame, Scanner};

/// The protocol version that a connection speaks; `HELLO` changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// Since Redis 6.0.
    Resp3,
}

/// Where the first line of a server's bytes ends; a carriage return alone is part of it.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let end = from + bytes.get(from..)?.iter().position(|byte| *byte == b'\r')?;
        match bytes.get(end + 1)? {
            b'\n' => return Some(end),
            _ => from = end + 1,
        }
    }
}
