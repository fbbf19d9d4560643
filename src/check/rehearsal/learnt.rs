//! What has been heard of clients, counted by gap.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use xxhash_rust::xxh3::xxh3_64;

use super::counted::{Counted, Millis, Times};
use super::gaps::{Gaps, Why};
use super::slot::slot;
use crate::engine::pattern;
use crate::protocol::command::{Command, lookup};
use crate::protocol::resp::{Request, parse_integer};
use crate::status;

/// Things of one kind that are told apart.
const MOST: usize = 500;
/// What stands for the patterns beyond them.
const OTHERS: &str = "(others)";
/// Scripts that are remembered.
const SCRIPTS: usize = 1000;
/// Lines of a refusal; of the others only the number is said.
const NAMED: usize = 5;
/// Patterns in one of them.
const PATTERNS: usize = 3;

/// A command of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) user: &'a str,
    /// `None`: only the server knows it.
    pub(crate) command: Option<&'static Command>,
    pub(crate) request: &'a Request,
    pub(crate) at: Millis,
}

/// What the servers are to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Questions {
    /// Commands that the table does not know, in capitals.
    pub(crate) names: BTreeSet<String>,
    /// Databases that clients are in.
    pub(crate) databases: BTreeSet<u32>,
    /// Digests of scripts that were run by them.
    pub(crate) scripts: BTreeSet<String>,
}

/// A command in a gap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    command: String,
    why: Why,
    user: String,
    pattern: String,
}

#[derive(Debug)]
pub(super) struct Learnt {
    pub(super) gaps: Gaps,
    uses: Counted<Use>,
    crossings: Counted<(&'static str, String)>,
    databases: Counted<u32>,
    /// By digest.
    scripts: Counted<String>,
    /// Commands that the table does not know, by name and pattern.
    unknown: Counted<String>,
    /// What scripts call that only the source knows, by digest.
    calls: BTreeMap<String, Vec<String>>,
    /// The digests of texts that were looked at, by a hash that is cheaper.
    digests: HashMap<u64, String>,
}

impl Default for Learnt {
    fn default() -> Self {
        Self {
            gaps: Gaps::default(),
            uses: Counted::up_to(MOST),
            crossings: Counted::up_to(MOST),
            databases: Counted::up_to(MOST),
            scripts: Counted::up_to(SCRIPTS),
            unknown: Counted::up_to(MOST),
            calls: BTreeMap::new(),
            digests: HashMap::new(),
        }
    }
}

impl Learnt {
    pub(super) fn hear(&mut self, heard: &Heard<'_>) {
        let Heard { request, at, .. } = *heard;
        let Some(command) = heard.command else {
            self.unknown.add(in_capitals(request.name()), at);
            return;
        };
        match command.name {
            "SELECT" => {
                let db = request.arg(1).and_then(parse_integer).and_then(|db| db.try_into().ok());
                if let Some(db) = db {
                    self.hear_database(db, at);
                }
            }
            "EVALSHA" | "EVALSHA_RO" => self.hear_script(request.arg(1), at),
            "EVAL" | "EVAL_RO" => self.hear_body(request.arg(1), at),
            "SCRIPT LOAD" => self.hear_body(request.arg(2), at),
            _ => {}
        }
        if let Some(why) = self.gaps.why(heard.user, command, request) {
            self.hear_use(heard, command, why);
        }
        if self.gaps.is_cluster {
            self.hear_keys(command, request, at);
        }
    }

    pub(super) fn tell(&mut self, request: &Request, count: u64) {
        let Some(command) = lookup(request) else {
            self.unknown.add_many(in_capitals(request.name()), count, 0);
            return;
        };
        if let Some(why) = self.gaps.why("default", command, request) {
            let (command, user, pattern) = (command.name.to_owned(), String::new(), String::new());
            self.uses.add_many(Use { command, why, user, pattern }, count, 0);
        }
    }

    fn hear_use(&mut self, heard: &Heard<'_>, command: &Command, why: Why) {
        // Who it is matters only where another one may do it.
        let is_personal = matches!(why, Why::Forbidden | Why::Key);
        let user = if is_personal { heard.user } else { "" };
        let used = |pattern: String| Use {
            command: command.name.to_owned(),
            why,
            user: user.to_owned(),
            pattern,
        };
        let pattern = pattern_of(command, heard.request);
        self.uses.add_or(used(pattern), || used(OTHERS.to_owned()), heard.at);
    }

    /// Keys in several slots.
    fn hear_keys(&mut self, command: &'static Command, request: &Request, at: Millis) {
        let keys = command.keys(request).unwrap_or_default();
        let mut slots = keys.iter().filter_map(|key| request.arg(key.index)).map(slot);
        let first = slots.next();
        if slots.any(|slot| Some(slot) != first) {
            let pattern = pattern_of(command, request);
            let others = || (command.name, OTHERS.to_owned());
            self.crossings.add_or((command.name, pattern), others, at);
        }
    }

    pub(super) fn hear_database(&mut self, db: u32, at: Millis) {
        self.databases.add(db, at);
    }

    pub(super) fn stays_in_database(&mut self, db: u32, at: Millis) {
        self.databases.renew(db, at);
    }

    fn hear_script(&mut self, digest: Option<&[u8]>, at: Millis) {
        let digest = String::from_utf8_lossy(digest.unwrap_or_default()).to_ascii_lowercase();
        if digest.len() == 40 {
            self.scripts.add(digest, at);
        }
    }

    fn hear_body(&mut self, body: Option<&[u8]>, at: Millis) {
        let Some(body) = body else { return };
        let hash = xxh3_64(body);
        if !self.digests.contains_key(&hash) && self.digests.len() < SCRIPTS {
            let digest = sha1(body);
            let calls = self.gaps.lacking_calls(body);
            if !calls.is_empty() {
                self.calls.insert(digest.clone(), calls);
            }
            self.digests.insert(hash, digest);
        }
        let called = self.digests.get(&hash).filter(|digest| self.calls.contains_key(*digest));
        if let Some(digest) = called.cloned() {
            self.scripts.add(digest, at);
        }
    }

    pub(super) fn questions(&self) -> Questions {
        Questions {
            names: self.unknown.iter().map(|(name, _)| name.clone()).collect(),
            databases: self.databases.iter().map(|(db, _)| *db).collect(),
            scripts: self.scripts.iter().map(|(digest, _)| digest.clone()).collect(),
        }
    }

    /// Commands in a gap that is still one.
    fn uses(&self) -> impl Iterator<Item = (Use, Times)> {
        let gaps = &self.gaps;
        let known = self.uses.iter().map(|(used, times)| (used.clone(), times));
        let unknown = self.unknown.iter().map(|(name, times)| {
            let (user, pattern) = Default::default();
            (Use { command: name.clone(), why: Why::Unknown, user, pattern }, times)
        });
        let open = |(used, _): &(Use, _)| gaps.still(&used.user, &used.command, used.why);
        known.chain(unknown).filter(open)
    }

    fn databases(&self) -> impl Iterator<Item = (u32, Times)> {
        let lacking = |(db, _): &(&u32, Times)| self.gaps.databases.contains(db);
        self.databases.iter().filter(lacking).map(|(db, times)| (*db, times))
    }

    /// Scripts that would fail on the target, and why.
    fn scripts(&self) -> impl Iterator<Item = (&String, String, Times)> {
        self.scripts.iter().filter_map(|(digest, times)| {
            let calls = self.calls.get(digest).into_iter().flatten();
            let open = |name: &&String| self.gaps.still("", name, Why::Unknown);
            let lacking: Vec<&str> = calls.filter(open).map(String::as_str).collect();
            if !lacking.is_empty() {
                let why =
                    format!("it calls {}, which the target does not know", lacking.join(", "));
                return Some((digest, why, times));
            }
            let is_missing = self.gaps.scripts.contains(digest);
            is_missing.then(|| (digest, "the target does not have it loaded".to_owned(), times))
        })
    }

    pub(super) fn show(&self, now: Millis, unix: f64) -> status::Rehearsal {
        let last = |times: Times| unix - now.saturating_sub(times.last) as f64 / 1000.0;
        let commands = self.uses().map(|(used, times)| status::Refused {
            command: used.command,
            why: used.why.to_string(),
            user: used.user,
            pattern: used.pattern,
            count: times.count,
            last: last(times),
        });
        let crossslot = self.crossings.iter().map(|((command, pattern), times)| status::Crossing {
            command: (*command).to_owned(),
            pattern: pattern.clone(),
            count: times.count,
            last: last(times),
        });
        let databases = self.databases().map(|(db, times)| status::MissingDatabase {
            db,
            count: times.count,
            last: last(times),
        });
        let scripts = self.scripts().map(|(script, why, times)| status::FailingScript {
            script: script.clone(),
            why,
            count: times.count,
            last: last(times),
        });
        let users = self.gaps.users.iter();
        let users =
            users.map(|(user, why)| status::LesserUser { user: user.clone(), why: why.clone() });
        status::Rehearsal {
            commands: commands.collect(),
            crossslot: crossslot.collect(),
            databases: databases.collect(),
            users: users.collect(),
            scripts: scripts.collect(),
            big: Vec::new(),
        }
    }

    /// What was heard since then and is in a gap, a line each. They don't change while nothing new is
    /// heard, so that who is told of blockers is told once.
    pub(super) fn blockers(&self, since: Millis) -> Vec<String> {
        let young = |times: &Times| times.last >= since;
        let mut commands: BTreeMap<(String, Why, String), BTreeSet<String>> = BTreeMap::new();
        for (used, _) in self.uses().filter(|(_, times)| young(times)) {
            let patterns = commands.entry((used.command, used.why, used.user)).or_default();
            patterns.insert(used.pattern);
        }
        let mut lines: Vec<String> = commands
            .iter()
            .map(|((command, why, user), patterns)| {
                format!("{} {command}{}: {why}", whose(user), like(patterns))
            })
            .collect();
        let crossings = self.crossings.iter().filter(|(_, times)| young(times));
        lines.extend(crossings.map(|((command, pattern), _)| {
            format!("clients use {command} on keys like '{pattern}' of several slots: CROSSSLOT")
        }));
        let databases = self.databases().filter(|(_, times)| young(times));
        lines.extend(databases.map(|(db, _)| {
            format!("clients select database {db}: the target has none of that number")
        }));
        let scripts = self.scripts().filter(|(.., times)| young(times));
        lines.extend(
            scripts.map(|(script, why, _)| format!("clients run the script {script}: {why}")),
        );
        let more = lines.len().saturating_sub(NAMED);
        lines.truncate(NAMED);
        if more > 0 {
            lines.push(format!(
                "{more} more things that clients do would fail on the target: see the rehearsal"
            ));
        }
        lines
    }
}

fn whose(user: &str) -> String {
    if user.is_empty() { "clients use".to_owned() } else { format!("the user '{user}' uses") }
}

/// Some of the patterns, in parentheses.
fn like(patterns: &BTreeSet<String>) -> String {
    let named: Vec<String> = patterns
        .iter()
        .filter(|name| !name.is_empty())
        .take(PATTERNS)
        .map(|name| format!("'{name}'"))
        .collect();
    if named.is_empty() { String::new() } else { format!(" on keys like {}", named.join(", ")) }
}

/// What the first key has in common with its like; empty where there is none.
fn pattern_of(command: &Command, request: &Request) -> String {
    let keys = command.keys(request).unwrap_or_default();
    let first = keys.first().and_then(|key| request.arg(key.index));
    first.map(pattern).unwrap_or_default()
}

fn in_capitals(name: &[u8]) -> String {
    name.escape_ascii().take(64).map(char::from).collect::<String>().to_ascii_uppercase()
}

/// The name of a script, as `SCRIPT LOAD` answers it.
pub(crate) fn sha1(body: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in digest(&SHA1_FOR_LEGACY_USE_ONLY, body).as_ref() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
