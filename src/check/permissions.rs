//! Whether our user may do what a migration needs.
//!
//! Each command is tried in a form that changes nothing: on a key that does not exist, or with
//! arguments that are refused after the permission was checked. That works on every version, and
//! needs no right to read access lists.

use bytes::Bytes;

use crate::backend::Connection;
use crate::capability::Capabilities;
use crate::own_keys::probe_key;
use crate::resp::{Reply, Request};
use crate::value::ReadError;

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
        let reply = connection.ask(&request(trial, &key)).await?;
        let rule = trial.split(' ').next().unwrap_or_default().to_owned();
        let optional = *need == May;
        refusals.extend(refusal(&reply).map(|error| Refusal { rule, error, optional }));
    }
    Ok(refusals)
}

fn request(trial: &str, key: &Bytes) -> Request {
    let words = trial.split([' ', '|']).map(|word| match word {
        "KEY" => key.as_ref(),
        word => word.as_bytes(),
    });
    Request::new(words)
}

/// The error, when it says that the command is not for us; all others come after the permission.
fn refusal(reply: &Reply) -> Option<String> {
    let Reply::Error(text) = reply else { return None };
    let refused = text.starts_with(b"NOPERM") || text.starts_with(b"ERR unknown command");
    refused.then(|| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_permission_counts_as_refused() {
        let error = |text: &'static str| Reply::Error(Bytes::from_static(text.as_bytes()));
        assert!(refusal(&error("NOPERM this user has no permissions")).is_some());
        assert!(refusal(&error("ERR unknown command 'dump'")).is_some());
        assert!(refusal(&error("ERR no such key")).is_none());
        assert!(refusal(&Reply::Null).is_none());
    }

    #[test]
    fn a_trial_is_asked_about_the_scratch_key() {
        let request = request("memory|usage KEY", &Bytes::from_static(b"k"));
        assert_eq!(request.args().collect::<Vec<_>>(), [b"memory".as_ref(), b"usage", b"k"]);
    }
}
