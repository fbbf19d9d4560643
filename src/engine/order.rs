//! One order: which connection may write to which keys now.
//!
//! *Rule:* two writes to one key are never in flight to the primary on two upstream connections at
//! once, so the order of replies is the order of execution. On one connection any number may be in
//! flight: a server runs one connection's commands in order.
//!
//! *Guarantees:* a step that waits holds nothing that another waits for, so none waits for ever;
//! waiters of a key are served in the order of their coming, so nobody starves.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;

use crate::engine::ledger::Fingerprint;

/// One upstream connection, for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnId(pub u32);

/// Where a step waits: in front of a connection, and which of the steps that wait there it is. The
/// order of numbers says nothing; that of the lines counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) conn: ConnId,
    pub(super) number: u64,
}

impl Place {
    /// That of the only step that waits there.
    pub(super) fn only(conn: ConnId) -> Self {
        Self { conn, number: 0 }
    }
}

/// What one step down a connection claims.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    /// The keys, each as often as it occurs.
    pub keys: &'a [Fingerprint],
    /// Everything there is (`FLUSHALL`): no other write may be in flight, not even on the same
    /// connection, because what follows a `SWAPDB` has other names.
    pub everything: bool,
}

/// Connections that may try again.
pub(crate) type Woken = SmallVec<[ConnId; 2]>;

#[derive(Debug, Default)]
struct Held {
    /// Whose writes are in flight, when `in_flight` is not 0.
    by: Option<ConnId>,
    in_flight: u32,
    /// How many of those in flight, the first of them, were sent before something was learnt of the
    /// key that did not come in order.
    overtaken: u32,
    /// Connections that wait, first come first served.
    waiting: VecDeque<Place>,
}

impl Held {
    fn admits(&self, place: Place) -> bool {
        let free = self.in_flight == 0 || self.by == Some(place.conn);
        free && self.waiting.front().is_none_or(|first| *first == place)
    }
}

/// The writes in flight, and the connections that wait for them.
#[derive(Debug, Default)]
pub(super) struct Order {
    keys: HashMap<Fingerprint, Held, crate::engine::ledger::Passthrough>,
    /// Writes in flight on each connection.
    in_flight: HashMap<ConnId, u32>,
    total: u32,
    /// The keys that a waiting step has queued for.
    waiting: HashMap<Place, SmallVec<[Fingerprint; 2]>>,
    /// Connections that wait for everything, first come first served.
    everything: VecDeque<ConnId>,
    /// Whose step that claims everything is in flight.
    alone: Option<ConnId>,
    /// Whether it was sent before something was learnt that may have happened after it.
    alone_overtaken: bool,
}

impl Order {
    /// Asks to send a step down a connection. False: not now; the connection is among the [`Woken`]
    /// of a later [`Self::finish`] or [`Self::forget`] and asks again from the same place with the
    /// same claim.
    pub(super) fn begin(&mut self, place: Place, claim: Claim<'_>) -> bool {
        let admitted = if claim.everything {
            self.admits_everything(place.conn)
        } else {
            self.admits_keys(place, claim.keys)
        };
        if admitted {
            self.enter(place, claim);
        }
        admitted
    }

    /// Takes a place in the line of every key at once, also of those that are free now.
    pub(super) fn line_up(&mut self, place: Place, keys: &[Fingerprint]) {
        if self.waiting.contains_key(&place) {
            return;
        }
        for key in keys {
            let line = &mut self.keys.entry(*key).or_default().waiting;
            if !line.contains(&place) {
                line.push_back(place);
            }
        }
        self.waiting.insert(place, SmallVec::from_slice(keys));
    }

    /// A step of `conn` has been answered, or never will be.
    pub(super) fn finish(&mut self, conn: ConnId, claim: Claim<'_>) -> Woken {
        let mut woken = Woken::new();
        self.total -= 1;
        if let Some(count) = self.in_flight.get_mut(&conn) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(&conn);
            }
        }
        if claim.everything {
            (self.alone, self.alone_overtaken) = (None, false);
            // Its next step, perhaps a barrier too, has waited for this one.
            woken.push(conn);
            self.wake_all(&mut woken);
        }
        for key in claim.keys {
            self.release(*key, &mut woken);
        }
        if let Some(first) = self.everything.front() {
            woken.push(*first);
        }
        woken
    }

    /// `conn` is gone and waits for nothing any more. Its steps in flight are finished one by one,
    /// and keep what they claim until then.
    pub(super) fn forget(&mut self, conn: ConnId) -> Woken {
        let mut woken = Woken::new();
        let before = self.everything.len();
        self.everything.retain(|waiter| *waiter != conn);
        if self.everything.len() < before {
            self.wake_all(&mut woken);
        }
        woken.extend(self.everything.front().copied());
        let mut left = SmallVec::<[Fingerprint; 2]>::new();
        self.waiting.retain(|place, keys| {
            let stays = place.conn != conn;
            if !stays {
                left.append(keys);
            }
            stays
        });
        for key in left {
            if let Some(held) = self.keys.get_mut(&key) {
                held.waiting.retain(|place| place.conn != conn);
                woken.extend(held.waiting.front().map(|first| first.conn));
                if held.in_flight == 0 && held.waiting.is_empty() {
                    self.keys.remove(&key);
                }
            }
        }
        woken
    }

    /// The keys have changed their fingerprints: all that wait leave their queues and ask again.
    pub(super) fn disperse(&mut self) -> Woken {
        self.keys.retain(|_, held| {
            held.waiting.clear();
            held.in_flight > 0
        });
        self.waiting.drain().map(|(place, _)| place.conn).collect()
    }

    /// Whether a write to `key` is in flight on any connection.
    pub(super) fn is_in_flight(&self, key: Fingerprint) -> bool {
        self.keys.get(&key).is_some_and(|held| held.in_flight > 0) || self.alone.is_some()
    }

    /// Something has been learnt of `key` that did not come in order: it may have happened after
    /// the writes that are in flight now.
    pub(super) fn overtake(&mut self, key: Fingerprint) {
        if let Some(held) = self.keys.get_mut(&key) {
            held.overtaken = held.in_flight;
        }
    }

    /// The same for every key.
    pub(super) fn overtake_all(&mut self) {
        self.keys.values_mut().for_each(|held| held.overtaken = held.in_flight);
        self.alone_overtaken = self.alone.is_some();
    }

    /// Whether the step in flight that claims everything was sent before.
    pub(super) fn is_barrier_overtaken(&self) -> bool {
        self.alone_overtaken
    }

    /// Whether the next write to `key` that is answered was sent before something was learnt of the
    /// key that may have happened after it.
    pub(super) fn is_overtaken(&self, key: Fingerprint) -> bool {
        self.keys.get(&key).is_some_and(|held| held.overtaken > 0)
    }

    /// Keys that writes are in flight to.
    pub(super) fn keys_in_flight(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.keys.iter().filter(|(_, held)| held.in_flight > 0).map(|(key, _)| *key)
    }

    /// Whether a step that claims everything is in flight or waits.
    pub(super) fn wants_everything(&self) -> bool {
        self.alone.is_some() || !self.everything.is_empty()
    }

    /// Writes in flight on one connection.
    pub(super) fn in_flight_on(&self, conn: ConnId) -> u32 {
        self.in_flight.get(&conn).copied().unwrap_or(0)
    }

    /// Writes in flight on all connections.
    pub(super) fn in_flight(&self) -> u32 {
        self.total
    }

    fn admits_everything(&mut self, conn: ConnId) -> bool {
        if !self.everything.contains(&conn) {
            self.everything.push_back(conn);
        }
        let admitted = self.everything.front() == Some(&conn) && self.total == 0;
        if admitted {
            self.alone = self.everything.pop_front();
        }
        admitted
    }

    fn admits_keys(&mut self, place: Place, keys: &[Fingerprint]) -> bool {
        let admitted = !self.wants_everything()
            && keys.iter().all(|key| self.keys.get(key).is_none_or(|held| held.admits(place)));
        if !admitted {
            self.line_up(place, keys);
        }
        admitted
    }

    fn enter(&mut self, place: Place, claim: Claim<'_>) {
        let queued = !self.waiting.is_empty() && self.waiting.remove(&place).is_some();
        for key in claim.keys {
            let held = self.keys.entry(*key).or_default();
            if queued && held.waiting.front() == Some(&place) {
                held.waiting.pop_front();
            }
            held.by = Some(place.conn);
            held.in_flight += 1;
        }
        *self.in_flight.entry(place.conn).or_default() += 1;
        self.total += 1;
    }

    fn release(&mut self, key: Fingerprint, woken: &mut Woken) {
        let Some(held) = self.keys.get_mut(&key) else { return };
        held.in_flight -= 1;
        held.overtaken = held.overtaken.saturating_sub(1);
        if held.in_flight > 0 {
            return;
        }
        match held.waiting.front() {
            Some(first) => woken.push(first.conn),
            None => drop(self.keys.remove(&key)),
        }
    }

    /// No step claims everything any more: those that wait for keys may try.
    fn wake_all(&self, woken: &mut Woken) {
        if !self.wants_everything() {
            woken.extend(self.waiting.keys().map(|place| place.conn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Seed;

    impl Order {
        /// Whether nobody writes and nobody waits.
        pub(in crate::engine) fn is_at_rest(&self) -> bool {
            let nobody = self.waiting.is_empty() && !self.wants_everything();
            nobody && self.keys.is_empty() && self.in_flight.is_empty() && self.total == 0
        }
    }

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);
    const C: ConnId = ConnId(3);

    fn keys(names: &str) -> Vec<Fingerprint> {
        names.bytes().map(|name| Seed::from_bytes([1; 8]).fingerprint(0, &[name])).collect()
    }

    fn claim(keys: &[Fingerprint]) -> Claim<'_> {
        Claim { keys, everything: false }
    }

    const EVERYTHING: Claim<'_> = Claim { keys: &[], everything: true };

    #[test]
    fn a_key_in_flight_on_one_connection_waits_on_another() {
        let (mut order, k) = (Order::default(), keys("k"));
        assert!(order.begin(Place::only(A), claim(&k)) && order.begin(Place::only(A), claim(&k)));
        assert!(!order.begin(Place::only(B), claim(&k)));
        assert!(order.finish(A, claim(&k)).is_empty());
        assert_eq!(order.finish(A, claim(&k)).as_slice(), [B]);
        assert!(order.begin(Place::only(B), claim(&k)));
        assert!(order.is_in_flight(k[0]));
    }

    #[test]
    fn who_waits_is_not_overtaken() {
        let (mut order, k, both) = (Order::default(), keys("k"), keys("kl"));
        assert!(order.begin(Place::only(A), claim(&k)));
        assert!(!order.begin(Place::only(B), claim(&both)));
        assert!(!order.begin(Place::only(A), claim(&k)), "B came first");
        assert!(
            !order.begin(Place::only(C), claim(&keys("l"))),
            "B has its place in the line of l too"
        );
        assert_eq!(order.finish(A, claim(&k)).as_slice(), [B]);
        assert!(order.begin(Place::only(B), claim(&both)));
        assert_eq!(order.finish(B, claim(&both)).as_slice(), [A, C]);
        assert!(
            order.begin(Place::only(A), claim(&k))
                && order.begin(Place::only(C), claim(&keys("l")))
        );
    }

    #[test]
    fn steps_that_wait_in_front_of_one_connection_are_told_apart() {
        let (mut order, k, l) = (Order::default(), keys("k"), keys("l"));
        let place = |number| Place { conn: A, number };
        assert!(order.begin(Place::only(B), claim(&k)));
        assert!(!order.begin(place(1), claim(&k)) && !order.begin(place(2), claim(&k)));
        assert!(order.begin(place(3), claim(&l)), "another key is free");
        order.line_up(place(4), &l);
        assert!(!order.begin(place(5), claim(&l)), "who has lined up is not overtaken");
        assert_eq!(order.finish(B, claim(&k)).as_slice(), [A]);
        assert!(!order.begin(place(2), claim(&k)), "in the order of their coming");
        assert!(order.begin(place(1), claim(&k)) && order.begin(place(2), claim(&k)));
        assert!(order.begin(place(4), claim(&l)) && order.begin(place(5), claim(&l)));
        (0..2).for_each(|_| drop(order.finish(A, claim(&k))));
        (0..3).for_each(|_| drop(order.finish(A, claim(&l))));
        assert!(order.is_at_rest());
    }

    #[test]
    fn everything_waits_for_everybody_and_everybody_for_it() {
        let (mut order, k) = (Order::default(), keys("k"));
        assert!(order.begin(Place::only(A), claim(&k)));
        assert!(!order.begin(Place::only(B), EVERYTHING));
        assert!(!order.begin(Place::only(A), claim(&k)));
        assert!(order.finish(A, claim(&k)).contains(&B));
        assert!(order.begin(Place::only(B), EVERYTHING));
        assert!(order.is_in_flight(k[0]));
        assert!(order.finish(B, EVERYTHING).contains(&A));
        assert!(order.begin(Place::only(A), claim(&k)));
    }

    #[test]
    fn a_barrier_whose_connection_broke_keeps_everybody_until_it_is_past() {
        let (mut order, k) = (Order::default(), keys("k"));
        assert!(order.begin(Place::only(A), EVERYTHING));
        order.forget(A);
        assert!(!order.begin(Place::only(B), claim(&k)) && order.is_in_flight(k[0]));
        assert!(order.finish(A, EVERYTHING).contains(&B));
        assert!(order.begin(Place::only(B), claim(&k)));
    }

    #[test]
    fn a_connection_that_is_gone_blocks_nobody() {
        let (mut order, k) = (Order::default(), keys("k"));
        assert!(order.begin(Place::only(A), claim(&k)));
        assert!(!order.begin(Place::only(B), claim(&k)) && !order.begin(Place::only(C), claim(&k)));
        assert_eq!(order.forget(B).as_slice(), [C]);
        assert_eq!(order.finish(A, claim(&k)).as_slice(), [C]);
        assert!(order.begin(Place::only(C), claim(&k)));
        order.finish(C, claim(&k));
        assert_eq!(order.in_flight(), 0);
        assert!(order.keys.is_empty() && order.waiting.is_empty());
    }
}
