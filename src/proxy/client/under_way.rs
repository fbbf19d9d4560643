//! What a client has asked for and has not got, since when, and how much more it may ask for.

use std::collections::VecDeque;
use std::time::Instant;

use crate::lane::{MOST, Window};
use crate::metrics::{CommandKind, Tally};

/// Replies in flight to a client or that it has not read, in bytes, as far as that can be known
/// beforehand; past it, it is not served.
const UNREAD_MAX: usize = 1024 * 1024;
/// Requests of a client that are in flight, in bytes, before it is read from again.
const UNANSWERED_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct UnderWay {
    submitted: u64,
    answered: u64,
    /// The bytes of the requests since all were answered last.
    asked: usize,
    window: Window,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self { submitted: 0, answered: 0, asked: 0, window: Window::new(UNREAD_MAX, 1) }
    }
}

impl UnderWay {
    /// A step of so many bytes has been sent.
    pub(super) fn submit(&mut self, bytes: usize) {
        self.submitted += 1;
        self.asked += bytes;
    }

    /// So many steps were answered with so many bytes.
    pub(super) fn answer(&mut self, steps: u64, bytes: usize) {
        self.window.learn(bytes, usize::try_from(steps).unwrap_or(usize::MAX));
        self.answered += steps;
        if self.is_empty() {
            self.asked = 0;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.submitted == self.answered
    }

    fn steps(&self) -> usize {
        usize::try_from(self.submitted - self.answered).unwrap_or(usize::MAX)
    }

    /// Whether more requests are to be read while so many bytes wait for the client.
    pub(super) fn may_grow(&self, unread: usize) -> bool {
        self.steps() < MOST && self.asked < UNANSWERED_MAX && self.window.steps(unread) > 0
    }

    /// Whether nothing has come yet to judge replies by.
    pub(super) fn is_new(&self) -> bool {
        self.window.is_new()
    }

    /// How many steps more may be sent while so many bytes wait for the client: any number of those
    /// whose replies are known to be short.
    pub(super) fn room(&self, unread: usize, are_short: bool) -> usize {
        match self.asked {
            UNANSWERED_MAX.. => 0,
            _ if are_short => MOST,
            _ => self.window.steps(unread).saturating_sub(self.steps()),
        }
    }
}

/// Steps that have come and are not answered. One read of the socket brings many at once, so what
/// came together is kept together.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    running: VecDeque<Group>,
}

#[derive(Debug)]
struct Group {
    since: Instant,
    kind: CommandKind,
    steps: u64,
}

impl Stopwatch {
    /// A step has been sent that came then.
    pub(super) fn start(&mut self, since: Instant, kind: CommandKind) {
        match self.running.back_mut() {
            Some(last) if last.since == since && last.kind == kind => last.steps += 1,
            _ => self.running.push_back(Group { since, kind, steps: 1 }),
        }
    }

    /// The oldest steps have been answered.
    pub(super) fn stop(&mut self, mut steps: u64, tally: &Tally) {
        let now = Instant::now();
        while let Some(oldest) = self.running.front_mut().filter(|_| steps > 0) {
            let done = steps.min(oldest.steps);
            tally.took(oldest.kind, now.duration_since(oldest.since), done);
            steps -= done;
            oldest.steps -= done;
            if oldest.steps == 0 {
                self.running.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_asked_for_much_waits_until_all_of_it_is_answered() {
        let mut under_way = UnderWay::default();
        assert!(under_way.may_grow(0) && under_way.is_empty());
        under_way.submit(UNANSWERED_MAX);
        under_way.submit(0);
        under_way.answer(1, 5);
        assert!(!under_way.may_grow(0) && under_way.room(0, true) == 0);
        under_way.answer(1, 5);
        assert!(under_way.may_grow(0) && under_way.is_empty());
    }

    #[test]
    fn who_does_not_read_gets_no_more_unless_the_replies_are_short() {
        let mut under_way = UnderWay::default();
        assert!(under_way.is_new() && under_way.room(0, false) < MOST);
        under_way.submit(20);
        under_way.answer(1, 5);
        assert_eq!(under_way.room(0, false), MOST);
        assert_eq!(under_way.room(UNREAD_MAX, false), 0);
        assert_eq!(under_way.room(UNREAD_MAX, true), MOST);
    }
}
