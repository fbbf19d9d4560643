//! What a server can do, told from its kind and version.
//!
//! *Guarantees:* says no where it does not know. *Must not know:* how it was asked.

/// Which code base a server descends from; payload types and command sets differ between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Redis.
    #[default]
    Redis,
    /// Valkey.
    Valkey,
}

/// Kind and version of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Redis or Valkey.
    pub family: Family,
    /// Major, minor and patch, as the server's own kind counts them.
    pub version: (u32, u32, u32),
}

impl Capabilities {
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
