//! The last hour in points, for the charts of the page.
//!
//! *Guarantees:* no more than [`KEPT`] points are held.
//!
//! *Must not know:* how a point is measured.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::status::Times;

/// Seconds between two points.
pub(crate) const STEP: u64 = 5;
/// An hour of them.
const KEPT: usize = 720;

/// How it was for some seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// When they ended, in Unix seconds.
    pub at: f64,
    /// Of the mirror, in seconds.
    pub lag: f64,
    /// Commands of clients, a second.
    pub commands: f64,
    /// From a client's request in to its reply out.
    pub clients: Times,
    /// From a command sent to the source to its answer.
    pub source: Times,
    /// From a command sent to the target to its answer.
    pub target: Times,
    /// The source's answers to reads that both were asked.
    pub source_reads: Times,
    /// The target's answers to the same.
    pub target_reads: Times,
}

#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Point>);

impl History {
    pub(crate) fn add(&mut self, point: Point) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    /// The points after a time, the oldest first.
    pub(crate) fn after(&self, at: f64) -> Vec<Point> {
        self.0.iter().filter(|point| point.at > at).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_told_from_any_moment_on() {
        let mut history = History::default();
        for at in 0..2 * KEPT {
            history.add(Point { at: at as f64, ..Point::default() });
        }
        assert_eq!(history.after(0.0).len(), KEPT);
        let last: Vec<f64> = history.after(1437.0).iter().map(|point| point.at).collect();
        assert_eq!(last, [1438.0, 1439.0]);
    }
}
