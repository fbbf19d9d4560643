//! What a server has counted of its clients' commands.

use redis::{Value, cmd};
use serde::Serialize;

use crate::engine::pattern;
use crate::protocol::command::{self, Command, Serve};
use crate::protocol::resp::Request;
use crate::server::{Answer, Connection, Info};
use crate::value::ReadError;

/// How often a command was used.
#[derive(Debug, Serialize)]
pub(super) struct Used {
    pub(super) command: String,
    pub(super) count: u64,
}

/// What crossfade itself asks of servers, so that a count of it says nothing of clients.
const OURS: [&str; 14] = [
    "acl",
    "client",
    "command",
    "function",
    "hpexpiretime",
    "httl",
    "info",
    "latency",
    "memory",
    "module",
    "object",
    "pexpiretime",
    "script",
    "slowlog",
];
/// What replicas send.
const REPLICAS: [&str; 4] = ["psync", "sync", "replconf", "replicaof"];
/// Entries of the slow log.
const SLOW: usize = 128;
/// Lines of it.
const NAMED: usize = 10;

/// A command that crossfade does not pass.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    pub(super) command: String,
    pub(super) why: String,
    pub(super) count: u64,
}

/// Commands of the slow log that are alike.
#[derive(Debug, Serialize)]
pub(super) struct Slow {
    pub(super) command: String,
    pub(super) pattern: String,
    pub(super) count: u64,
    /// The slowest.
    pub(super) microseconds: u64,
}

/// What was called by clients, as requests without arguments, and how often.
pub(super) fn used(calls: &Info) -> Vec<(Request, u64)> {
    let called = calls.calls().filter(|called| called.calls > 0);
    let clients = called.filter(|called| {
        let name = called.command.split('|').next().unwrap_or_default();
        !OURS.contains(&name) && !REPLICAS.contains(&name)
    });
    clients.map(|called| (Request::new(called.command.split('|')), called.calls)).collect()
}

/// Those that the table refuses.
pub(super) fn refused(calls: &Info) -> Vec<Refused> {
    let known = used(calls).into_iter().filter_map(|(request, count)| {
        let command = command::lookup(&request)?;
        let why = refusal(command)?;
        Some(Refused { command: command.name.to_owned(), why, count })
    });
    known.collect()
}

/// Why the proxy does not pass it, if it does not.
pub(super) fn refusal(command: &Command) -> Option<String> {
    match command.serve {
        Serve::Refused(reason) => Some(reason.to_owned()),
        Serve::Admin => Some("passes only with --allow-admin".to_owned()),
        _ => None,
    }
}

/// Those that wait for data.
pub(super) fn blocking(calls: &Info) -> Vec<Used> {
    let waits = |request: &Request| {
        let command = command::lookup(request)?;
        (command.serve == Serve::Blocking).then(|| command.name.to_owned())
    };
    let all = used(calls).into_iter();
    all.filter_map(|(request, count)| Some(Used { command: waits(&request)?, count })).collect()
}

/// What took longest, by command and by what the keys have in common.
pub(super) async fn slow(server: &mut Connection) -> Result<Vec<Slow>, ReadError> {
    let answer: Answer<Vec<Vec<Value>>> = server.query(cmd("SLOWLOG").arg("GET").arg(SLOW)).await?;
    let mut slow: Vec<Slow> = Vec::new();
    for entry in answer.unwrap_or_default() {
        let Some((request, microseconds)) = entry_of(entry) else { continue };
        let (name, like) = name_of(&request);
        match slow.iter_mut().find(|slow| (&slow.command, &slow.pattern) == (&name, &like)) {
            Some(known) => {
                known.count += 1;
                known.microseconds = known.microseconds.max(microseconds);
            }
            None => slow.push(Slow { command: name, pattern: like, count: 1, microseconds }),
        }
    }
    slow.sort_by_key(|slow| std::cmp::Reverse(slow.microseconds));
    slow.truncate(NAMED);
    Ok(slow)
}

/// The command and how long it took.
fn entry_of(entry: Vec<Value>) -> Option<(Request, u64)> {
    let mut fields = entry.into_iter().skip(2);
    let microseconds = redis::from_redis_value(fields.next()?).ok()?;
    let args: Vec<Vec<u8>> = redis::from_redis_value(fields.next()?).ok()?;
    Some((Request::new(args), microseconds))
}

/// A command's name, and what its first key has in common with its like.
fn name_of(request: &Request) -> (String, String) {
    let Some(command) = command::lookup(request) else {
        return (String::from_utf8_lossy(request.name()).to_ascii_uppercase(), String::new());
    };
    let keys = command.keys(request).unwrap_or_default();
    let first = keys.first().and_then(|key| request.arg(key.index));
    (command.name.to_owned(), first.map(pattern).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> Info {
        Info::new(
            "cmdstat_get:calls=7,usec=1\r\ncmdstat_blpop:calls=2,usec=1\r\n\
             cmdstat_debug:calls=1,usec=1\r\ncmdstat_config|set:calls=3,usec=1\r\n\
             cmdstat_replconf:calls=900,usec=1\r\ncmdstat_command|info:calls=3,usec=1\r\n\
             cmdstat_lmpop:calls=0,usec=0,rejected_calls=1\r\n",
        )
    }

    #[test]
    fn what_replicas_and_we_ask_is_not_clients() {
        let mut names: Vec<String> = used(&info())
            .iter()
            .map(|(request, _)| String::from_utf8_lossy(request.name()).into_owned())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["blpop", "config", "debug", "get"]);
    }

    #[test]
    fn what_the_proxy_refuses_and_what_waits_is_told() {
        let mut refused: Vec<String> =
            refused(&info()).into_iter().map(|refused| refused.command).collect();
        refused.sort_unstable();
        assert_eq!(refused, ["CONFIG SET", "DEBUG"]);
        let blocking = blocking(&info());
        assert_eq!((blocking[0].command.as_str(), blocking[0].count), ("BLPOP", 2));
    }
}
