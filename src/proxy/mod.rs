//! The proxy: clients in front, lanes behind.
//!
//! *What it is:* a task for each client reads its requests, decides which lane or session serves
//! each, and writes the replies in the order of the requests. What a client is in is the [`session`]'s,
//! which also says what a request needs before it is carried out; [`client`] waits for that in one place.
//!
//! *Guarantees:* a client sees its own commands executed in its own order: it moves from one lane to
//! another only when everything it sent down the first has been answered; bytes are forwarded as
//! they came, both ways; what one client does costs the others nothing but its share.
//!
//! *Must not know:* the secondary, copies, phases; only where to send (the [`Stage`]).

mod authority;
mod blocking;
mod client;
mod client_command;
mod connection;
mod dispatch;
mod flush;
mod info;
mod listener;
mod listing;
mod login;
mod monitor;
mod pause;
mod registry;
mod rehearse;
mod sentinel;
mod session;
mod stage;
mod standby;
mod subscriber;
mod tracking;
mod transaction;
mod turns;
mod unknown;

pub(crate) use authority::{Authority, DefaultUser, password_digest};
pub(crate) use client::Partings;
pub(crate) use listener::{Limits, Listener};
pub(crate) use login::Logins;
pub(crate) use pause::Pause;
pub(crate) use registry::Registry;
pub(crate) use sentinel::Signpost;
pub(crate) use session::Budget;
pub(crate) use stage::{Cursors, Next, Route, Stage};
pub(crate) use turns::Turns;
pub(crate) use unknown::Unknown;

use std::sync::Arc;

use tokio::sync::watch;

use crate::check::rehearsal::Rehearsal;
use crate::lane::Unread;
use crate::metrics::Metrics;
use crate::net::RateLimited;

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where to send, as it changes.
    pub stage: watch::Receiver<Stage>,
    /// Who is connected.
    pub registry: Registry,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// What clients have not read.
    pub unread: Arc<Unread>,
    /// Bounds on one client.
    pub limits: Limits,
    /// Whether commands of administration pass.
    pub allow_admin: bool,
    /// Whether clients are paused.
    pub pause: Pause,
    /// Room for clients that have closed their end.
    pub partings: Partings,
    /// Who has logged in.
    pub logins: Logins,
    /// Room for what transactions have queued, of all clients together.
    pub queues: Arc<Budget>,
    /// Who is about to wait in a blocking command.
    pub turns: Arc<Turns>,
    /// Commands that only the server knows.
    pub unknown: Unknown,
    /// What clients do that the target would refuse.
    pub(crate) rehearsal: Arc<Rehearsal>,
    /// When to tell of clients that misbehave.
    pub complaints: RateLimited,
}

impl Shared {
    /// Tells that a client is disconnected for what it did, unless there are many of them.
    fn complain(&self, client: u64, reason: &'static str) {
        if let Some(untold) = self.complaints.ask() {
            tracing::warn!(client, untold, reason, "client disconnected");
        }
    }
}
