//! A reply understood: for rules that look inside it, and for comparing two servers.

use std::cmp::Ordering;

use bytes::Bytes;
use thiserror::Error;

use super::{line_end, parse_integer};

/// How deep replies may nest; Redis itself stays under 10.
const DEPTH_LIMIT: usize = 64;

/// Why bytes from a server are not a reply.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReplyError {
    /// The first byte names no RESP type.
    #[error("unknown reply type {0:#04x}")]
    UnknownType(u8),
    /// A length is not a number in range.
    #[error("invalid length in a reply")]
    InvalidLength,
    /// A line or a whole reply exceeds its limit.
    #[error("reply too long")]
    TooLong,
    /// Aggregates nest deeper than any server does.
    #[error("reply nested too deep")]
    TooDeep,
    /// The bytes end before the reply does.
    #[error("reply cut short")]
    Truncated,
}

/// One reply of RESP2 or RESP3. Strings share the frame's memory.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+`
    Simple(Bytes),
    /// `-` or `!`, without the type byte: code first.
    Error(Bytes),
    /// `:`
    Integer(i64),
    /// `$`, and `=` without its format prefix.
    Bulk(Bytes),
    /// `_`, `$-1` or `*-1`.
    Null,
    /// `,` in the server's own digits.
    Double(Bytes),
    /// `#`
    Boolean(bool),
    /// `(`
    BigNumber(Bytes),
    /// `*`
    Array(Vec<Reply>),
    /// `~`
    Set(Vec<Reply>),
    /// `%`
    Map(Vec<(Reply, Reply)>),
    /// `>`
    Push(Vec<Reply>),
}

impl Reply {
    /// Understands one whole frame. Attributes (`|`) are skipped.
    pub fn parse(raw: &Bytes) -> Result<Self, ReplyError> {
        Cursor { raw, position: 0 }.reply(0)
    }

    /// The text of a string of any kind, or of a double.
    pub fn text(&self) -> Option<&Bytes> {
        match self {
            Self::Simple(text) | Self::Bulk(text) | Self::Double(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer reply.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    pub fn items(&self) -> Option<&[Reply]> {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    /// What `TIME` answers, in milliseconds.
    pub fn unix_milliseconds(&self) -> Option<i64> {
        let [seconds, micros] = self.items()? else { return None };
        let seconds = parse_integer(seconds.text()?)?;
        seconds.checked_mul(1000)?.checked_add(parse_integer(micros.text()?)? / 1000)
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Whether this is `+OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text.as_ref() == b"OK")
    }

    /// Whether two servers said the same, possibly in different protocol versions: all nulls are
    /// equal, a double equals its text, a set any order of its elements, a map its flat array.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Set(mine), _) => other.items().is_some_and(|theirs| same_set(mine, theirs)),
            (_, Self::Set(_)) => other.says_the_same_as(self),
            (Self::Map(mine), Self::Map(theirs)) => same_map(mine, theirs),
            (Self::Map(pairs), Self::Array(flat)) | (Self::Array(flat), Self::Map(pairs)) => {
                same_map(pairs, &pair_up(flat))
            }
            (Self::Array(mine), Self::Array(theirs)) => {
                mine.len() == theirs.len()
                    && mine.iter().zip(theirs).all(|(a, b)| a.says_the_same_as(b))
            }
            (Self::Boolean(flag), Self::Integer(value))
            | (Self::Integer(value), Self::Boolean(flag)) => i64::from(*flag) == *value,
            (Self::Double(a), b) | (b, Self::Double(a)) => {
                b.text().is_some_and(|b| same_number(a, b))
            }
            _ => match (self.text(), other.text()) {
                (Some(a), Some(b)) => a == b,
                _ => self == other,
            },
        }
    }
}

fn same_number(a: &[u8], b: &[u8]) -> bool {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    a == b || number(a).zip(number(b)).and_then(|(a, b)| a.partial_cmp(&b)) == Some(Ordering::Equal)
}

fn same_set(mine: &[Reply], theirs: &[Reply]) -> bool {
    let key = |reply: &Reply| format!("{:?}", reply.text());
    let sorted = |items: &[Reply]| {
        let mut keys: Vec<_> = items.iter().map(key).collect();
        keys.sort_unstable();
        keys
    };
    mine.len() == theirs.len() && sorted(mine) == sorted(theirs)
}

fn same_map(mine: &[(Reply, Reply)], theirs: &[(Reply, Reply)]) -> bool {
    mine.len() == theirs.len()
        && mine.iter().all(|(key, value)| {
            theirs.iter().any(|(other, theirs)| {
                key.says_the_same_as(other) && value.says_the_same_as(theirs)
            })
        })
}

fn pair_up(flat: &[Reply]) -> Vec<(Reply, Reply)> {
    flat.chunks_exact(2)
        .filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone())))
        .collect()
}

struct Cursor<'a> {
    raw: &'a Bytes,
    position: usize,
}

impl<'a> Cursor<'a> {
    fn reply(&mut self, depth: usize) -> Result<Reply, ReplyError> {
        if depth > DEPTH_LIMIT {
            return Err(ReplyError::TooDeep);
        }
        let (kind, rest) = self.line()?;
        let raw = self.raw;
        let text = || raw.slice_ref(rest);
        Ok(match kind {
            b'+' => Reply::Simple(text()),
            b'-' => Reply::Error(text()),
            b':' => Reply::Integer(parse_integer(rest).ok_or(ReplyError::InvalidLength)?),
            b'_' => Reply::Null,
            b',' => Reply::Double(text()),
            b'#' => Reply::Boolean(rest == b"t"),
            b'(' => Reply::BigNumber(text()),
            b'$' => self.body(rest)?.map_or(Reply::Null, Reply::Bulk),
            b'!' => self.body(rest)?.map_or(Reply::Null, Reply::Error),
            b'=' => self
                .body(rest)?
                .map_or(Reply::Null, |text| Reply::Bulk(text.slice(4.min(text.len())..))),
            b'*' => self.items(rest, depth)?.map_or(Reply::Null, Reply::Array),
            b'~' => self.items(rest, depth)?.map_or(Reply::Null, Reply::Set),
            b'>' => self.items(rest, depth)?.map_or(Reply::Null, Reply::Push),
            b'%' => Reply::Map(self.pairs(rest, depth)?),
            b'|' => {
                self.pairs(rest, depth)?;
                self.reply(depth + 1)?
            }
            other => return Err(ReplyError::UnknownType(other)),
        })
    }

    /// The type and the rest of the next line.
    fn line(&mut self) -> Result<(u8, &'a [u8]), ReplyError> {
        let raw: &'a [u8] = self.raw;
        let rest = raw.get(self.position..).unwrap_or_default();
        let end = line_end(rest).ok_or(ReplyError::Truncated)?;
        self.position += end + 2;
        let line = rest.get(..end).and_then(<[u8]>::split_first);
        line.map(|(kind, rest)| (*kind, rest)).ok_or(ReplyError::Truncated)
    }

    fn body(&mut self, digits: &[u8]) -> Result<Option<Bytes>, ReplyError> {
        let Some(len) = length(digits)? else { return Ok(None) };
        let end = self.position.checked_add(len).ok_or(ReplyError::InvalidLength)?;
        if self.raw.len() < end + 2 {
            return Err(ReplyError::Truncated);
        }
        let body = self.raw.slice(self.position..end);
        self.position = end + 2;
        Ok(Some(body))
    }

    fn items(&mut self, digits: &[u8], depth: usize) -> Result<Option<Vec<Reply>>, ReplyError> {
        let Some(count) = length(digits)? else { return Ok(None) };
        let mut items = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            items.push(self.reply(depth + 1)?);
        }
        Ok(Some(items))
    }

    fn pairs(&mut self, digits: &[u8], depth: usize) -> Result<Vec<(Reply, Reply)>, ReplyError> {
        let count = length(digits)?.unwrap_or(0);
        let mut pairs = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            pairs.push((self.reply(depth + 1)?, self.reply(depth + 1)?));
        }
        Ok(pairs)
    }
}

/// The length that a header's digits tell; `None` for the null of RESP2.
pub(super) fn length(digits: &[u8]) -> Result<Option<usize>, ReplyError> {
    match parse_integer(digits) {
        Some(-1) => Ok(None),
        Some(len) => usize::try_from(len).map(Some).map_err(|_| ReplyError::InvalidLength),
        None => Err(ReplyError::InvalidLength),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Reply {
        Reply::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn the_same_answer_in_two_protocol_versions_is_the_same() {
        for (resp2, resp3) in [
            ("$-1\r\n", "_\r\n"),
            ("*-1\r\n", "_\r\n"),
            ("$3\r\n1.5\r\n", ",1.5\r\n"),
            ("*2\r\n$1\r\na\r\n$1\r\nb\r\n", "~2\r\n$1\r\nb\r\n$1\r\na\r\n"),
            ("*2\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:1\r\n"),
            (":1\r\n", "#t\r\n"),
        ] {
            assert!(parse(resp2).says_the_same_as(&parse(resp3)), "{resp2:?} {resp3:?}");
            assert!(parse(resp3).says_the_same_as(&parse(resp2)), "{resp3:?} {resp2:?}");
        }
    }

    #[test]
    fn different_answers_are_different() {
        for (a, b) in [(":1\r\n", ":2\r\n"), ("+OK\r\n", "-ERR\r\n"), ("*1\r\n:1\r\n", "*0\r\n")] {
            assert!(!parse(a).says_the_same_as(&parse(b)), "{a:?} {b:?}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = Bytes::from("*1\r\n".repeat(1000));
        assert_eq!(Reply::parse(&deep), Err(ReplyError::TooDeep));
    }
}
