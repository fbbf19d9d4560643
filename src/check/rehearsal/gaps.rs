//! What the source takes of clients and the target does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::options;
use super::scripts::calls;
use super::users::User;
use crate::protocol::capability::{Capabilities, Since};
use crate::protocol::command::{self, Command, Connection, Serve};
use crate::protocol::resp::Request;

/// What one server knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) capabilities: Capabilities,
    /// Names that it was asked about and has not, in capitals; `None` where it may not be asked.
    pub(crate) lacking: Option<BTreeSet<String>>,
}

impl Known {
    /// By kind and version alone.
    pub(crate) fn by_version(capabilities: Capabilities) -> Self {
        Self { capabilities, lacking: None }
    }

    /// Whether it knows a command; `since` where the table does.
    pub(crate) fn has(&self, name: &str, since: Option<Since>) -> bool {
        let by_version = since.is_none_or(|since| self.capabilities.knows(since));
        match &self.lacking {
            None => by_version,
            // Before 7.0 nobody can be asked for a subcommand.
            Some(lacking) if name.contains(' ') && !self.tells_subcommands() => {
                by_version && !lacking.contains(name.split(' ').next().unwrap_or(name))
            }
            Some(lacking) => !lacking.contains(name),
        }
    }

    /// Whether it can be asked for a subcommand.
    pub(crate) fn tells_subcommands(&self) -> bool {
        self.capabilities.since_redis(7, 0)
    }
}

/// Why the target refuses what the source takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    Unknown,
    Option(&'static str),
    /// The user may not run it.
    Forbidden,
    /// The user may not use such keys.
    Key,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the target does not know it"),
            Self::Option(option) => write!(f, "the target does not know its option {option}"),
            Self::Forbidden => f.write_str("this user may not run it on the target"),
            Self::Key => f.write_str("this user may not use such keys on the target"),
        }
    }
}

/// The rights of one who logs in with the same name on both sides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    /// Commands that only the source's may run, as the table names them.
    pub(crate) forbidden: BTreeSet<&'static str>,
    /// Both, where the target's may use fewer keys, or others.
    pub(crate) keys: Option<(User, User)>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaps {
    pub(crate) source: Known,
    pub(crate) target: Known,
    /// By the name of the user.
    pub(crate) rights: BTreeMap<String, Rights>,
    /// Databases that only the source has, by its numbers.
    pub(crate) databases: BTreeSet<u32>,
    /// Digests of scripts that only the source has.
    pub(crate) scripts: BTreeSet<String>,
    /// What is wrong with users, by name.
    pub(crate) users: BTreeMap<String, String>,
    /// The line that makes each of them on the target, with digests of passwords: for who asks both
    /// servers, not for the status.
    pub(crate) lines: BTreeMap<String, String>,
    /// Whether the target refuses commands whose keys lie in several slots.
    pub(crate) is_cluster: bool,
    /// Whether commands of administration pass.
    pub(crate) allow_admin: bool,
}

impl Gaps {
    /// By kinds and versions alone, until the servers have been asked.
    pub(crate) fn between(source: Capabilities, target: Capabilities) -> Self {
        let (source, target) = (Known::by_version(source), Known::by_version(target));
        Self { source, target, ..Self::default() }
    }

    /// The commands of the table that may fall into one.
    pub(super) fn suspects(&self) -> impl Iterator<Item = &'static Command> {
        let lacks_some = command::table().iter().any(|command| self.lacks(command));
        command::table()
            .iter()
            .filter(move |command| self.may_refuse(command) || lacks_some && brings_script(command))
    }

    fn may_refuse(&self, command: &Command) -> bool {
        let (source, target) = (&self.source.capabilities, &self.target.capabilities);
        matches!(command.name, "SELECT" | "EVALSHA" | "EVALSHA_RO")
            || self.lacks(command)
            || is_served(command.serve, self.allow_admin)
                && options::may_lack(command.name, source, target)
            || self.rights.values().any(|rights| {
                rights.forbidden.contains(command.name)
                    || rights.keys.is_some() && command.takes_keys()
            })
            || self.is_cluster && command.takes_several_keys()
    }

    /// Whether only the source knows a command.
    pub(super) fn lacks(&self, command: &Command) -> bool {
        is_served(command.serve, self.allow_admin)
            && self.lacks_name(command.name, Some(command.since))
    }

    /// The same of one that the table does not know.
    pub(super) fn lacks_name(&self, name: &str, since: Option<Since>) -> bool {
        self.source.has(name, since) && !self.target.has(name, since)
    }

    /// What a script calls, as far as its text says, that only the source knows.
    pub(super) fn lacking_calls(&self, body: &[u8]) -> Vec<String> {
        calls(body).iter().filter_map(|call| self.lacking_call(call)).collect()
    }

    fn lacking_call(&self, call: &[String]) -> Option<String> {
        let known = command::lookup(&Request::new(call));
        let name = known.map_or(call.first()?.as_str(), |command| command.name);
        let lacks = self.lacks_name(name, known.map(|command| command.since));
        lacks.then(|| name.to_owned())
    }

    /// Why the target would refuse a request of this user that the source takes.
    pub(super) fn why(&self, user: &str, command: &Command, request: &Request) -> Option<Why> {
        if self.lacks(command) {
            return Some(Why::Unknown);
        }
        let rights = self.rights.get(user);
        if rights.is_some_and(|rights| rights.forbidden.contains(command.name)) {
            return Some(Why::Forbidden);
        }
        if rights.is_some_and(|rights| rights.keeps_off(command, request)) {
            return Some(Why::Key);
        }
        let (source, target) = (&self.source.capabilities, &self.target.capabilities);
        options::lacking(command.name, request, source, target).map(Why::Option)
    }

    /// Whether what was found then is still one.
    pub(super) fn still(&self, user: &str, name: &str, why: Why) -> bool {
        let rights = self.rights.get(user);
        match why {
            Why::Unknown => {
                let known = command::lookup(&Request::new(name.split(' ')));
                self.lacks_name(name, known.map(|command| command.since))
            }
            Why::Forbidden => rights.is_some_and(|rights| rights.forbidden.contains(name)),
            Why::Key => rights.is_some_and(|rights| rights.keys.is_some()),
            Why::Option(_) => {
                options::may_lack(name, &self.source.capabilities, &self.target.capabilities)
            }
        }
    }
}

impl Rights {
    fn keeps_off(&self, command: &Command, request: &Request) -> bool {
        let Some((source, target)) = &self.keys else { return false };
        let keys = command.keys(request).unwrap_or_default();
        let names = keys.iter().filter_map(|key| request.arg(key.index));
        names.into_iter().any(|key| source.reaches(key) && !target.reaches(key))
    }
}

/// Whether a server answers it. The others are the proxy's own, or refused wherever clients are.
pub(crate) fn is_served(serve: Serve, allow_admin: bool) -> bool {
    match serve {
        Serve::Refused(_) => false,
        Serve::Admin => allow_admin,
        Serve::Connection(kind) => {
            !matches!(kind, Connection::Auth | Connection::Reset | Connection::Quit)
        }
        _ => true,
    }
}

/// Whether it carries the text of a script.
fn brings_script(command: &Command) -> bool {
    matches!(command.name, "EVAL" | "EVAL_RO" | "SCRIPT LOAD")
}
