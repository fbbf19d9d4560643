//! When a key ends, and how a server is asked for it: the one place, for probes, copies and
//! comparisons.

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Flat, Reply, Request, Row, about, parse_integer};

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

    /// The Unix time in milliseconds, where there is one.
    pub fn at(self) -> Option<i64> {
        match self {
            Self::At(time) => Some(time),
            Self::Never | Self::Missing => None,
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

/// How a server is asked when a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Not at all: no key that is asked about does.
    Never,
    /// As a point in time.
    Absolute,
    /// What time it is, and what is left.
    Relative,
}

impl Ends {
    /// As the server can tell.
    pub fn told_by(server: &Capabilities) -> Self {
        if server.tells_absolute_expiry() { Self::Absolute } else { Self::Relative }
    }

    /// How many replies there are to the questions about a key.
    pub fn replies(self) -> usize {
        match self {
            Self::Never => 0,
            Self::Absolute => 1,
            Self::Relative => 2,
        }
    }

    /// Writes the questions about `key`.
    pub fn ask(self, key: &[u8], out: &mut BytesMut) {
        match self {
            Self::Never => {}
            Self::Absolute => about(out, b"*2\r\n$11\r\nPEXPIRETIME\r\n", key),
            Self::Relative => {
                out.put_slice(b"*1\r\n$4\r\nTIME\r\n");
                about(out, b"*2\r\n$4\r\nPTTL\r\n", key);
            }
        }
    }

    /// The same as requests.
    pub(super) fn requests(self, key: &[u8]) -> Probes {
        match self {
            Self::Never => Probes::new(),
            Self::Absolute => Probes::from_iter([Request::new([b"PEXPIRETIME", key])]),
            Self::Relative => {
                Probes::from_iter([Request::new(["TIME"]), Request::new([b"PTTL", key])])
            }
        }
    }

    /// Understands the next replies of a row.
    ///
    /// # Errors
    /// What the server said instead; the row goes on behind it.
    pub fn read<'a>(self, row: &mut Row<'a>) -> Result<Expiry, Flat<'a>> {
        let now = match self {
            Self::Never => return Ok(Expiry::Never),
            Self::Absolute => Ok(0),
            Self::Relative => time(row),
        };
        match row.next().unwrap_or(Flat::Null) {
            Flat::Integer(answer) => Ok(Expiry::from_answer(answer, now?)),
            other => Err(other),
        }
    }

    /// Understands replies that stand by themselves.
    pub(super) fn answer(self, replies: &[Reply]) -> Option<Expiry> {
        match replies.get(..self.replies())? {
            [] => Some(Expiry::Never),
            [absolute] => Some(Expiry::from_answer(absolute.integer()?, 0)),
            [time, left, ..] => {
                Some(Expiry::from_answer(left.integer()?, time.unix_milliseconds()?))
            }
        }
    }
}

/// What `TIME` says, in Unix milliseconds.
fn time<'a>(row: &mut Row<'a>) -> Result<i64, Flat<'a>> {
    let head = row.next().unwrap_or(Flat::Null);
    if head != Flat::Elements(2) {
        return Err(head);
    }
    let mut number = || row.next().and_then(Flat::text).and_then(parse_integer);
    match (number(), number()) {
        (Some(seconds), Some(micros)) => Ok(seconds * 1000 + micros / 1000),
        _ => Err(head),
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
    let requests = Ends::told_by(secondary).requests(key).into_iter();
    let mut steps: SmallVec<[Step; 1]> =
        requests.map(|request| Step { request, expect: Expect::Time }).collect();
    if let Some(last) = steps.last_mut() {
        last.expect = Expect::Expiry { expiry, tolerance: if exact { 0 } else { ROUNDING } };
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ends: Ends, raw: &[u8]) -> Result<Expiry, Flat<'_>> {
        ends.read(&mut Row::new(raw))
    }

    #[test]
    fn the_three_answers_about_an_end_are_told_apart() {
        assert_eq!(read(Ends::Absolute, b":-2\r\n"), Ok(Expiry::Missing));
        assert_eq!(read(Ends::Absolute, b":-1\r\n"), Ok(Expiry::Never));
        assert_eq!(read(Ends::Absolute, b":105\r\n"), Ok(Expiry::At(105)));
        assert_eq!(read(Ends::Never, b""), Ok(Expiry::Never));
    }

    #[test]
    fn what_is_left_ends_behind_the_time_of_day() {
        let left = b"*2\r\n$2\r\n10\r\n$4\r\n5999\r\n:100\r\n";
        assert_eq!(read(Ends::Relative, left), Ok(Expiry::At(10_105)));
        let missing = b"*2\r\n$2\r\n10\r\n$4\r\n5999\r\n:-2\r\n";
        assert_eq!(read(Ends::Relative, missing), Ok(Expiry::Missing));
    }

    #[test]
    fn a_refused_time_of_day_is_no_end_and_what_comes_behind_is_found() {
        let mut row = Row::new(b"-NOPERM time\r\n:100\r\n+next\r\n");
        assert_eq!(Ends::Relative.read(&mut row), Err(Flat::Error(b"NOPERM time")));
        assert_eq!(row.next(), Some(Flat::Text(b"next")));
    }

    #[test]
    fn replies_that_stand_by_themselves_say_the_same() {
        let text = |text: &'static str| Reply::Bulk(text.into());
        let time = Reply::Array(vec![text("10"), text("5999")]);
        assert_eq!(Ends::Relative.answer(&[time, Reply::Integer(100)]), Some(Expiry::At(10_105)));
        assert_eq!(Ends::Absolute.answer(&[Reply::Integer(7)]), Some(Expiry::At(7)));
        assert_eq!(Ends::Absolute.answer(&[]), None);
    }
}
