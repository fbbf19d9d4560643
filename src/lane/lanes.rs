//! The lanes that are open: three for each context, kept while they are used.
//!
//! A client that is served holds the lanes of its context. Those that nobody holds are closed: after a
//! while, sooner when there are many of them, at once when another context needs the room.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::{Context, Lane};

/// How long lanes are kept that nobody holds.
const KEEP_VACANT: Duration = Duration::from_secs(60);
/// How many contexts may keep them so long; of more, those that were left first are closed.
const SPARE_CONTEXTS: usize = 64;
/// But not those that were left, or opened ahead, only just now.
const KEEP_SURPLUS: Duration = Duration::from_secs(5);

/// What a lane is for. The more clients share one, the more requests share a system call, here and on
/// the server; so there are no more than keep each from waiting behind what takes much longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Writes.
    Write,
    /// Reads whose replies are short.
    Read,
    /// Reads whose replies may be long.
    LongRead,
}

/// The lanes of one context. Whoever holds them keeps them open.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(super) context: Context,
    pub(super) transacts: bool,
    pub(super) write: Arc<Lane>,
    pub(super) read: Arc<Lane>,
    pub(super) long_read: Arc<Lane>,
}

/// The lanes of all contexts. Whoever is given some holds them.
#[derive(Debug, Default)]
pub(super) struct KeptLanes {
    kept: HashMap<Context, Kept>,
    /// Lanes that are not for anybody new, while somebody holds them.
    left: Vec<Weak<Lanes>>,
}

#[derive(Debug)]
struct Kept {
    lanes: Arc<Lanes>,
    /// When somebody was last seen to hold them.
    held: Instant,
}

impl KeptLanes {
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<Lane>> + '_ {
        let kept = self.kept.values().map(|kept| kept.lanes.clone());
        let left = self.left.iter().filter_map(Weak::upgrade);
        kept.chain(left).flat_map(|lanes| lanes.all().map(Arc::clone))
    }

    pub(super) fn contexts(&self) -> Vec<Context> {
        self.kept.keys().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn keep(&mut self, lanes: Lanes) {
        let kept = Kept { lanes: Arc::new(lanes), held: Instant::now() };
        self.kept.insert(kept.lanes.context.clone(), kept);
    }

    /// The lanes of a context, to be held by whoever asks.
    pub(super) fn find(&mut self, context: &Context) -> Option<Arc<Lanes>> {
        let kept = self.kept.get_mut(context)?;
        if !kept.lanes.have_ended() {
            kept.held = Instant::now();
            return Some(kept.lanes.clone());
        }
        self.leave(context);
        None
    }

    /// Takes lanes out of the pool; they close when nobody holds them.
    fn leave(&mut self, context: &Context) {
        self.left.retain(|lanes| lanes.strong_count() > 0);
        if let Some(kept) = self.kept.remove(context) {
            self.left.push(Arc::downgrade(&kept.lanes));
        }
    }

    /// Contexts whose lanes nobody holds or uses, those that were left first in front.
    fn vacant(&self) -> Vec<(Instant, Context)> {
        let vacant = self.kept.values().filter(|kept| !kept.is_held() && kept.lanes.are_idle());
        let mut vacant: Vec<_> =
            vacant.map(|kept| (kept.held, kept.lanes.context.clone())).collect();
        vacant.sort_by_key(|(held, _)| *held);
        vacant
    }

    /// Closes the lanes that were left first; false when somebody holds each of them.
    pub(super) fn make_room(&mut self) -> bool {
        let first = self.vacant().into_iter().next();
        first.is_some_and(|(_, context)| self.kept.remove(&context).is_some())
    }

    pub(super) fn close_vacant(&mut self, now: Instant) {
        for kept in self.kept.values_mut().filter(|kept| kept.is_held()) {
            kept.held = now;
        }
        let vacant = self.vacant();
        let surplus = vacant.len().saturating_sub(SPARE_CONTEXTS);
        for (place, (held, context)) in vacant.into_iter().enumerate() {
            let stay = if place < surplus { KEEP_SURPLUS } else { KEEP_VACANT };
            if now.duration_since(held) >= stay {
                self.kept.remove(&context);
            }
        }
    }
}

impl Kept {
    /// Whether anybody but the pool has them; nobody gets them without the pool's lock.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.lanes) > 1
    }
}

impl Lanes {
    /// The lane for a purpose.
    pub(crate) fn pick(&self, purpose: Purpose) -> Arc<Lane> {
        let lane = match purpose {
            Purpose::Write => &self.write,
            Purpose::Read => &self.read,
            Purpose::LongRead => &self.long_read,
        };
        lane.clone()
    }

    /// Whether they are for clients in this context, and the server has them.
    pub(crate) fn serve(&self, context: &Context) -> bool {
        self.context == *context && !self.have_ended()
    }

    /// Whether the user may use transactions.
    pub(crate) fn may_transact(&self) -> bool {
        self.transacts
    }

    fn all(&self) -> [&Arc<Lane>; 3] {
        [&self.write, &self.read, &self.long_read]
    }

    fn have_ended(&self) -> bool {
        self.all().iter().any(|lane| lane.has_ended())
    }

    fn are_idle(&self) -> bool {
        self.all().iter().all(|lane| lane.is_idle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Job, Sink};
    use crate::protocol::resp::Request;

    fn context(db: u32) -> Context {
        Context { db, ..Context::default() }
    }

    /// Lanes for so many databases, that of the first opened first.
    fn opened(databases: u32, now: Instant) -> KeptLanes {
        let mut all = KeptLanes::default();
        for db in 0..databases {
            let [write, read, long_read] = [(); 3].map(|()| Lane::to_nowhere());
            all.keep(Lanes { context: context(db), transacts: true, write, read, long_read });
            if let Some(kept) = all.kept.get_mut(&context(db)) {
                kept.held = now + Duration::from_millis(db.into());
            }
        }
        all
    }

    #[tokio::test]
    async fn lanes_that_nobody_holds_are_closed_after_a_while() {
        let now = Instant::now();
        let mut all = opened(3, now);
        let held = all.find(&context(1)).unwrap();
        let used = all.find(&context(2)).unwrap();
        let (sender, _waiting) = tokio::sync::oneshot::channel();
        let job = Job::read(Request::new(["GET", "a"]), Sink::Task(sender));
        assert!(used.pick(Purpose::Write).submit(&mut vec![job]));
        drop(used);
        all.close_vacant(now + KEEP_VACANT / 2);
        assert_eq!(all.kept.len(), 3);
        all.close_vacant(now + KEEP_VACANT * 2);
        let mut left: Vec<u32> = all.kept.keys().map(|context| context.db).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 2], "one is held, one has a job in flight");
        drop(held);
        all.close_vacant(now + KEEP_VACANT * 2 + KEEP_VACANT / 2);
        assert!(all.kept.contains_key(&context(1)), "it was left only just now");
        all.close_vacant(now + KEEP_VACANT * 4);
        assert!(!all.kept.contains_key(&context(1)));
    }

    #[tokio::test]
    async fn of_many_that_nobody_holds_those_left_first_are_closed_earlier() {
        let now = Instant::now();
        let mut all = opened(SPARE_CONTEXTS as u32 + 10, now);
        all.close_vacant(now + Duration::from_secs(1));
        assert_eq!(all.kept.len(), SPARE_CONTEXTS + 10, "clients may be on their way");
        all.close_vacant(now + KEEP_SURPLUS * 2);
        assert_eq!(all.kept.len(), SPARE_CONTEXTS);
        assert!(all.kept.keys().all(|context| context.db >= 10));
        assert!(all.make_room() && !all.kept.contains_key(&context(10)));
    }

    #[tokio::test]
    async fn there_is_no_room_where_everybody_is_held() {
        let mut all = opened(2, Instant::now());
        let _held = [all.find(&context(0)), all.find(&context(1))];
        assert!(!all.make_room());
    }
}
