//! Lanes: pipelined upstream connections, shared by many clients or lent to one.
//!
//! *What it is:* a lane sends steps down one connection in the order in which they were given, asks
//! the engine before each write, hands the primary's answers to the engine and to the clients.
//!
//! *Guarantees:* no write is ever sent twice, whatever fails; when a connection is lost with writes
//! in flight their keys are dirty and their clients disconnected, as the server itself would do;
//! reads are asked again; what could not be sent waits, up to a limit, for the server to come back.
//! No more lanes are open than are used, or were a moment ago, and no more than a number; none is
//! closed with a job in flight. What nobody would read is not asked.
//!
//! *Must not know:* what clients want, roles, phases.

mod acks;
mod context;
mod driver;
mod job;
mod lanes;
mod pool;
mod queue;
mod reach;
pub(crate) mod record;
mod reply_queue;
mod server_identity;
mod shadow;
mod shared;
mod shared_engine;
mod unread;
mod upstream;
mod window;

pub(crate) use acks::Acks;
pub(crate) use context::{Context, Identity, Refusal, StandIn};
pub(crate) use job::{Job, Lost, Shape, Sink};
pub(crate) use lanes::{Lanes, Purpose};
pub(crate) use pool::Pool;
pub(crate) use reach::Reach;
pub(crate) use reply_queue::ReplyQueue;
pub(crate) use server_identity::ServerIdentity;
pub(crate) use shadow::{Sample, SampleRate};
pub(crate) use shared::Lane;
pub(crate) use shared_engine::{KeyGuard, SharedEngine};
pub(crate) use unread::{STEP, Unread};
pub(crate) use upstream::{Busy, ControlConnection, Upstream};
pub(crate) use window::{MOST, Window};
