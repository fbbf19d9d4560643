//! The record's bytes: a header that says what it holds for, and the groups as bits, each of them
//! twice, once inverted, so that no damage goes unnoticed and a change needs no checksum elsewhere.

use super::{Identity, Unusable};
use crate::engine::ledger::{Groups, WORDS};

/// The header's size: a page, which the kernel writes whole or not.
pub(super) const HEADER: usize = 4096;
/// A word of groups and its complement. None crosses a page.
pub(super) const CELL: usize = 16;
/// All cells.
pub(super) const CELLS: usize = WORDS * CELL;

/// Lines of the header.
const LINES: usize = 5;

/// Stands for the boot in a record that was closed by a clean stop.
pub(super) const CLOSED: &str = "closed";
/// Stands for the boot where the system does not tell; believed by nobody.
const UNKNOWN: &str = "unknown";

/// The header: lines of text, then nothing up to its size.
pub(super) fn header(identity: &Identity, boot: Option<&str>) -> Vec<u8> {
    let Identity { tag, source, target } = identity;
    let boot = boot.unwrap_or(UNKNOWN);
    let mut header = format!(
        "crossfade record 1\nmigration {tag}\nboot {boot}\nsource {source}\ntarget {target}\n"
    )
    .into_bytes();
    header.resize(HEADER, 0);
    header
}

/// Whether the header is the one that would be written now: nothing in it is read, so nothing can be
/// misread. If it is not, its lines say why.
pub(super) fn believe(
    header: &[u8],
    identity: &Identity,
    boot: Option<&str>,
) -> Result<(), Unusable> {
    let expected = self::header(identity, boot);
    if header == self::header(identity, Some(CLOSED)) || (boot.is_some() && header == expected) {
        return Ok(());
    }
    let lines = header.split(|byte| *byte == b'\n');
    let expected = expected.split(|byte| *byte == b'\n');
    let lines = lines.zip(expected).take(LINES).enumerate();
    let differ = lines.filter(|(_, (line, expected))| line != expected);
    let differ: Vec<usize> = differ.map(|(index, _)| index).collect();
    Err(match differ.as_slice() {
        [.., 4] => Unusable::Replaced("target"),
        [.., 3] => Unusable::Replaced("source"),
        [2] => Unusable::Rebooted,
        _ => Unusable::Damaged,
    })
}

/// Appends the cells of these words.
pub(super) fn push_cells(cells: &mut Vec<u8>, words: &[u64]) {
    for word in words {
        cells.extend_from_slice(&word.to_le_bytes());
        cells.extend_from_slice(&(!word).to_le_bytes());
    }
}

/// What the cells say; `None` when they were damaged.
pub(super) fn groups(cells: &[u8]) -> Option<Groups> {
    if cells.len() != CELLS {
        return None;
    }
    let words = cells.chunks_exact(CELL).map(|cell| {
        let (word, inverse) = cell.split_at_checked(CELL / 2)?;
        let word = u64::from_le_bytes(word.try_into().ok()?);
        let inverse = u64::from_le_bytes(inverse.try_into().ok()?);
        (word == !inverse).then_some(word)
    });
    Groups::from_words(words.collect::<Option<_>>()?)
}
