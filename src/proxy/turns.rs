//! Whose turn it is to begin waiting.
//!
//! A blocking command is tried on the lane and then waits on a session. What another client's try
//! takes in between was the first one's to get: a server serves who came first. So while nothing is
//! found at a key those who would wait there begin one after the other, each once the server has the
//! wait of the one before. As long as something is found they go as they come.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A key in its database.
type Place = (u32, Bytes);

/// Who is about to wait, and where.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    places: Mutex<HashMap<Place, State>>,
    moved: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// How many clients are here, waiting or about to.
    clients: usize,
    /// Somebody is about to wait.
    taken: bool,
    /// The last try found something.
    yields: bool,
}

/// One client's interest in some keys.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    places: Vec<Place>,
    has_it: bool,
}

impl Turn {
    /// Comes to the keys, in a database by the clients' number.
    pub(super) fn new(turns: Arc<Turns>, db: u32, keys: impl Iterator<Item = Bytes>) -> Self {
        let mut places: Vec<Place> = keys.map(|key| (db, key)).collect();
        places.sort();
        places.dedup();
        let mut here = turns.places.lock();
        for place in &places {
            here.entry(place.clone()).or_default().clients += 1;
        }
        drop(here);
        Self { turns, places, has_it: false }
    }

    /// Waits until nobody else is about to wait at any of the keys.
    pub(super) async fn take(&mut self) {
        let turns = self.turns.clone();
        loop {
            let moved = turns.moved.notified();
            if self.try_take() {
                return;
            }
            moved.await;
        }
    }

    fn try_take(&mut self) -> bool {
        let mut here = self.turns.places.lock();
        let busy =
            |place| here.get(place).is_some_and(|state: &State| state.taken && !state.yields);
        if self.has_it || self.places.iter().any(busy) {
            return self.has_it;
        }
        for place in &self.places {
            if let Some(state) = here.get_mut(place) {
                state.taken = true;
            }
        }
        self.has_it = true;
        true
    }

    /// The try is over, or the wait has begun: the next one may.
    pub(super) fn pass_on(&mut self, found: bool) {
        if !std::mem::take(&mut self.has_it) {
            return;
        }
        let mut here = self.turns.places.lock();
        for place in &self.places {
            if let Some(state) = here.get_mut(place) {
                (state.taken, state.yields) = (false, found);
            }
        }
        drop(here);
        self.turns.moved.notify_waiters();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pass_on(false);
        let mut here = self.turns.places.lock();
        for place in &self.places {
            let left = here.get_mut(place).map_or(1, |state| {
                state.clients -= 1;
                state.clients
            });
            if left == 0 {
                here.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(turns: &Arc<Turns>, keys: &str) -> Turn {
        let keys = keys.bytes().map(|key| Bytes::copy_from_slice(&[key]));
        Turn::new(turns.clone(), 0, keys)
    }

    #[test]
    fn who_would_wait_too_begins_when_the_first_waits() {
        let turns = Arc::new(Turns::default());
        let [mut first, mut second, mut elsewhere] =
            ["ab", "bc", "d"].map(|keys| turn(&turns, keys));
        assert!(first.try_take() && elsewhere.try_take());
        assert!(!second.try_take());
        first.pass_on(false);
        assert!(second.try_take());
        drop(second);
        assert!(turn(&turns, "b").try_take());
        drop((first, elsewhere));
        assert!(turns.places.lock().is_empty());
    }

    #[test]
    fn where_something_is_found_nobody_waits_for_a_turn() {
        let turns = Arc::new(Turns::default());
        let [mut first, mut second, mut third] = ["k", "k", "k"].map(|keys| turn(&turns, keys));
        assert!(first.try_take());
        first.pass_on(true);
        assert!(second.try_take() && third.try_take());
        second.pass_on(false);
        assert!(first.try_take());
        assert!(!second.try_take(), "it has run dry");
    }
}
