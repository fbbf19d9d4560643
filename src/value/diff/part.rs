//! The pieces that values are read in.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

/// The types whose values can be read and written by commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes, bitmaps, `HyperLogLog`s.
    String,
    /// Elements in order.
    List,
    /// Members without order.
    Set,
    /// Members with scores, geographical ones too.
    Zset,
    /// Fields and values.
    Hash,
    /// Entries, consumer groups, pending entries.
    Stream,
}

impl Kind {
    /// Reads what `TYPE` answers; `None` for types of modules and of the future.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"string" => Self::String,
            b"list" => Self::List,
            b"set" => Self::Set,
            b"zset" => Self::Zset,
            b"hash" => Self::Hash,
            b"stream" => Self::Stream,
            _ => return None,
        })
    }
}

/// One piece of a value. A value is the row of its parts; all but a stream's are of one variant.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The next bytes of a string.
    Text(Bytes),
    /// The next elements of a list.
    Elements(Vec<Bytes>),
    /// Some members of a set.
    Members(Vec<Bytes>),
    /// Some members of a sorted set and their scores.
    Scored(Vec<(Bytes, f64)>),
    /// Some fields of a hash.
    Fields(Vec<Field>),
    /// The next entries of a stream.
    Entries(Vec<Entry>),
    /// A consumer group, before its pending entries.
    Group(Group),
    /// The next pending entries of the group before.
    Pending {
        /// The group's name.
        group: Bytes,
        /// What its consumers have not acknowledged.
        entries: Vec<Pending>,
    },
    /// What a stream remembers; its last part.
    Stream(StreamState),
}

/// A field of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Bytes,
    /// Its value.
    pub value: Bytes,
    /// When it ends, in Unix milliseconds.
    pub expires_at: Option<i64>,
}

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub id: StreamId,
    /// Names and values in turn.
    pub fields: Vec<Bytes>,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Bytes,
    /// The last entry that it handed out.
    pub last_delivered: StreamId,
    /// How many it has handed out; `None` when the server does not know, or is too old to tell.
    pub entries_read: Option<i64>,
    /// The names of its consumers, with or without pending entries.
    pub consumers: Vec<Bytes>,
}

/// An entry handed out and not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Which entry.
    pub id: StreamId,
    /// The consumer that has it.
    pub consumer: Bytes,
    /// When it was handed out last, in Unix milliseconds of the server's clock.
    pub delivered_at: i64,
    /// How often it was handed out.
    pub deliveries: i64,
}

/// What a stream remembers besides its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The last ID that it gave.
    pub last: StreamId,
    /// How many entries it ever had; since Redis 7.0.
    pub entries_added: Option<i64>,
    /// The highest ID that was deleted; since Redis 7.0.
    pub max_deleted: Option<StreamId>,
}

/// The ID of a stream's entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds, mostly.
    pub time: u64,
    /// A count within them.
    pub sequence: u64,
}

impl StreamId {
    /// The next possible ID; `None` after the very last.
    pub fn next(self) -> Option<Self> {
        match self.sequence.checked_add(1) {
            Some(sequence) => Some(Self { sequence, ..self }),
            None => Some(Self { time: self.time.checked_add(1)?, sequence: 0 }),
        }
    }
}

impl FromStr for StreamId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (time, sequence) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self { time: time.parse()?, sequence: sequence.parse()? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.time, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_after_the_last_of_a_millisecond_is_the_first_of_the_next() {
        let id: StreamId = "5-18446744073709551615".parse().unwrap();
        assert_eq!(id.next().unwrap().to_string(), "6-0");
        assert_eq!(StreamId { time: u64::MAX, sequence: u64::MAX }.next(), None);
    }
}
