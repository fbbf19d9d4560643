//! Taking replies apart, and what keeps a server from being read.

use bytes::Bytes;
use thiserror::Error;

use crate::protocol::resp::{Flat, Reply, parse_integer};
use crate::server::{Broken, ConnectError, ScanError};

/// Why a value could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The connection is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The key went or changed its type while it was read: read it again.
    #[error("the key changed while it was read")]
    Changed,
    /// The server's error, code first.
    #[error("{0}")]
    Refused(String),
    /// The server answered what the command can't answer.
    #[error("unexpected answer to {0}")]
    Unexpected(&'static str),
}

/// One answer, with the name of its question for errors.
#[derive(Debug)]
pub(super) struct Answer {
    reply: Reply,
    question: &'static str,
}

impl Answer {
    pub(super) fn new(reply: Reply, question: &'static str) -> Result<Self, ReadError> {
        match reply {
            Reply::Error(text) if tells_of_a_change(&text) => Err(ReadError::Changed),
            Reply::Error(text) => Err(refusal(&text)),
            reply => Ok(Self { reply, question }),
        }
    }

    pub(super) fn text(self) -> Result<Bytes, ReadError> {
        self.reply.text().cloned().ok_or(ReadError::Unexpected(self.question))
    }

    /// An integer, or a string that is one.
    pub(super) fn integer(self) -> Result<i64, ReadError> {
        let from_text = || parse_integer(self.reply.text()?);
        self.reply.integer().or_else(from_text).ok_or(ReadError::Unexpected(self.question))
    }

    /// What `TIME` says.
    pub(super) fn milliseconds(self) -> Result<i64, ReadError> {
        self.reply.unix_milliseconds().ok_or(ReadError::Unexpected(self.question))
    }

    /// Whatever `FromStr` makes of a string.
    pub(super) fn parse<T: std::str::FromStr>(self) -> Result<T, ReadError> {
        let question = self.question;
        let text = self.text()?;
        let text = std::str::from_utf8(&text).map_err(|_| ReadError::Unexpected(question))?;
        text.parse().map_err(|_| ReadError::Unexpected(question))
    }

    /// Itself, or nothing for a null.
    pub(super) fn optional(self) -> Option<Self> {
        (self.reply != Reply::Null).then_some(self)
    }

    /// The elements; a RESP3 map counts as its flat array.
    pub(super) fn items(self) -> Result<Vec<Self>, ReadError> {
        let question = self.question;
        let items = match self.reply {
            Reply::Array(items) | Reply::Set(items) => items,
            Reply::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
            _ => return Err(ReadError::Unexpected(question)),
        };
        items.into_iter().map(|reply| Self::new(reply, question)).collect()
    }

    /// Exactly `N` elements.
    pub(super) fn tuple<const N: usize>(self) -> Result<[Self; N], ReadError> {
        let question = self.question;
        self.items()?.try_into().map_err(|_| ReadError::Unexpected(question))
    }

    pub(super) fn texts(self) -> Result<Vec<Bytes>, ReadError> {
        self.items()?.into_iter().map(Self::text).collect()
    }

    /// Takes the value behind `name` out of a flat list of names and values.
    pub(super) fn field(items: &mut [Self], name: &str) -> Option<Self> {
        let is_name = |item: &Self| item.reply.text().is_some_and(|text| text == name);
        let index = items.iter().step_by(2).position(is_name)? * 2;
        let value = items.get_mut(index + 1)?;
        let reply = std::mem::replace(&mut value.reply, Reply::Null);
        Some(Self { reply, question: value.question })
    }
}

/// A server's error as ours.
pub(super) fn refusal(text: &[u8]) -> ReadError {
    ReadError::Refused(String::from_utf8_lossy(text).into_owned())
}

/// One of many answers that is not what it must be.
pub(super) fn misfit(answer: Flat<'_>, question: &'static str) -> ReadError {
    match answer {
        Flat::Error(text) => refusal(text),
        _ => ReadError::Unexpected(question),
    }
}

/// Errors to a question about what was there a moment ago: a key, its type, a stream's group.
fn tells_of_a_change(error: &[u8]) -> bool {
    let changes: [&[u8]; 3] = [b"WRONGTYPE", b"ERR no such key", b"NOGROUP"];
    changes.iter().any(|change| error.starts_with(change))
}

/// What is wrong with one server.
#[derive(Debug, Error)]
pub enum Fault {
    /// It can't be reached, or refuses the credentials.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refuses a question, or went away.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<ScanError> for Fault {
    fn from(error: ScanError) -> Self {
        Self::Read(match error {
            ScanError::Broken(broken) => broken.into(),
            refused @ ScanError::Refused(_) => ReadError::Refused(refused.to_string()),
        })
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self::Read(broken.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(raw: &'static str) -> Result<Answer, ReadError> {
        Answer::new(Reply::parse(&Bytes::from_static(raw.as_bytes())).unwrap(), "?")
    }

    #[test]
    fn fields_are_found_in_any_order() {
        let mut items = answer("*4\r\n+a\r\n:1\r\n+b\r\n:2\r\n").unwrap().items().unwrap();
        let mut field =
            |name| Answer::field(&mut items, name).map(|value| value.integer().unwrap());
        assert_eq!((field("b"), field("a"), field("c")), (Some(2), Some(1), None));
    }

    #[test]
    fn a_key_of_another_type_has_changed_and_other_errors_are_refusals() {
        assert!(matches!(answer("-WRONGTYPE x\r\n"), Err(ReadError::Changed)));
        assert!(matches!(answer("-NOPERM x\r\n"), Err(ReadError::Refused(_))));
    }
}
