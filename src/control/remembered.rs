//! What is remembered of the two servers, for a start that finds one of them away.

use serde::{Deserialize, Serialize};

use crate::protocol::payload::Acceptance;
use crate::server::ServerInfo;
use crate::status::Side;

/// Both, as they were when they answered last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub(super) source: Seen,
    pub(super) target: Seen,
    /// What to add to the source's clock to get the target's, in milliseconds.
    pub(super) clock_offset: i64,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) info: ServerInfo,
    /// What payloads it takes.
    pub(super) acceptance: Acceptance,
}

impl Remembered {
    /// Whether these are the same, and hold the same data.
    pub(super) fn names(&self, source: &ServerInfo, target: &ServerInfo) -> bool {
        let is_same = |seen: &Seen, now: &ServerInfo| seen.info.identity() == now.identity();
        is_same(&self.source, source) && is_same(&self.target, target)
    }

    pub(super) fn with(mut self, source: ServerInfo, target: ServerInfo) -> Self {
        (self.source.info, self.target.info) = (source, target);
        self
    }

    pub(super) fn of(&self, side: Side) -> &Seen {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    pub(super) fn of_mut(&mut self, side: Side) -> &mut Seen {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    pub(super) fn set_clock_offset_from(&mut self, primary: Side, offset: i64) {
        self.clock_offset = offset;
        self.clock_offset = self.clock_offset_from(primary);
    }

    /// What to add to the clock of `primary` to get the other one's.
    pub(super) fn clock_offset_from(&self, primary: Side) -> i64 {
        match primary {
            Side::Source => self.clock_offset,
            Side::Target => -self.clock_offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_are_as_far_apart_from_the_other_side_the_other_way() {
        let seen = || Seen {
            info: ServerInfo::default(),
            acceptance: Acceptance::expected(&ServerInfo::default().capabilities),
        };
        let remembered = Remembered { source: seen(), target: seen(), clock_offset: 40 };
        assert_eq!(remembered.clock_offset_from(Side::Source), 40);
        assert_eq!(remembered.clock_offset_from(Side::Target), -40);
    }
}
