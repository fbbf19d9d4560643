//! Where a command's keys lie among its arguments.
//!
//! *Guarantees:* finds what the server's own grammar finds, odd corners included (the last `STORE`
//! of a `SORT` wins). Iterates, never recurses: the arguments are hostile.

use smallvec::SmallVec;

use super::{Access, Key, KeyError, Keys};
use crate::protocol::resp::{Request, parse_integer};

/// One rule of where keys lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spec {
    /// One argument.
    At(usize, Access),
    /// From `first` on, every `step`th argument, but for the last `rest`.
    From { first: usize, step: usize, rest: usize, access: Access },
    /// As many as argument `count` says, from the next but `skip` on, every `step`th.
    Counted { count: usize, step: usize, access: Access },
    /// The key behind the last `STORE` of a `SORT`.
    SortStore,
    /// The key behind the last `STORE` or `STOREDIST` of a `GEORADIUS`.
    GeoRadiusStore,
    /// The first half of what follows `STREAMS`.
    Streams(Access),
    /// The destination of a `COPY`, in the database that `DB` names.
    CopyTo,
    /// The key of a `MOVE` in the other database.
    MoveTo,
}

use Access::{Read, Write};

pub(super) const NO_KEYS: &[Spec] = &[];
pub(super) const ONE_READ: &[Spec] = &[Spec::At(1, Read)];
pub(super) const ONE_WRITTEN: &[Spec] = &[Spec::At(1, Write)];
pub(super) const SECOND_READ: &[Spec] = &[Spec::At(2, Read)];
pub(super) const SECOND_WRITTEN: &[Spec] = &[Spec::At(2, Write)];
pub(super) const TWO_READ: &[Spec] = &[Spec::At(1, Read), Spec::At(2, Read)];
pub(super) const TWO_WRITTEN: &[Spec] = &[Spec::At(1, Write), Spec::At(2, Write)];
pub(super) const ALL_READ: &[Spec] = &[from(1, 1, Read)];
pub(super) const ALL_WRITTEN: &[Spec] = &[from(1, 1, Write)];
pub(super) const ALL_BUT_LAST_WRITTEN: &[Spec] =
    &[Spec::From { first: 1, step: 1, rest: 1, access: Write }];
pub(super) const PAIRS_WRITTEN: &[Spec] = &[from(1, 2, Write)];
pub(super) const STORE_ONE: &[Spec] = &[Spec::At(1, Write), Spec::At(2, Read)];
pub(super) const STORE_ALL: &[Spec] = &[Spec::At(1, Write), from(2, 1, Read)];
pub(super) const STORE_COUNTED: &[Spec] = &[Spec::At(1, Write), counted(2, 1, Read)];
pub(super) const BITOP: &[Spec] = &[Spec::At(2, Write), from(3, 1, Read)];
pub(super) const COUNTED_READ: &[Spec] = &[counted(1, 1, Read)];
pub(super) const COUNTED_READ_2: &[Spec] = &[counted(2, 1, Read)];
pub(super) const COUNTED_WRITTEN: &[Spec] = &[counted(1, 1, Write)];
pub(super) const COUNTED_WRITTEN_2: &[Spec] = &[counted(2, 1, Write)];
pub(super) const COUNTED_PAIRS_WRITTEN: &[Spec] = &[counted(1, 2, Write)];
pub(super) const SORT: &[Spec] = &[Spec::At(1, Read), Spec::SortStore];
pub(super) const GEORADIUS: &[Spec] = &[Spec::At(1, Read), Spec::GeoRadiusStore];
pub(super) const STREAMS_READ: &[Spec] = &[Spec::Streams(Read)];
pub(super) const STREAMS_WRITTEN: &[Spec] = &[Spec::Streams(Write)];
pub(super) const COPY: &[Spec] = &[Spec::At(1, Read), Spec::CopyTo];
pub(super) const MOVE: &[Spec] = &[Spec::At(1, Write), Spec::MoveTo];

const fn from(first: usize, step: usize, access: Access) -> Spec {
    Spec::From { first, step, rest: 0, access }
}

const fn counted(count: usize, step: usize, access: Access) -> Spec {
    Spec::Counted { count, step, access }
}

impl Spec {
    /// Adds the keys that this rule finds.
    pub(super) fn find(self, request: &Request, keys: &mut Keys) -> Result<(), KeyError> {
        let len = request.len();
        match self {
            Self::At(index, access) => keys.push(key(index, access)),
            Self::From { first, step, rest, access } => {
                let last = len.saturating_sub(rest);
                keys.extend((first..last).step_by(step).map(|index| key(index, access)));
            }
            Self::Counted { count, step, access } => {
                let first = count + 1;
                let end = counted_end(request, count, step).ok_or(KeyError)?;
                keys.extend((first..end).step_by(step).map(|index| key(index, access)));
            }
            Self::SortStore => keys.extend(sort_store(request).map(|index| key(index, Write))),
            Self::GeoRadiusStore => {
                keys.extend(georadius_store(request).map(|index| key(index, Write)));
            }
            Self::Streams(access) => {
                let first = streams(request).ok_or(KeyError)? + 1;
                let count = len.saturating_sub(first);
                if count == 0 || count % 2 != 0 {
                    return Err(KeyError);
                }
                keys.extend((first..first + count / 2).map(|index| key(index, access)));
            }
            Self::CopyTo => keys.push(Key { db: copy_database(request)?, ..key(2, Write) }),
            Self::MoveTo => keys.push(Key { db: Some(database(request, 2)?), ..key(1, Write) }),
        }
        Ok(())
    }
}

const fn key(index: usize, access: Access) -> Key {
    Key { index, access, db: None }
}

/// Where the counted keys end, if they all are there.
fn counted_end(request: &Request, count: usize, step: usize) -> Option<usize> {
    let keys = usize::try_from(parse_integer(request.arg(count)?)?).ok()?;
    let end = keys.checked_mul(step)?.checked_add(count + 1)?;
    (end <= request.len()).then_some(end)
}

fn database(request: &Request, index: usize) -> Result<u32, KeyError> {
    let number = request.arg(index).and_then(parse_integer).ok_or(KeyError)?;
    u32::try_from(number).map_err(|_| KeyError)
}

/// The database of a `COPY`'s destination; the last `DB` wins.
fn copy_database(request: &Request) -> Result<Option<u32>, KeyError> {
    copy_databases(request).try_fold(None, |_, index| database(request, index).map(Some))
}

/// Where a `COPY` names databases.
fn copy_databases(request: &Request) -> impl Iterator<Item = usize> {
    let next = |index: usize| (index..request.len()).find(|at| request.is(*at, "DB"));
    std::iter::successors(next(3), move |at| next(at + 2)).map(|at| at + 1)
}

/// Which arguments of a request number databases: none of one that has too many or too few.
pub fn databases(request: &Request) -> SmallVec<[usize; 2]> {
    match request.len() {
        2 if request.is(0, "SELECT") => SmallVec::from_slice(&[1]),
        3 if request.is(0, "MOVE") => SmallVec::from_slice(&[2]),
        3 if request.is(0, "SWAPDB") => SmallVec::from_slice(&[1, 2]),
        4.. if request.is(0, "COPY") => copy_databases(request).collect(),
        _ => SmallVec::new(),
    }
}

/// Which argument of a `SORT` is the key to store in; the last `STORE` wins, and none is seen in
/// the arguments of the other options.
pub(super) fn sort_store(request: &Request) -> Option<usize> {
    let mut found = None;
    let mut index = 2;
    while index < request.len() {
        if request.is(index, "LIMIT") {
            index += 2;
        } else if request.is(index, "GET") || request.is(index, "BY") {
            index += 1;
        } else if request.is(index, "STORE") && index + 1 < request.len() {
            found = Some(index + 1);
            index += 1;
        }
        index += 1;
    }
    found
}

/// Which argument of a `GEORADIUS` or `GEORADIUSBYMEMBER` is the key to store in.
pub(super) fn georadius_store(request: &Request) -> Option<usize> {
    let mut found = None;
    let mut index = 5;
    while index + 1 < request.len() {
        if request.is(index, "STORE") || request.is(index, "STOREDIST") {
            index += 1;
            found = Some(index);
        }
        index += 1;
    }
    found
}

/// Which argument of an `XREAD` or `XREADGROUP` is `STREAMS`.
fn streams(request: &Request) -> Option<usize> {
    read_options(request).find(|index| request.is(*index, "STREAMS"))
}

/// Whether an `XREAD` or `XREADGROUP` may wait.
pub(super) fn blocks(request: &Request) -> bool {
    read_options(request).any(|index| request.is(index, "BLOCK"))
}

/// The options of an `XREAD` or `XREADGROUP` up to `STREAMS`, skipping over their own arguments.
fn read_options(request: &Request) -> impl Iterator<Item = usize> {
    let after = |index: &usize| {
        let width = match index {
            _ if request.is(*index, "STREAMS") => return None,
            _ if request.is(*index, "GROUP") => 3,
            _ if request.is(*index, "NOACK") => 1,
            _ => 2,
        };
        Some(index + width)
    };
    std::iter::successors(Some(1), after).take_while(|index| *index < request.len())
}
