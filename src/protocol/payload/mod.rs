//! `DUMP` payloads: what they say of themselves, and which way one can take to another server.
//!
//! A payload is the value's type byte, the value, and a footer: a 2-byte version and a CRC-64. A
//! server that knows the type byte reads the value whatever version the footer names, so a payload
//! of a newer server can often travel under a footer written anew (measured for every ordered pair
//! of Redis 5.0 to 8.0 and Valkey 8.0 to 9.1).
//!
//! *Guarantees:* a payload is never sent to a server that would read its type byte as another
//! layout; a value that can't travel as a payload is said to need commands, not guessed at.
//!
//! *Must not know:* sockets, keys, how the acceptance of a server was asked for.

mod acceptance;
mod footer;
mod samples;

pub use acceptance::{Acceptance, Way};
pub use footer::{Payload, TooShort};
pub use samples::{Sample, samples};
