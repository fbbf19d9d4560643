//! When the side that serves may hold other data than were copied from it.
//!
//! It was restarted, failed over, or was a replica for a while. Mostly it has its keys, and everything
//! is copied again. But one that has come back (nearly) empty must not empty the other side, which
//! then holds the only copy: nothing is mirrored until the operator decides.
//!
//! *Rule:* nearly empty is a side that holds less than a tenth of the keys of the other. Nobody asks
//! when a client flushed it, because then no other process and no other history of its data is behind it.

use std::time::Duration;

use crate::status::Side;

/// A side with so many times fewer keys than the other is nearly empty.
const SHARE: u64 = 10;

/// Why nothing is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Halt {
    /// It has not been found out yet what the side that serves holds.
    Unsure,
    /// It follows another server.
    Replica,
    /// It holds so few keys, and the other side so many.
    Emptied(u64, u64),
}

/// Nothing is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) struct Halted {
    pub(super) why: Halt,
    pub(super) since: Duration,
    /// Once the operator has been asked, only the operator decides, whatever is found later.
    pub(super) must_be_decided: bool,
}

impl Halted {
    pub(super) fn new(why: Halt, since: Duration, must_be_decided: bool) -> Self {
        Self { why, since, must_be_decided: must_be_decided || matches!(why, Halt::Emptied(..)) }
    }
}

impl Halt {
    /// In words, of the side that serves.
    pub(in crate::control) fn describe(self, primary: Side) -> String {
        let secondary = primary.other();
        match self {
            Self::Unsure => format!("the {primary} may hold other data: it is being looked at"),
            Self::Replica => {
                format!("the {primary} is a replica now, so clients can't write: promote it")
            }
            Self::Emptied(keys, other) => format!(
                "the {primary} came back (nearly) empty: it holds {keys} keys, the {secondary} \
                 {other}. Nothing is mirrored until you decide: `crossfade resync --accept-empty` \
                 makes the {secondary} the same, `crossfade {} --force` has clients served by the \
                 {secondary}",
                if primary == Side::Source { "cutover" } else { "rollback" },
            ),
        }
    }

    /// What to do about it.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Unsure => "Wait a moment: it is being looked at.",
            Self::Replica => "Promote it (REPLICAOF NO ONE).",
            Self::Emptied(..) => {
                "Decide whose data count: resync and accept the emptiness, or move the clients by force."
            }
        }
    }

    /// As `backfill.cause` says it.
    pub(super) fn cause(self) -> Option<&'static str> {
        match self {
            Self::Unsure => None,
            Self::Replica => Some("replica"),
            Self::Emptied(..) => Some("emptied"),
        }
    }
}

/// Whether a side that holds so many keys has lost them, when the other holds so many.
pub(in crate::control) fn is_nearly_empty(keys: u64, other: u64) -> bool {
    keys.saturating_mul(SHARE) < other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_with_less_than_a_tenth_of_the_others_keys_is_nearly_empty() {
        assert!(is_nearly_empty(0, 1) && is_nearly_empty(99, 1_000));
        assert!(!is_nearly_empty(0, 0) && !is_nearly_empty(100, 1_000) && !is_nearly_empty(5, 3));
    }
}
