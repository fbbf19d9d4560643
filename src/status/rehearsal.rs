//! What clients do that the target would refuse, as the status and `crossfade observe` show it.

use serde::{Deserialize, Serialize};

/// All of it, as far as it has been learnt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rehearsal {
    /// Commands that clients of the source use, and the target refuses.
    pub commands: Vec<Refused>,
    /// Commands over keys of several slots, where the target is a cluster.
    pub crossslot: Vec<Crossing>,
    /// Databases that clients are in, and the target has not.
    pub databases: Vec<MissingDatabase>,
    /// Users that the target lacks, or that may do less there.
    pub users: Vec<LesserUser>,
    /// Scripts that would fail there.
    pub scripts: Vec<FailingScript>,
    /// Big values, which are copied part by part.
    pub big: Vec<Big>,
}

/// A command that the target refuses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// Its name.
    pub command: String,
    /// Why the target refuses it.
    pub why: String,
    /// Whom, where others may; empty: everybody.
    pub user: String,
    /// What the names of its keys have in common.
    pub pattern: String,
    /// How often it was used.
    pub count: u64,
    /// When it was used last, in Unix seconds; 0 where that is not known.
    pub last: f64,
}

/// A command over keys of several slots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "named as above")]
pub struct Crossing {
    pub command: String,
    pub pattern: String,
    pub count: u64,
    pub last: f64,
}

/// A database that only the source has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "named as above")]
pub struct MissingDatabase {
    pub db: u32,
    pub count: u64,
    pub last: f64,
}

/// A user that the target lacks, or that may do less there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "named as above")]
pub struct LesserUser {
    pub user: String,
    pub why: String,
}

/// A script that would fail on the target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "named as above")]
pub struct FailingScript {
    /// Its SHA-1, or the name of its library.
    pub script: String,
    pub why: String,
    pub count: u64,
    pub last: f64,
}

/// Big values whose names are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "named as above")]
pub struct Big {
    pub db: u32,
    pub pattern: String,
    pub count: u64,
    /// Of the largest.
    pub bytes: u64,
}

impl Rehearsal {
    /// Whether something that clients do would fail on the target.
    pub fn fails(&self) -> bool {
        !(self.commands.is_empty()
            && self.crossslot.is_empty()
            && self.databases.is_empty()
            && self.users.is_empty()
            && self.scripts.is_empty())
    }
}
