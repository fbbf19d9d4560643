//! Giving way to clients that do not come through us: their server says how many commands it has
//! served.
//!
//! *Must not know:* what gives way.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

use crate::backend::{Connection, Endpoint, Setup};
use crate::courtesy::{Courtesy, LOOK};

/// What copies and comparisons send, and what connections are opened, kept and watched with;
/// commands of clients that are among them don't count.
const OURS: [&str; 34] = [
    "auth",
    "client",
    "command",
    "config",
    "dbsize",
    "dump",
    "exists",
    "getrange",
    "hello",
    "hlen",
    "hpexpiretime",
    "hscan",
    "info",
    "latency",
    "lrange",
    "memory",
    "object",
    "pexpiretime",
    "ping",
    "psync",
    "pttl",
    "replconf",
    "scan",
    "scard",
    "select",
    "slowlog",
    "sscan",
    "time",
    "type",
    "xinfo",
    "xpending",
    "xrange",
    "zcard",
    "zscan",
];
/// How soon a lost connection is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Looks for as long as it is asked to.
pub(crate) async fn give_way(endpoint: &Endpoint, courtesy: &Courtesy) -> Infallible {
    let setup = Setup::own(endpoint, 0, "crossfade-watch");
    loop {
        if let Ok(mut server) = Connection::open(endpoint, &setup).await {
            let mut before = None;
            while let Ok(reply) = server.command(["INFO", "commandstats"]).await {
                let Some(text) = reply.text() else { break };
                let served = served(&String::from_utf8_lossy(text));
                courtesy.look(served.saturating_sub(*before.get_or_insert(served)));
                sleep(LOOK).await;
            }
        }
        sleep(RETRY).await;
    }
}

/// How many commands of others a server has served: `cmdstat_memory|usage:calls=1,usec=…` a line.
fn served(info: &str) -> u64 {
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let command = name.split('|').next()?;
        let calls: u64 = rest.split(',').next()?.parse().ok()?;
        (!OURS.contains(&command)).then_some(calls)
    };
    info.lines().filter_map(calls).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_copy_sends_is_not_counted() {
        let info = "# Commandstats\r\ncmdstat_get:calls=7,usec=1,usec_per_call=1.00\r\n\
                    cmdstat_memory|usage:calls=900,usec=1\r\ncmdstat_dump:calls=900,usec=1\r\n\
                    cmdstat_hset:calls=5,usec=1\r\n";
        assert_eq!(served(info), 12);
        assert_eq!(served(""), 0);
    }
}
