//! What a value consists of, and whether two servers hold the same.
//!
//! A value is read as a row of [`Part`]s, each bounded in size, so that a hash of ten million
//! fields is compared and copied in the memory of a few thousand. Where order means nothing (sets,
//! hashes, sorted sets), the same elements are looked up on the other server, and equal sizes make
//! the two equal: exact, and indifferent to the order in which two servers scan.
//!
//! *Guarantees:* no digest and no guess: two values that are called equal were seen to be equal.
//!
//! *Must not know:* sockets, how a part is asked for.

mod part;
mod same;

pub use part::{Entry, Field, Group, Kind, Part, Pending, StreamId, StreamState};
pub use same::{Leeway, same_expiry, same_part};

/// In what way two servers differ about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Difference {
    /// Only the first server has it.
    Missing,
    /// Only the second server has it.
    Extra,
    /// A value of another type.
    Type,
    /// Another value.
    Value,
    /// The same value, to end at another time.
    Expiry,
}

impl Difference {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Type => "type",
            Self::Value => "value",
            Self::Expiry => "expiry",
        }
    }
}
