//! What differed, in a form that an operator can read: patterns of names, and some keys.
//!
//! *Guarantees:* neither grows with the number of differences.

use std::collections::BTreeMap;

use crate::engine::pattern;
use crate::value::diff::Difference;

/// Patterns and keys that are named.
const NAMED: usize = 20;
/// Patterns that are told apart; what comes beyond them counts as one.
const PATTERNS: usize = 1000;
const OTHERS: &str = "(others)";
/// Letters of a key's name.
const LETTERS: usize = 200;

/// How many keys differ whose names are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the status")]
pub(crate) struct Alike {
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
}

/// One key that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The primary's database.
    pub db: u32,
    /// Its name, with what can't be shown escaped.
    pub key: String,
    /// In what.
    pub difference: Difference,
}

/// What has been found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    patterns: BTreeMap<String, Alike>,
    samples: Vec<Sample>,
}

impl Found {
    pub(super) fn add(&mut self, db: u32, key: &[u8], difference: Difference) {
        let mut name = pattern(key);
        if self.patterns.len() >= PATTERNS && !self.patterns.contains_key(&name) {
            OTHERS.clone_into(&mut name);
        }
        let alike = self.patterns.entry(name).or_default();
        match difference {
            Difference::Missing => alike.missing += 1,
            Difference::Extra => alike.extra += 1,
            _ => alike.different += 1,
        }
        if self.samples.len() < NAMED {
            let key = key.escape_ascii().take(LETTERS).map(char::from).collect();
            self.samples.push(Sample { db, key, difference });
        }
    }

    /// The patterns that most keys have.
    pub(crate) fn patterns(&self) -> Vec<(String, Alike)> {
        let mut patterns: Vec<_> = self.patterns.iter().collect();
        patterns.sort_by_key(|(_, alike)| {
            std::cmp::Reverse(alike.missing + alike.extra + alike.different)
        });
        let most = patterns.into_iter().take(NAMED);
        most.map(|(pattern, alike)| (pattern.clone(), alike.clone())).collect()
    }

    /// The first keys.
    pub(crate) fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_alike_are_counted_together_and_some_are_named() {
        let mut found = Found::default();
        for number in 0..30 {
            found.add(0, format!("user:{number}:name").as_bytes(), Difference::Value);
        }
        found.add(1, b"odd\n", Difference::Missing);
        let patterns = found.patterns();
        assert_eq!(patterns[0].1, Alike { different: 30, ..Alike::default() });
        assert_eq!((patterns.len(), found.samples().len()), (2, NAMED));
    }

    #[test]
    fn patterns_without_end_are_counted_as_others() {
        let mut found = Found::default();
        for letter in 0..2 * PATTERNS {
            let name = format!(
                "{}:x",
                "z".repeat(letter % 50) + &char::from(b'a' + (letter / 50) as u8).to_string()
            );
            found.add(0, name.as_bytes(), Difference::Extra);
        }
        assert!(found.patterns.len() <= PATTERNS + 1);
    }
}
