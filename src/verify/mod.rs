//! Verify: a full comparison of both servers under live traffic, with repair.
//!
//! *What it is:* every key of the primary is compared with the secondary's, then every key that
//! only the secondary holds is looked for. What seems different is looked at again when its effects
//! have arrived and nobody writes to it; only what differs then is a difference. It is copied again,
//! which also removes what should not be there, and compared once more.
//!
//! *Guarantees:* a difference that is reported is one; a pass without one means that every key was
//! equal at some moment of the pass, but for those that were dirty all the while: the engine knows
//! that they differ, and has them copied. Memory does not grow with the number of keys.
//!
//! *Must not know:* phases, clients.

mod found;
mod settle;
mod shadow;
mod walk;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::lane::SharedEngine;
use crate::protocol::capability::Capabilities;
use crate::protocol::databases::Databases;
use crate::server::Endpoint;
use crate::server::throttle::Throttle;
use crate::value::diff::Leeway;

pub(crate) use found::{Alike, Found, Sample};
pub(crate) use shadow::{ReadTally, Shadowing, Unlike};

/// What is compared.
#[derive(Debug)]
pub(crate) struct Verify {
    /// The engine between the two.
    pub engine: Arc<SharedEngine>,
    /// Who serves.
    pub primary: (Endpoint, Capabilities),
    /// Who follows.
    pub secondary: (Endpoint, Capabilities),
    /// Which databases.
    pub databases: Databases,
    /// How far expiries may lie apart.
    pub leeway: Leeway,
    /// Whether keys that only the secondary holds stay (they were there before).
    pub keeps_extras: bool,
    /// When to give way to clients.
    pub throttle: Arc<Throttle>,
    /// What has been found so far.
    pub tally: Arc<Tally>,
}

/// Counts of a pass under way.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "named as in the status")]
pub(crate) struct Tally {
    pub checked: AtomicU64,
    pub missing: AtomicU64,
    pub extra: AtomicU64,
    pub different: AtomicU64,
    pub repaired: AtomicU64,
    pub found: Mutex<Found>,
}

impl Tally {
    fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Ordering::Relaxed);
    }
}

/// A key that was really different.
#[derive(Clone, Debug)]
struct Wrong {
    /// The primary's database.
    db: u32,
    key: Bytes,
}
