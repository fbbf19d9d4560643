//! What a server can do, told from its kind and version.
//!
//! *Guarantees:* says no where it does not know. *Must not know:* how it was asked.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which code base a server descends from; payload types and command sets differ between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// Redis.
    #[default]
    Redis,
    /// Valkey.
    Valkey,
}

/// Kind and version of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Redis or Valkey.
    pub family: Family,
    /// Major, minor and patch, as the server's own kind counts them.
    pub version: (u32, u32, u32),
}

/// The first servers that know something, major and minor; `None` for a family that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// The first Redis.
    pub redis: Option<(u32, u32)>,
    /// The first Valkey, which has all that Redis had up to 7.2.
    pub valkey: Option<(u32, u32)>,
}

impl Since {
    /// In Redis from this version, and in Valkey if it was there when Valkey began.
    pub const fn redis(major: u32, minor: u32) -> Self {
        let inherited = major < 7 || major == 7 && minor <= 2;
        let valkey = if inherited { Some((7, 2)) } else { None };
        Self { redis: Some((major, minor)), valkey }
    }
}

impl fmt::Display for Since {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.redis, self.valkey) {
            (Some((major, minor)), None) => write!(out, "redis {major}.{minor}"),
            (None, Some((major, minor))) => write!(out, "valkey {major}.{minor}"),
            (Some((major, minor)), Some((7, 2))) => write!(out, "{major}.{minor}"),
            (Some(redis), Some(valkey)) => {
                write!(out, "redis {}.{}, valkey {}.{}", redis.0, redis.1, valkey.0, valkey.1)
            }
            (None, None) => Ok(()),
        }
    }
}

impl Capabilities {
    /// Whether it knows what these servers know.
    pub fn knows(&self, since: Since) -> bool {
        let first = match self.family {
            Family::Redis => since.redis,
            Family::Valkey => since.valkey,
        };
        first.is_some_and(|first| (self.version.0, self.version.1) >= first)
    }

    /// Whether it is at least this Redis, or any Valkey (which began from 7.2).
    pub fn since_redis(&self, major: u32, minor: u32) -> bool {
        match self.family {
            Family::Redis => (self.version.0, self.version.1) >= (major, minor),
            Family::Valkey => (major, minor) <= (7, 2),
        }
    }

    /// Whether it is at least this Valkey.
    pub fn since_valkey(&self, major: u32, minor: u32) -> bool {
        self.family == Family::Valkey && (self.version.0, self.version.1) >= (major, minor)
    }

    /// Whether it surely takes every payload that `other` takes.
    pub fn reads_payloads_of(&self, other: &Self) -> bool {
        self.family == other.family && self.version >= other.version
    }

    /// `PEXPIRETIME`.
    pub fn tells_absolute_expiry(&self) -> bool {
        self.since_redis(7, 0)
    }

    /// `SET … PXAT`.
    pub fn sets_absolute_expiry(&self) -> bool {
        self.since_redis(6, 2)
    }

    /// `HPEXPIREAT`, `HPEXPIRETIME`.
    pub fn expires_hash_fields(&self) -> bool {
        self.family == Family::Redis && self.since_redis(7, 4) || self.since_valkey(9, 0)
    }
}
