//! Giving way to clients that do not come through us: their server says how many commands it has
//! served.
//!
//! *Must not know:* what gives way.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

use crate::server::throttle::{LOOK, Throttle};
use crate::server::{Connection, Endpoint, Info, Setup};

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
pub(crate) async fn give_way(endpoint: &Endpoint, throttle: &Throttle) -> Infallible {
    let setup = Setup::own(endpoint, 0, "crossfade-watch");
    loop {
        if let Ok(mut server) = Connection::open(endpoint, &setup).await {
            let mut before = None;
            while let Ok(Ok(info)) = server.info("commandstats").await {
                let served = served(&info);
                throttle.look(served.saturating_sub(*before.get_or_insert(served)));
                sleep(LOOK).await;
            }
        }
        sleep(RETRY).await;
    }
}

/// How many commands of others a server has served.
fn served(info: &Info) -> u64 {
    let is_ours =
        |command: &str| command.split('|').next().is_some_and(|name| OURS.contains(&name));
    info.calls().filter(|calls| !is_ours(calls.command)).map(|calls| calls.calls).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_copy_sends_is_not_counted() {
        let info = "# Commandstats\r\ncmdstat_get:calls=7,usec=1,usec_per_call=1.00\r\n\
                    cmdstat_memory|usage:calls=900,usec=1\r\ncmdstat_dump:calls=900,usec=1\r\n\
                    cmdstat_hset:calls=5,usec=1\r\n";
        assert_eq!(served(&Info::new(info)), 12);
        assert_eq!(served(&Info::new("")), 0);
    }
}
