//! Whether our user may do what a migration needs.
//!
//! Each command is tried in a form that changes nothing: on a key that does not exist, or with
//! arguments that are refused after the permission was checked. That works on every version, and
//! needs no right to read access lists.

use bytes::Bytes;
use redis::{Cmd, RedisError, Value};

use crate::protocol::capability::Capabilities;
use crate::server::{Answer, Connection, words};
use crate::value::{ReadError, probe_key};

/// What was refused, in the words of an access rule (`dump`, `memory|usage`), and how it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The command.
    pub(super) rule: String,
    /// The server's error.
    pub(super) error: String,
    /// Whether a migration can do without it.
    pub(super) optional: bool,
}

/// Whether a migration can do without a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Must,
    May,
}
use Need::{May, Must};

/// A trial: `KEY` stands for a key that does not exist. Commands with subcommands are written with
/// a bar, as access rules are.
type Trial = (Need, &'static str);

const SOURCE: &[Trial] = &[
    (Must, "scan 0 COUNT 1"),
    (Must, "dump KEY"),
    (Must, "pttl KEY"),
    (Must, "type KEY"),
    (Must, "exists KEY"),
    (Must, "info server"),
    (Must, "time"),
    (May, "object|idletime KEY"),
    (May, "object|freq KEY"),
    (May, "memory|usage KEY"),
    (May, "client|list TYPE replica"),
    (May, "command|count"),
    (May, "getrange KEY 0 0"),
    (May, "lrange KEY 0 0"),
    (May, "sscan KEY 0"),
    (May, "zscan KEY 0"),
    (May, "hscan KEY 0"),
    (May, "xrange KEY - + COUNT 1"),
];

const TARGET: &[Trial] = &[
    // Refused for its payload once it is permitted.
    (Must, "restore KEY 0 x"),
    (Must, "del KEY"),
    (Must, "set KEY x XX"),
    (Must, "pexpireat KEY 1"),
    (Must, "persist KEY"),
    (Must, "rename KEY KEY"),
    (Must, "exists KEY"),
    (Must, "pttl KEY"),
    (Must, "dump KEY"),
    (Must, "scan 0 COUNT 1"),
    (Must, "type KEY"),
    (Must, "info server"),
    (Must, "time"),
    (May, "memory|usage KEY"),
];

pub(super) async fn of_source(
    server: &Capabilities,
    connection: &mut Connection,
) -> Result<Vec<Refusal>, ReadError> {
    of(SOURCE, server, connection).await
}

pub(super) async fn of_target(
    server: &Capabilities,
    connection: &mut Connection,
) -> Result<Vec<Refusal>, ReadError> {
    of(TARGET, server, connection).await
}

async fn of(
    trials: &[Trial],
    server: &Capabilities,
    connection: &mut Connection,
) -> Result<Vec<Refusal>, ReadError> {
    let absolute = (Must, "pexpiretime KEY");
    let newer = server.tells_absolute_expiry().then_some(&absolute);
    let key = probe_key();
    let mut refusals = Vec::new();
    for (need, trial) in trials.iter().chain(newer) {
        let answer: Answer<Value> = connection.query(&question(trial, &key)).await?;
        let rule = trial.split(' ').next().unwrap_or_default().to_owned();
        let optional = *need == May;
        let refusal = answer.err().as_ref().and_then(refusal);
        refusals.extend(refusal.map(|error| Refusal { rule, error, optional }));
    }
    Ok(refusals)
}

fn question(trial: &str, key: &Bytes) -> Cmd {
    let mut question = Cmd::new();
    for word in trial.split([' ', '|']) {
        question.arg(if word == "KEY" { key.as_ref() } else { word.as_bytes() });
    }
    question
}

/// The error, when it says that the command is not for us; all others come after the permission.
fn refusal(error: &RedisError) -> Option<String> {
    let text = words(error);
    let refused = text.starts_with("NOPERM") || text.starts_with("ERR unknown command");
    refused.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_permission_counts_as_refused() {
        let refused = |text: &str| {
            let value = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
            refusal(&value.extract_error().unwrap_err())
        };
        for text in ["NOPERM this user has no permissions", "ERR unknown command 'dump'"] {
            assert_eq!(refused(text).as_deref(), Some(text));
        }
        assert_eq!(refused("ERR no such key"), None);
    }

    #[test]
    fn a_trial_is_asked_about_the_scratch_key() {
        let question = question("memory|usage KEY", &Bytes::from_static(b"k"));
        let asked = b"*3\r\n$6\r\nmemory\r\n$5\r\nusage\r\n$1\r\nk\r\n";
        assert_eq!(question.get_packed_command(), asked);
    }
}
