//! Where clients are served, now and next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Authority, Cursors};
use crate::databases::Databases;
use crate::lane::{Hub, Pool};

/// One server as the primary.
#[derive(Debug)]
pub struct Route {
    /// The lanes to it.
    pub pool: Pool,
    /// The engine of this direction.
    pub hub: Arc<Hub>,
    /// From the clients' database numbers to this server's.
    pub databases: Databases,
    /// The server whose users and passwords decide who may connect.
    pub authority: Authority,
    /// The cursors that this server has given; `None` while no other has served before it.
    pub cursors: Option<Cursors>,
}

/// What a client must know of the migration.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Who serves.
    pub route: Arc<Route>,
    /// Whether new commands wait.
    pub held: bool,
    /// Who will serve soon: subscriptions are opened there before the flip.
    pub next: Option<Arc<Next>>,
}

/// A flip that is being prepared.
#[derive(Debug)]
pub struct Next {
    /// Who will serve.
    pub route: Arc<Route>,
    /// Subscribers whose channels are open there too.
    ready: AtomicUsize,
}

impl Next {
    /// Prepares a flip to `route`.
    pub fn new(route: Arc<Route>) -> Arc<Self> {
        Arc::new(Self { route, ready: AtomicUsize::new(0) })
    }

    /// One more subscriber is ready.
    pub(super) fn arrive(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
    }

    /// How many are.
    pub fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }
}
