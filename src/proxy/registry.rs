//! Who is connected.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::session::{Library, Wait};
use crate::lane::ReplyQueue;
use crate::metrics::{Tally, Totals};

/// One client as others see it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) address: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) since: Instant,
    pub(super) replies: Arc<ReplyQueue>,
    pub(super) tally: Tally,
    pub(super) seen: Mutex<Seen>,
}

/// What changes about a client.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) user: String,
    pub(super) db: u32,
    pub(super) resp: u8,
    pub(super) library: Library,
    pub(super) last_command: &'static str,
    pub(super) last_active: Instant,
    /// Open channels, patterns and shard channels.
    pub(super) subscriptions: [usize; 3],
    /// Commands queued since `MULTI`.
    pub(super) queued: Option<usize>,
    /// Keys watched.
    pub(super) watched: usize,
    pub(super) tracking: Tracking,
    pub(super) no_evict: bool,
    pub(super) no_touch: bool,
    pub(super) monitors: bool,
    /// Set while it waits in a blocking command: how to end the wait.
    pub(super) blocked: Option<Arc<Notify>>,
    /// What its command waits for, where the server would call it blocked.
    pub(super) wait: Option<Wait>,
    /// Set by `CLIENT UNBLOCK`: whether the wait is to end with an error.
    pub(super) unblocked: Option<bool>,
}

/// What of `CLIENT TRACKING` others see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tracking {
    pub(super) on: bool,
    pub(super) broadcasts: bool,
    /// The client that is told instead.
    pub(super) redirect: Option<u64>,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self {
            name: String::new(),
            user: "default".to_owned(),
            db: 0,
            resp: 2,
            library: Library::default(),
            last_command: "NULL",
            last_active: now,
            subscriptions: [0; 3],
            queued: None,
            watched: 0,
            tracking: Tracking::default(),
            no_evict: false,
            no_touch: false,
            monitors: false,
            blocked: None,
            wait: None,
            unblocked: None,
        }
    }

    /// Whether it has any channel open.
    pub(super) fn subscribes(&self) -> bool {
        self.subscriptions.iter().any(|count| *count > 0)
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    clients: Mutex<Clients>,
    came: Notify,
    next_id: AtomicU64,
    subscribers: AtomicUsize,
    monitors: Mutex<Vec<Arc<Entry>>>,
    is_monitored: AtomicBool,
}

#[derive(Debug, Default)]
struct Clients {
    here: BTreeMap<u64, Arc<Entry>>,
    /// What those that have left had counted.
    left: Totals,
}

impl Registry {
    pub(super) fn enter(
        &self,
        address: Option<SocketAddr>,
        local: Option<SocketAddr>,
        replies: Arc<ReplyQueue>,
    ) -> Arc<Entry> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        let seen = Mutex::new(Seen::new(now));
        let entry = Arc::new(Entry {
            id,
            address,
            local,
            since: now,
            replies,
            tally: Tally::default(),
            seen,
        });
        self.clients.lock().here.insert(id, entry.clone());
        self.came.notify_one();
        entry
    }

    /// Waits until a client comes. For one caller.
    pub(crate) async fn somebody_came(&self) {
        self.came.notified().await;
    }

    pub(super) fn leave(&self, id: u64) {
        let mut clients = self.clients.lock();
        let Some(entry) = clients.here.remove(&id) else { return };
        clients.left.add(&entry.tally);
        drop(clients);
        if entry.seen.lock().monitors {
            self.stop_monitor(id);
        }
    }

    /// This client is shown every command from now on.
    pub(super) fn monitor(&self, entry: &Arc<Entry>) {
        let mut monitors = self.monitors.lock();
        if monitors.iter().all(|monitor| monitor.id != entry.id) {
            monitors.push(entry.clone());
            self.is_monitored.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn stop_monitor(&self, id: u64) {
        let mut monitors = self.monitors.lock();
        monitors.retain(|monitor| monitor.id != id);
        self.is_monitored.store(!monitors.is_empty(), Ordering::Relaxed);
    }

    /// Whether there is a client to show commands to: what every command asks.
    pub(super) fn is_monitored(&self) -> bool {
        self.is_monitored.load(Ordering::Relaxed)
    }

    pub(super) fn monitors(&self) -> Vec<Arc<Entry>> {
        self.monitors.lock().clone()
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Entry>> {
        self.clients.lock().here.get(&id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.clients.lock().here.values().cloned().collect()
    }

    /// Lets go of whoever has left most unread.
    pub(super) fn evict(&self) {
        if let Some(worst) = self.all().iter().max_by_key(|entry| entry.replies.unread()) {
            worst.replies.evict();
        }
    }

    /// How many clients are connected.
    pub(crate) fn connected(&self) -> usize {
        self.clients.lock().here.len()
    }

    /// The databases that clients are in.
    pub(crate) fn databases(&self) -> BTreeSet<u32> {
        self.clients.lock().here.values().map(|entry| entry.seen.lock().db).collect()
    }

    /// What all clients have counted since the start.
    pub(crate) fn totals(&self) -> Totals {
        let clients = self.clients.lock();
        let mut totals = clients.left.clone();
        clients.here.values().for_each(|entry| totals.add(&entry.tally));
        totals
    }

    /// How many commands all clients have sent since the start.
    pub(crate) fn commands(&self) -> u64 {
        let clients = self.clients.lock();
        let here = clients.here.values().map(|entry| entry.tally.commands());
        clients.left.all_commands() + here.sum::<u64>()
    }

    /// Has every client look at the [`super::Stage`].
    pub(super) fn wake_all(&self) {
        self.clients.lock().here.values().for_each(|entry| entry.replies.wake());
    }

    /// How many clients have subscriptions.
    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    pub(super) fn subscribed(&self) {
        self.subscribers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unsubscribed(&self) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}
