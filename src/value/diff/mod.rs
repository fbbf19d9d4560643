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

pub(crate) use part::{Entry, Field, Group, Kind, Part, Pending, StreamId, StreamState};

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

/// How far the times of two servers may be apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeway {
    /// What to add to a time of the first server to get the second's, in milliseconds.
    pub clock_offset: i64,
    /// The difference that counts as none, in milliseconds.
    pub tolerance: i64,
}

/// Whether two ends of a key or field are the same.
pub fn same_expiry(a: Option<i64>, b: Option<i64>, leeway: Leeway) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let expected = a.saturating_add(leeway.clock_offset);
            expected.abs_diff(b) <= leeway.tolerance.unsigned_abs()
        }
        _ => false,
    }
}

/// Whether two parts hold the same. Parts of a set, sorted set or hash must list their elements in
/// one order; the second is asked for by the elements of the first.
pub fn same_part(a: &Part, b: &Part, leeway: Leeway) -> bool {
    match (a, b) {
        // The server itself forgets the sign of a zero when it changes the encoding, so `==`.
        (Part::Scored(a), Part::Scored(b)) => a == b,
        (Part::Fields(a), Part::Fields(b)) => all_same(a, b, |a, b| same_field(a, b, leeway)),
        (Part::Group(a), Part::Group(b)) => same_group(a, b),
        // The time of a delivery is left out: it is told as an age, exact to a few milliseconds.
        (
            Part::Pending { group: a_group, entries: a },
            Part::Pending { group: b_group, entries: b },
        ) => {
            let same = |a: &Pending, b: &Pending| {
                (a.id, &a.consumer, a.deliveries) == (b.id, &b.consumer, b.deliveries)
            };
            a_group == b_group && all_same(a, b, same)
        }
        (Part::Stream(a), Part::Stream(b)) => same_state(a, b),
        (Part::Text(a), Part::Text(b)) => a == b || same_but_for_a_cached_count(a, b),
        _ => a == b,
    }
}

/// A `HyperLogLog` caches its count in bytes 8 to 15, which reading it may renew.
fn same_but_for_a_cached_count(a: &[u8], b: &[u8]) -> bool {
    let without = |text: &[u8]| Some([text.get(..8)?, text.get(16..)?].concat());
    a.starts_with(b"HYLL") && without(a) == without(b)
}

fn all_same<T>(a: &[T], b: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

fn same_field(a: &Field, b: &Field, leeway: Leeway) -> bool {
    a.name == b.name && a.value == b.value && same_expiry(a.expires_at, b.expires_at, leeway)
}

fn same_group(a: &Group, b: &Group) -> bool {
    (&a.name, a.last_delivered) == (&b.name, b.last_delivered)
        && same_where_told(a.entries_read, b.entries_read)
        && a.consumers == b.consumers
}

fn same_state(a: &StreamState, b: &StreamState) -> bool {
    a.last == b.last
        && same_where_told(a.entries_added, b.entries_added)
        && same_where_told(a.max_deleted, b.max_deleted)
}

/// An older server does not tell everything; what one side does not tell is not held against it.
fn same_where_told<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const EXACT: Leeway = Leeway { clock_offset: 0, tolerance: 0 };

    fn fields(expires_at: Option<i64>) -> Part {
        let (name, value) = (Bytes::from_static(b"f"), Bytes::from_static(b"v"));
        Part::Fields(vec![Field { name, value, expires_at }])
    }

    #[test]
    fn expiries_are_the_same_within_the_tolerance_on_one_clock() {
        let leeway = Leeway { clock_offset: 2000, tolerance: 50 };
        assert!(same_expiry(Some(10_000), Some(12_050), leeway));
        assert!(!same_expiry(Some(10_000), Some(12_051), leeway));
        assert!(!same_expiry(Some(10_000), Some(10_000), leeway));
        assert!(same_expiry(None, None, leeway));
        assert!(!same_expiry(None, Some(12_000), leeway));
        assert!(same_expiry(Some(i64::MAX), Some(i64::MAX), leeway));
    }

    #[test]
    fn a_field_that_lost_its_expiry_is_different() {
        assert!(same_part(&fields(Some(7)), &fields(Some(7)), EXACT));
        assert!(!same_part(&fields(Some(7)), &fields(None), EXACT));
    }

    #[test]
    fn scores_differ_by_their_last_bit() {
        let scored = |score: f64| Part::Scored(vec![(Bytes::from_static(b"m"), score)]);
        assert!(same_part(&scored(0.1), &scored(0.1), EXACT));
        assert!(!same_part(&scored(0.1), &scored(0.1f64.next_up()), EXACT));
        assert!(same_part(&scored(f64::INFINITY), &scored(f64::INFINITY), EXACT));
        assert!(same_part(&scored(0.0), &scored(-0.0), EXACT));
    }

    #[test]
    fn what_an_old_server_does_not_tell_is_not_held_against_it() {
        let state = |entries_added| {
            Part::Stream(StreamState {
                last: "1-1".parse().unwrap(),
                entries_added,
                max_deleted: None,
            })
        };
        assert!(same_part(&state(Some(3)), &state(None), EXACT));
        assert!(!same_part(&state(Some(3)), &state(Some(4)), EXACT));
    }

    #[test]
    fn parts_of_two_types_are_different() {
        let text = Part::Text(Bytes::from_static(b"a"));
        assert!(!same_part(&text, &Part::Elements(vec![Bytes::from_static(b"a")]), EXACT));
    }
}
