//! Identities: what a server says of itself, how far its clock is from another's, and a number that
//! tells this process from others.

use std::hash::{BuildHasher, RandomState};

use redis::cmd;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Answer, Broken, Connection, Info};
use crate::protocol::capability::{Capabilities, Family};
use crate::protocol::resp::{Reply, Request};

/// Below this difference two clocks count as one, in milliseconds: a round trip is not measured
/// finer, and equal clocks keep expiries equal to the millisecond.
const CLOCK_NOISE: i64 = 20;

/// A server's process, data and abilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// The version as it prints it (`7.0.15`).
    pub version: String,
    /// Changes with each start of the process.
    pub run_id: String,
    /// Whose data it holds.
    pub lineage: Lineage,
    /// `master` or `slave`.
    pub role: String,
    /// Kind and version, for questions.
    pub capabilities: Capabilities,
    /// Who follows it.
    #[serde(skip)]
    pub replicas: Vec<Replica>,
}

/// A server that follows another, as that one tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Host and port.
    pub address: String,
    /// Whether it has all that it needs to follow.
    pub is_online: bool,
    /// Seconds since it was heard of.
    pub lag: u64,
}

impl Replica {
    /// `ip=10.0.0.1,port=6379,state=online,offset=71,lag=0`
    fn told(line: &str) -> Option<Self> {
        let part = |name: &str| {
            line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self {
            address: format!("{}:{}", part("ip")?, part("port")?),
            is_online: part("state")? == "online",
            lag: part("lag").and_then(|lag| lag.parse().ok()).unwrap_or(0),
        })
    }
}

/// Whose data a server holds, by the history of its replication: a process that was demoted,
/// synchronised with another server and promoted again is the same process with other data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Names the history (`master_replid`).
    id: String,
    /// Whether it says which history it went on from (`master_replid2` is not all zeros).
    succeeds: bool,
    /// How far the history has come (`master_repl_offset`).
    offset: i64,
}

impl Lineage {
    /// Whether the data are still those of `before`, with nothing between but what clients did. In
    /// doubt they are not.
    ///
    /// What it relies on, in Redis' `replication.c` since 4.0, and in Valkey: a promotion
    /// (`replicationUnsetMaster`) always takes a new ID and keeps the one before as the second one
    /// (`shiftReplicationId`). A primary also takes a new ID, with its data as they were, when its
    /// first replica comes, and when it has had none for `repl-backlog-ttl`: then it clears the second
    /// ID (`clearReplicationId2`), and its offset does not go back. A history that a promotion began
    /// is not cleared for so long as replicas come or that time has not passed, so that no look
    /// every half a second misses it.
    pub fn continues(&self, before: &Self) -> bool {
        let renamed = self.id == before.id || !self.succeeds;
        renamed && self.offset >= before.offset
    }
}

impl ServerInfo {
    /// Names the process and its history, for the record: the same only as long as both last.
    pub fn identity(&self) -> String {
        format!("{} {}", self.run_id, self.lineage.id).trim_end().to_owned()
    }

    /// Whether it follows another server, so that clients can't write.
    pub fn is_replica(&self) -> bool {
        self.role == "slave"
    }

    /// Whether it is the process that `before` was, with the same data.
    pub fn continues(&self, before: &Self) -> bool {
        self.run_id == before.run_id && self.lineage.continues(&before.lineage)
    }

    /// Asks the server with `INFO`.
    ///
    /// # Errors
    /// The connection is broken. A server that refuses `INFO` is taken for the oldest.
    pub async fn ask(connection: &mut Connection) -> Result<Self, Broken> {
        Ok(Self::of(&connection.info("").await?.unwrap_or_default()))
    }

    /// The questions whose answers identify a server, cheaper than all of `INFO`.
    pub fn questions() -> [Request; 2] {
        ["server", "replication"].map(|section| Request::new(["INFO", section]))
    }

    /// Understands the answers to [`Self::questions`]; `None` when the server refuses to tell.
    pub fn answered(replies: &[Reply]) -> Option<Self> {
        told(replies).map(|info| Self::of(&info))
    }

    /// By what `INFO` says; what it does not say stays empty.
    pub fn of(info: &Info) -> Self {
        let field = |name: &str| info.text(name);
        let valkey = field("valkey_version");
        let (family, version) = match valkey {
            "" => (Family::Redis, field("redis_version")),
            _ => (Family::Valkey, valkey),
        };
        Self {
            version: version.to_owned(),
            run_id: field("run_id").to_owned(),
            lineage: Lineage {
                id: field("master_replid").to_owned(),
                succeeds: field("master_replid2").bytes().any(|byte| byte != b'0'),
                offset: field("master_repl_offset").parse().unwrap_or(0),
            },
            role: field("role").to_owned(),
            capabilities: Capabilities { family, version: numbers(version) },
            replicas: (0..info.number("connected_slaves"))
                .filter_map(|index| Replica::told(field(&format!("slave{index}"))))
                .collect(),
        }
    }
}

/// What a server said of several sections of `INFO`; `None` when it refuses one.
pub(crate) fn told(replies: &[Reply]) -> Option<Info> {
    let texts = replies.iter().map(|reply| Some(String::from_utf8_lossy(reply.text()?)));
    texts.collect::<Option<String>>().map(|text| Info::new(&text))
}

fn numbers(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// A number that nobody can foresee and no other process has.
pub(crate) fn nonce() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// How far two clocks are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockGap {
    /// What to add to the first to get the second, in milliseconds; 0 when that is too little to be
    /// told from nothing.
    pub offset: i64,
    /// By how much that may be wrong, because asking takes time.
    pub uncertainty: i64,
}

/// Which of two connections broke.
#[derive(Debug, Error)]
pub(crate) enum OneBroke {
    /// The first.
    #[error(transparent)]
    First(Broken),
    /// The other one.
    #[error(transparent)]
    Second(Broken),
}

impl ClockGap {
    /// Asks both servers, some times, and believes what took the least time.
    pub(crate) async fn measure(a: &mut Connection, b: &mut Connection) -> Result<Self, OneBroke> {
        let mut best: Option<Self> = None;
        for _ in 0..5 {
            let before = clock(a).await.map_err(OneBroke::First)?;
            let other = clock(b).await.map_err(OneBroke::Second)?;
            let after = clock(a).await.map_err(OneBroke::First)?;
            let offset = other - i64::midpoint(before, after);
            // Whatever it says while the first clock is being set.
            let uncertainty = (after - before).abs();
            if best.is_none_or(|best| uncertainty < best.uncertainty) {
                best = Some(Self { offset, uncertainty });
            }
        }
        let gap = best.unwrap_or_default();
        let is_noise = gap.offset.abs() <= CLOCK_NOISE.max(gap.uncertainty);
        Ok(if is_noise { Self { offset: 0, ..gap } } else { gap })
    }
}

/// A server's clock in Unix milliseconds.
async fn clock(connection: &mut Connection) -> Result<i64, Broken> {
    let time: Answer<(i64, i64)> = connection.query(&cmd("TIME")).await?;
    Ok(time.map_or(0, |(seconds, micros)| seconds * 1000 + micros / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(info: &str) -> ServerInfo {
        ServerInfo::of(&Info::new(info))
    }

    #[test]
    fn the_family_is_told_from_what_info_says() {
        let redis = server("redis_version:7.0.15\r\nrun_id:ab\r\nrole:master\r\n");
        assert_eq!(redis.capabilities.version, (7, 0, 15));
        assert_eq!((redis.run_id.as_str(), redis.role.as_str()), ("ab", "master"));
        let valkey = server("redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n");
        assert_eq!(valkey.capabilities.family, Family::Valkey);
        assert_eq!(valkey.version, "8.0.1");
    }

    #[test]
    fn replicas_are_told_by_their_primary() {
        let told = "connected_slaves:2\r\nslave0:ip=10.0.0.1,port=7,state=online,offset=71,lag=1\r\n\
                    slave1:ip=10.0.0.2,port=8,state=wait_bgsave,offset=0,lag=0\r\n";
        let replica =
            |address: &str, is_online, lag| Replica { address: address.to_owned(), is_online, lag };
        let expected = [replica("10.0.0.1:7", true, 1), replica("10.0.0.2:8", false, 0)];
        assert_eq!(server(told).replicas, expected);
    }

    #[test]
    fn data_are_others_after_a_promotion_and_the_same_when_a_backlog_comes_or_goes() {
        let seen = |id: &str, second: &str, offset: i64| {
            let replication = format!(
                "run_id:1\nmaster_replid:{id}\nmaster_replid2:{second}\nmaster_repl_offset:{offset}"
            );
            server(&replication)
        };
        let before = seen("aa", "00", 70);
        assert!(seen("aa", "00", 90).continues(&before));
        assert!(seen("bb", "00", 70).continues(&before), "a backlog was made or freed");
        assert!(!seen("bb", "aa", 70).continues(&before), "promoted, by itself or after a sync");
        assert!(!seen("bb", "00", 69).continues(&before), "nothing goes back by itself");
        assert!(!ServerInfo { run_id: "2".to_owned(), ..before.clone() }.continues(&before));
        let promoted = seen("bb", "aa", 80);
        assert!(seen("bb", "aa", 90).continues(&promoted));
        assert!(ServerInfo::default().continues(&ServerInfo::default()), "one that does not tell");
    }
}
