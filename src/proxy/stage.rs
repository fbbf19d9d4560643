//! Where clients are served, now and next.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Authority;
use crate::lane::{Pool, SharedEngine};
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Reply, Request};

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

/// How many cursors are remembered; older ones start over.
const CURSORS_MAX: usize = 100_000;

/// The cursors of `SCAN` and its kin that a primary has given since it serves. A cursor means something
/// only to the server that gave it: one of another server starts over at 0. What was seen comes again,
/// which the contract of `SCAN` allows; nothing is missed, which it forbids.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    inner: Mutex<(HashSet<Bytes>, VecDeque<Bytes>)>,
}

impl Cursors {
    fn knows(&self, cursor: &[u8]) -> bool {
        cursor == b"0" || self.inner.lock().0.contains(cursor)
    }

    fn note(&self, cursor: &[u8]) {
        let mut inner = self.inner.lock();
        let cursor = Bytes::copy_from_slice(cursor);
        if inner.0.insert(cursor.clone()) {
            inner.1.push_back(cursor);
        }
        if inner.1.len() > CURSORS_MAX
            && let Some(oldest) = inner.1.pop_front()
        {
            inner.0.remove(&oldest);
        }
    }
}

impl Route {
    /// The request as it is, or from the start, where this server has not given its cursor.
    pub(super) fn scan_from_known(&self, request: &Request, place: usize) -> Request {
        match (&self.cursors, request.arg(place)) {
            (Some(cursors), Some(cursor)) if !cursors.knows(cursor) => started_over(request, place),
            _ => request.clone(),
        }
    }

    /// The server has answered with a cursor.
    pub(super) fn note_cursor(&self, reply: &Bytes) {
        let reply = Reply::parse(reply).unwrap_or(Reply::Null);
        let next = reply.items().and_then(|items| items.first()?.text());
        if let (Some(next), Some(cursors)) = (next, &self.cursors) {
            cursors.note(next);
        }
    }
}

fn started_over(request: &Request, place: usize) -> Request {
    let args = request.args().enumerate();
    Request::new(args.map(|(index, arg)| if index == place { b"0".as_ref() } else { arg }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_server_starts_over() {
        let cursors = Cursors::default();
        cursors.note(b"17");
        assert!(cursors.knows(b"17") && cursors.knows(b"0") && !cursors.knows(b"18"));
        let request = started_over(&Request::new(["HSCAN", "h", "18", "COUNT", "5"]), 2);
        assert_eq!(request, Request::new(["HSCAN", "h", "0", "COUNT", "5"]));
    }
}
