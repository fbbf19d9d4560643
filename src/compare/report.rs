//! What was found, for people and for programs.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::value::diff::Difference;

/// Counts of everything, and the first differences by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Keys that both servers were asked about.
    pub checked: u64,
    /// Keys that are the same.
    pub equal: u64,
    /// Keys that only the source has.
    pub missing: u64,
    /// Keys that only the target has.
    pub extra: u64,
    /// Keys of two types.
    #[serde(rename = "type")]
    pub kind: u64,
    /// Keys with two values.
    pub value: u64,
    /// Keys that end at two times.
    pub expiry: u64,
    /// The first differences, as many as were wanted.
    pub differences: Vec<Shown>,
    #[serde(skip)]
    show: usize,
}

/// One difference.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The source's number of the database.
    pub database: u32,
    /// The key.
    #[serde(serialize_with = "printable")]
    pub key: Bytes,
    /// In what way.
    #[serde(serialize_with = "by_name")]
    pub difference: Difference,
}

impl Report {
    /// An empty one that will name up to `show` differences.
    pub fn new(show: usize) -> Self {
        Self { show, ..Self::default() }
    }

    /// Whether the servers are equal.
    pub fn is_equal(&self) -> bool {
        self.different() == 0
    }

    /// How many keys differ in whatever way.
    pub fn different(&self) -> u64 {
        self.missing + self.extra + self.kind + self.value + self.expiry
    }

    pub(super) fn count_equal(&mut self) {
        self.checked += 1;
        self.equal += 1;
    }

    pub(super) fn note(&mut self, database: u32, key: &Bytes, difference: Difference) {
        self.checked += 1;
        *match difference {
            Difference::Missing => &mut self.missing,
            Difference::Extra => &mut self.extra,
            Difference::Type => &mut self.kind,
            Difference::Value => &mut self.value,
            Difference::Expiry => &mut self.expiry,
        } += 1;
        if self.differences.len() < self.show {
            // The key is a slice of a whole page of them: keep only itself.
            let key = Bytes::copy_from_slice(key);
            self.differences.push(Shown { database, key, difference });
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.equal += other.equal;
        self.missing += other.missing;
        self.extra += other.extra;
        self.kind += other.kind;
        self.value += other.value;
        self.expiry += other.expiry;
        let room = self.show.saturating_sub(self.differences.len());
        self.differences.extend(other.differences.into_iter().take(room));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shown in &self.differences {
            let Shown { database, key, difference } = shown;
            writeln!(f, "{:<8} db{database:<3} {}", difference.name(), Printable(key))?;
        }
        let unnamed = self.different().saturating_sub(self.differences.len() as u64);
        if unnamed > 0 {
            writeln!(f, "… and {unnamed} more")?;
        }
        write!(
            f,
            "checked {}  equal {}  missing {}  extra {}  type {}  value {}  expiry {}",
            self.checked, self.equal, self.missing, self.extra, self.kind, self.value, self.expiry
        )
    }
}

/// A key as text; bytes that are no text are escaped.
struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) => write!(f, "{}", text.escape_debug()),
            Err(_) => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

fn printable<S: Serializer>(key: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Printable(key))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn by_name<S: Serializer>(difference: &Difference, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(difference.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_named() {
        let mut report = Report::new(1);
        report.count_equal();
        report.note(0, &Bytes::from_static(b"a\xff"), Difference::Type);
        report.note(3, &Bytes::from_static(b"b"), Difference::Missing);
        assert_eq!((report.checked, report.different(), report.is_equal()), (3, 2, false));
        assert_eq!(
            report.to_string(),
            "type     db0   a\\xff\n… and 1 more\n\
             checked 3  equal 1  missing 1  extra 0  type 1  value 0  expiry 0"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["differences"][0]["difference"], "type");
        assert_eq!(json["type"], 1);
    }

    #[test]
    fn parts_of_a_report_add_up() {
        let mut whole = Report::new(1);
        for _ in 0..2 {
            let mut part = Report::new(1);
            part.note(0, &Bytes::from_static(b"k"), Difference::Extra);
            whole.add(part);
        }
        assert_eq!((whole.extra, whole.differences.len()), (2, 1));
    }
}
