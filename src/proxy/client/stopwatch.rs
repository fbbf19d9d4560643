//! How long a client's steps take.

use std::collections::VecDeque;
use std::time::Instant;

use crate::metrics::{CommandKind, Tally};

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
