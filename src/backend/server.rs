//! What a server says of itself.

use super::{Broken, Connection};
use crate::capability::{Capabilities, Family};

/// Below this difference two clocks count as one, in milliseconds: a round trip is not measured
/// finer, and equal clocks keep expiries equal to the millisecond.
const CLOCK_NOISE: i64 = 20;

/// Who a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The version as it prints it (`7.0.15`).
    pub version: String,
    /// Changes with each start of the process.
    pub run_id: String,
    /// `master` or `slave`.
    pub role: String,
    /// Kind and version, for questions.
    pub capabilities: Capabilities,
}

impl ServerInfo {
    /// Asks the server with `INFO`.
    ///
    /// # Errors
    /// The connection is broken. A server that refuses `INFO` is taken for the oldest.
    pub async fn ask(connection: &mut Connection) -> Result<Self, Broken> {
        let reply = connection.command(["INFO"]).await?;
        let text = reply.text().map(|text| String::from_utf8_lossy(text).into_owned());
        Ok(Self::parse(&text.unwrap_or_default()))
    }

    /// Understands what `INFO` says; what it does not say stays empty.
    pub fn parse(info: &str) -> Self {
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("")
        };
        let valkey = field("valkey_version");
        let (family, version) = match valkey {
            "" => (Family::Redis, field("redis_version")),
            _ => (Family::Valkey, valkey),
        };
        Self {
            version: version.to_owned(),
            run_id: field("run_id").to_owned(),
            role: field("role").to_owned(),
            capabilities: Capabilities { family, version: numbers(version) },
        }
    }
}

fn numbers(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Which databases of a server hold keys, and how many; `None` when it refuses to say.
///
/// # Errors
/// The connection is broken.
pub async fn keyspace(connection: &mut Connection) -> Result<Option<Vec<(u32, u64)>>, Broken> {
    let reply = connection.command(["INFO", "keyspace"]).await?;
    Ok(reply.text().map(|text| parse_keyspace(&String::from_utf8_lossy(text))))
}

/// `db0:keys=1,expires=0,…` a line.
fn parse_keyspace(info: &str) -> Vec<(u32, u64)> {
    let line = |line: &str| {
        let (db, rest) = line.trim().strip_prefix("db")?.split_once(':')?;
        let keys = rest.strip_prefix("keys=")?.split(',').next()?;
        Some((db.parse().ok()?, keys.parse().ok()?))
    };
    info.lines().filter_map(line).collect()
}

/// How far two clocks are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockGap {
    /// What to add to the first to get the second, in milliseconds; 0 when that is too little to be
    /// told from nothing.
    pub offset: i64,
    /// By how much that may be wrong, because asking takes time.
    pub uncertainty: i64,
}

impl ClockGap {
    /// Asks both servers, some times, and believes what took the least time.
    ///
    /// # Errors
    /// A connection is broken.
    pub async fn measure(a: &mut Connection, b: &mut Connection) -> Result<Self, Broken> {
        let mut best: Option<Self> = None;
        for _ in 0..5 {
            let before = clock(a).await?;
            let other = clock(b).await?;
            let after = clock(a).await?;
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
    let reply = connection.command(["TIME"]).await?;
    Ok(reply.unix_milliseconds().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_told_from_what_info_says() {
        let redis = ServerInfo::parse("redis_version:7.0.15\r\nrun_id:ab\r\nrole:master\r\n");
        assert_eq!(redis.capabilities.version, (7, 0, 15));
        assert_eq!((redis.run_id.as_str(), redis.role.as_str()), ("ab", "master"));
        let valkey = ServerInfo::parse("redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n");
        assert_eq!(valkey.capabilities.family, Family::Valkey);
        assert_eq!(valkey.version, "8.0.1");
    }

    #[test]
    fn the_keyspace_says_which_databases_hold_keys() {
        let info = "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\ndb12:keys=40,expires=0\r\n";
        assert_eq!(parse_keyspace(info), [(0, 3), (12, 40)]);
    }
}
