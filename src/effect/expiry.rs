//! When a key ends, and how a server is asked for it.

use smallvec::SmallVec;

use crate::capability::Capabilities;
use crate::resp::{Reply, Request};

use super::{Expect, Probes, Step};

/// How far two servers' answers may lie apart when one of them tells only the time that is left:
/// it is rounded, and some time passes between asking for it and asking for the time of day.
const ROUNDING: i64 = 20;

/// What is known of a key's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key is not there.
    Missing,
    /// It has no end.
    Never,
    /// At this Unix time in milliseconds.
    At(i64),
}

impl Expiry {
    /// From the answer of `PEXPIRETIME`, or of `PTTL` when `now` is the server's clock and not 0.
    pub fn from_answer(answer: i64, now: i64) -> Self {
        match answer {
            -2 => Self::Missing,
            -1 => Self::Never,
            time => Self::At(time.saturating_add(now)),
        }
    }

    /// Whether both are the same end, give or take `tolerance` milliseconds.
    pub fn is_near(self, other: Self, tolerance: i64) -> bool {
        match (self, other) {
            (Self::At(mine), Self::At(theirs)) => mine.abs_diff(theirs) <= tolerance.unsigned_abs(),
            _ => self == other,
        }
    }

    /// The same moment on a clock that is ahead by `offset` milliseconds.
    pub(super) fn shifted(self, offset: i64) -> Self {
        match self {
            Self::At(time) => Self::At(time.saturating_add(offset)),
            other => other,
        }
    }
}

/// What asks a server for the end of `key`: one request where it tells absolute times, else two.
pub(super) fn questions(key: &[u8], server: &Capabilities) -> Probes {
    if server.tells_absolute_expiry() {
        Probes::from_iter([Request::new([b"PEXPIRETIME", key])])
    } else {
        Probes::from_iter([Request::new(["TIME"]), Request::new([b"PTTL", key])])
    }
}

/// What the server said to [`questions`].
pub(super) fn answer(replies: &[Reply]) -> Option<Expiry> {
    match replies {
        [absolute] => Some(Expiry::from_answer(absolute.integer()?, 0)),
        [time, left] => Some(Expiry::from_answer(left.integer()?, time.unix_milliseconds()?)),
        _ => None,
    }
}

/// What asks the secondary whether its key has the same end. Where it can't tell absolute times
/// it is asked for its time of day too.
pub(super) fn check(
    key: &[u8],
    expiry: Expiry,
    primary: &Capabilities,
    secondary: &Capabilities,
) -> SmallVec<[Step; 1]> {
    let exact = primary.tells_absolute_expiry() && secondary.tells_absolute_expiry();
    let expect = Expect::Expiry { expiry, tolerance: if exact { 0 } else { ROUNDING } };
    if secondary.tells_absolute_expiry() {
        let request = Request::new([b"PEXPIRETIME", key]);
        return SmallVec::from_iter([Step { request, expect }]);
    }
    let time = Step { request: Request::new(["TIME"]), expect: Expect::Time };
    SmallVec::from_iter([time, Step { request: Request::new([b"PTTL", key]), expect }])
}
