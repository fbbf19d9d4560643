//! `crossfade observe`: what a migration will meet, before anything stands in the path.
//!
//! *What it is:* what `check` finds, and beside it what the source's statistics, its slow log, a sample
//! of its keys, its users and (when asked) its `MONITOR` tell of the applications, held against what
//! the target takes.
//!
//! *Guarantees:* neither server is changed, but for the scratch key of `check`. The sample and the time
//! of `MONITOR` are bounded, and the server rests between the steps of the sample. Keys are told by what
//! their names have in common; of passwords, only the digests that `ACL LIST` shows.
//!
//! *Must not know:* arguments, exit codes.

mod monitor;
mod sample;
mod statistics;
mod view;

use std::time::Duration;

use serde::Serialize;

use super::asking::{self, Lost, Pair, Scope};
use super::facts::{self, Facts};
use super::finding::{Finding, Level};
use super::rehearsal::{Questions, Rehearsal};
use crate::failure::ServerError as Error;
use crate::server::Connection;
use crate::status;
use crate::value::ReadError;

use monitor::Monitor;
pub(crate) use monitor::Monitored;
use sample::Sample;
use statistics::{Refused, Slow, Used};

/// What has been found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Observation {
    /// Whether nothing stands in the way, and nothing that was seen would fail on the target.
    pub(crate) ready: bool,
    /// When, in Unix seconds.
    at: f64,
    source: Server,
    target: Server,
    /// What `check` says.
    findings: Vec<Finding>,
    /// What would fail on the target.
    rehearsal: status::Rehearsal,
    databases: Vec<Database>,
    users: Vec<User>,
    functions: Vec<String>,
    modules: Vec<String>,
    /// Commands in use that crossfade does not pass.
    refused: Vec<Refused>,
    /// Commands in use that wait for data.
    blocking: Vec<Used>,
    slow: Vec<Slow>,
    sample: Sample,
    estimate: Estimate,
    monitored: Option<Monitored>,
}

/// One of the two.
#[derive(Debug, Default, Serialize)]
struct Server {
    address: String,
    kind: String,
    version: String,
    used_memory: u64,
    maxmemory: u64,
    maxmemory_policy: String,
    blocked_clients: u64,
    connected_clients: u64,
}

/// A database that holds keys, or that clients are in.
#[derive(Debug, Serialize)]
struct Database {
    db: u32,
    keys: u64,
    on_target: bool,
}

/// A user whom the target lacks, and the line that makes it there.
#[derive(Debug, Serialize)]
struct User {
    #[serde(rename = "user")]
    name: String,
    why: String,
    line: String,
}

/// How long the copy may take.
#[derive(Debug, Default, Serialize)]
struct Estimate {
    keys: u64,
    /// Read in the sample; none where there were too few keys to tell.
    keys_per_second: Option<f64>,
    seconds: Option<f64>,
}

/// Looks at both servers, and for `monitor` at what passes through the source.
///
/// # Errors
/// One of the servers can't be reached or refuses the credentials.
pub(crate) async fn run(
    options: super::Options,
    monitor: Option<Duration>,
    at: f64,
) -> Result<Observation, Error> {
    let mut source = super::connect(&options.source).await.map_err(Error::Source)?;
    let mut target = super::connect(&options.target).await.map_err(Error::Target)?;
    // First, so that what is asked from here on is not among it.
    let here = facts::gather(&mut source).await.map_err(at_source)?;
    let there = facts::gather(&mut target).await.map_err(at_target)?;
    let rehearsal = Rehearsal::default();
    rehearsal.expect(ask(&mut source, &mut target, &options, Questions::default()).await?);
    rehearsal.tell(&statistics::used(&here.calls));
    let monitored = match monitor {
        Some(time) => Some(Monitor::run(&options.source, time, &rehearsal).await?),
        None => None,
    };
    for (db, _) in here.info.keyspace() {
        rehearsal.stays_in_database(db, 0);
    }
    let questions = rehearsal.questions();
    let gaps = ask(&mut source, &mut target, &options, questions.clone()).await?;
    let databases = databases(&here, &questions, &gaps.databases);
    let users = users(&gaps);
    rehearsal.expect(gaps);
    let sample = sample::take(&mut source, &here.info.keyspace()).await.map_err(at_source)?;
    let slow = statistics::slow(&mut source).await.map_err(at_source)?;
    let report = super::run(options.clone()).await?;
    let mut rehearsed = rehearsal.show(0, 0.0);
    rehearsed.big.clone_from(&sample.big);
    rehearsed.scripts.extend(failing_libraries(&here, &rehearsal));
    let findings: Vec<Finding> = report.findings.into_iter().filter(is_told_here_alone).collect();
    Ok(Observation {
        ready: !rehearsed.fails() && findings.iter().all(|finding| finding.level < Level::Blocker),
        at,
        source: server(options.source.address(), &here),
        target: server(options.target.address(), &there),
        findings,
        rehearsal: rehearsed,
        databases,
        users,
        functions: here.libraries.iter().map(|library| library.name.clone()).collect(),
        refused: statistics::refused(&here.calls),
        blocking: statistics::blocking(&here.calls),
        slow,
        estimate: estimate(&here, &sample),
        sample,
        monitored,
        modules: here.modules,
    })
}

/// What the report has in a place of its own.
fn is_told_here_alone(finding: &Finding) -> bool {
    !matches!(finding.topic, "commands" | "users")
}

async fn ask(
    source: &mut Connection,
    target: &mut Connection,
    options: &super::Options,
    questions: Questions,
) -> Result<super::rehearsal::Gaps, Error> {
    let scope = Scope { questions, databases: &options.databases, allow_admin: false };
    asking::gaps(Pair { source, target }, &scope).await.map_err(|lost| match lost {
        Lost::Source(broken) => at_source(broken.into()),
        Lost::Target(broken) => at_target(broken.into()),
    })
}

fn at_source(error: ReadError) -> Error {
    Error::Source(error.into())
}

fn at_target(error: ReadError) -> Error {
    Error::Target(error.into())
}

fn server(address: String, facts: &Facts) -> Server {
    Server {
        address,
        kind: format!("{:?}", facts.capabilities.family),
        version: facts.version.clone(),
        used_memory: facts.info.number("used_memory"),
        maxmemory: facts.info.number("maxmemory"),
        maxmemory_policy: facts.info.text("maxmemory_policy").to_owned(),
        blocked_clients: facts.info.number("blocked_clients"),
        connected_clients: facts.info.number("connected_clients"),
    }
}

fn databases(
    here: &Facts,
    questions: &Questions,
    missing: &std::collections::BTreeSet<u32>,
) -> Vec<Database> {
    let keyspace = here.info.keyspace();
    let keys = |db: u32| keyspace.iter().find(|(held, _)| *held == db).map_or(0, |(_, keys)| *keys);
    let all = questions.databases.iter();
    all.map(|db| Database { db: *db, keys: keys(*db), on_target: !missing.contains(db) }).collect()
}

fn users(gaps: &super::rehearsal::Gaps) -> Vec<User> {
    let line = |user: &String| gaps.lines.get(user).cloned().unwrap_or_default();
    let lesser = gaps.users.iter();
    lesser
        .map(|(user, why)| User { name: user.clone(), why: why.clone(), line: line(user) })
        .collect()
}

/// Libraries that call what the target does not know.
fn failing_libraries(here: &Facts, rehearsal: &Rehearsal) -> Vec<status::FailingScript> {
    let failing = here.libraries.iter().filter_map(|library| {
        let calls = rehearsal.lacking_calls(&library.code)?;
        let why = format!("it calls {calls}, which the target does not know");
        Some(status::FailingScript { script: library.name.clone(), why, ..Default::default() })
    });
    failing.collect()
}

fn estimate(here: &Facts, sample: &Sample) -> Estimate {
    let keys = here.info.keyspace().into_iter().map(|(_, keys)| keys).sum();
    let seconds = sample.keys_per_second.map(|rate| keys as f64 / rate);
    Estimate { keys, keys_per_second: sample.keys_per_second, seconds }
}

impl Observation {
    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        view::text(self)
    }

    /// A page that a browser shows and prints.
    pub(crate) fn html(&self) -> String {
        view::html(self)
    }
}
