//! Which databases of the two servers belong together.

use super::{Error, Fault};
use crate::backend::Connection;
use crate::value::Side;

/// Which databases to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Databases {
    /// All that either server has keys in, each with the one of the same number.
    All,
    /// These pairs, the source's number first.
    Pairs(Vec<(u32, u32)>),
}

impl Databases {
    pub(super) async fn pairs(
        &self,
        source: &mut Side,
        target: &mut Side,
    ) -> Result<Vec<(u32, u32)>, Error> {
        if let Self::Pairs(pairs) = self {
            return Ok(pairs.clone());
        }
        let mut used = databases_in_use(&mut source.connection).await.map_err(Error::Source)?;
        used.extend(databases_in_use(&mut target.connection).await.map_err(Error::Target)?);
        used.sort_unstable();
        used.dedup();
        Ok(used.into_iter().map(|db| (db, db)).collect())
    }
}

/// The databases that hold keys.
///
/// # Errors
/// The connection is broken.
pub async fn databases_in_use(connection: &mut Connection) -> Result<Vec<u32>, Fault> {
    let reply = connection.command(["INFO", "keyspace"]).await?;
    let text = reply.text().map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
    Ok(parse(&text))
}

fn parse(info: &str) -> Vec<u32> {
    let number = |line: &str| line.strip_prefix("db")?.split_once(':')?.0.parse().ok();
    info.lines().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_with_keys_are_read_from_info() {
        let info = "# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\ndb12:keys=3,expires=1\r\n";
        assert_eq!(parse(info), [0, 12]);
        assert!(parse("# Keyspace\r\n").is_empty());
    }
}
