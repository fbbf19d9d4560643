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
mod busy;
mod driver;
mod gathering;
mod held;
mod job;
mod mailbox;
mod pool;
mod process;
mod queue;
mod reach;
pub(crate) mod record;
mod shared;
mod shared_engine;
mod side;
mod unread;
mod window;

pub(crate) use acks::Acks;
pub(crate) use busy::Busy;
pub(crate) use held::Held;
pub(crate) use job::{Job, Lost, Shape, Sink};
pub(crate) use mailbox::Mailbox;
pub(crate) use pool::{Context, Identity, Lanes, Pool, Purpose, Refusal, StandIn};
pub(crate) use process::Process;
pub(crate) use reach::Reach;
pub(crate) use shared::{Lane, Upstream};
pub(crate) use shared_engine::SharedEngine;
pub(crate) use side::SideLine;
pub(crate) use unread::{STEP, Unread};
pub(crate) use window::{MOST, Window};
