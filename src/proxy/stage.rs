//! Where clients are served, now and next.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Authority, Cursors};
use crate::lane::{Pool, SharedEngine};
use crate::protocol::databases::Databases;

/// One server as the primary.
#[derive(Debug)]
pub(crate) struct Route {
    /// The lanes to it.
    pub pool: Pool,
    /// The engine of this direction.
    pub engine: Arc<SharedEngine>,
    /// From the clients' database numbers to this server's.
    pub databases: Databases,
    /// The server whose users and passwords decide who may connect.
    pub authority: Authority,
    /// The cursors that this server has given; `None` while no other has served before it.
    pub cursors: Option<Cursors>,
}

/// What a client must know of the migration.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Who serves.
    pub route: Arc<Route>,
    /// Whether new commands wait.
    pub held: bool,
    /// Who will serve soon: subscriptions are opened there before the flip.
    pub next: Option<Arc<Next>>,
}

/// A flip that is being prepared.
#[derive(Debug)]
pub(crate) struct Next {
    /// Who will serve.
    pub route: Arc<Route>,
    seats: Mutex<Seats>,
}

/// Who is ready to go there.
#[derive(Debug, Default)]
struct Seats {
    /// Subscribers whose channels are open there too.
    ready: usize,
    /// Those of them who hear of keys.
    listeners: usize,
    /// How often a hold was drained; each time the listeners part what was told from what comes.
    cut: u64,
    /// Those who have, since the last time.
    parted: usize,
}

impl Next {
    /// Prepares a flip to `route`.
    pub(crate) fn new(route: Arc<Route>) -> Arc<Self> {
        Arc::new(Self { route, seats: Mutex::default() })
    }

    /// How many subscribers have their channels open there.
    pub(crate) fn ready(&self) -> usize {
        self.seats.lock().ready
    }

    /// Clients are held and everything is mirrored: who hears of keys must know. False when nobody
    /// does.
    pub(crate) fn begin_cut(&self) -> bool {
        let mut seats = self.seats.lock();
        seats.cut += 1;
        seats.parted = 0;
        seats.listeners > 0
    }

    /// Whether everybody who hears of keys has taken note.
    pub(crate) fn is_cut(&self) -> bool {
        let seats = self.seats.lock();
        seats.parted >= seats.listeners
    }

    pub(super) fn cut(&self) -> u64 {
        self.seats.lock().cut
    }
}

/// One subscriber's among those who are ready.
#[derive(Debug)]
pub(super) struct Place {
    next: Arc<Next>,
    listens: bool,
}

impl Place {
    pub(super) fn take(next: Arc<Next>, listens: bool) -> Self {
        let mut seats = next.seats.lock();
        seats.ready += 1;
        seats.listeners += usize::from(listens);
        drop(seats);
        Self { next, listens }
    }

    pub(super) fn next(&self) -> &Arc<Next> {
        &self.next
    }

    pub(super) fn listens(&self) -> bool {
        self.listens
    }

    /// The cut of that number has been made.
    pub(super) fn reach(&self, cut: u64) {
        let mut seats = self.next.seats.lock();
        seats.parted += usize::from(cut == seats.cut);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut seats = self.next.seats.lock();
        seats.ready -= 1;
        seats.listeners -= usize::from(self.listens);
    }
}
