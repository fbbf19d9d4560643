//! What a running migration says of itself: the object behind `GET /v1/status`.
//!
//! *What it is:* plain data, written by the engine, carried as JSON by the admin API, and read back
//! by the command line.
//!
//! *Guarantees:* the names are a promise to scripts and dashboards: fields are added, never
//! renamed. An object from another version, with fields more or less, is still read.
//!
//! *Must not know:* who fills it in, or how it is shown.

mod rehearsal;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use rehearsal::{
    Big, Crossing, FailingScript, LesserUser, MissingDatabase, Refused, Rehearsal,
};

/// One of the two deployments. Fixed for the whole migration: at the flip they swap who is
/// primary, not who is source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Where the data comes from.
    #[default]
    Source,
    /// Where the data goes.
    Target,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Source, Self::Target];

    /// The name used in status, metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }

    /// The one that this is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How far a migration has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The source serves; existing keys are still being copied.
    #[default]
    Backfilling,
    /// The source serves; every key is on the target, and only the lag stands between the two.
    Mirroring,
    /// Clients are held while the mirror drains, on the way to [`Self::CutOver`].
    CuttingOver,
    /// The target serves; the source follows, so that a rollback loses nothing.
    CutOver,
    /// Clients are held while the mirror drains, on the way back to [`Self::Mirroring`].
    RollingBack,
    /// The target serves, and the source is let go.
    Finalized,
}

impl Phase {
    /// Every phase, in the order of a migration.
    pub const ALL: [Self; 6] = [
        Self::Backfilling,
        Self::Mirroring,
        Self::CuttingOver,
        Self::CutOver,
        Self::RollingBack,
        Self::Finalized,
    ];

    /// Who serves in it.
    pub const fn primary(self) -> Side {
        match self {
            Self::Backfilling | Self::Mirroring | Self::CuttingOver => Side::Source,
            Self::CutOver | Self::RollingBack | Self::Finalized => Side::Target,
        }
    }

    /// The name used in status, metrics and the state directory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backfilling => "backfilling",
            Self::Mirroring => "mirroring",
            Self::CuttingOver => "cutting_over",
            Self::CutOver => "cut_over",
            Self::RollingBack => "rolling_back",
            Self::Finalized => "finalized",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Everything, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of crossfade.
    pub version: String,
    /// How far the migration has come.
    pub phase: Phase,
    /// Which side serves clients.
    pub primary: Side,
    /// Since the process started.
    pub uptime_seconds: f64,
    /// Where the data comes from.
    pub source: Server,
    /// Where the data goes.
    pub target: Server,
    /// Copying what exists.
    pub backfill: Backfill,
    /// Carrying what changes.
    pub mirror: Mirror,
    /// The last full comparison.
    pub verify: Verify,
    /// What a crash would leave in doubt.
    pub record: Record,
    /// The last flip, in either direction.
    pub cutover: Cutover,
    /// Reads of clients that the secondary is asked too.
    pub shadow: Shadow,
    /// The applications.
    pub clients: Clients,
    /// What they do that the target would refuse.
    pub rehearsal: Rehearsal,
    /// Whether a cut-over would be accepted now; false once there is nothing left to cut over.
    pub ready: bool,
    /// Why it would not be, one reason each.
    pub blockers: Vec<String>,
    /// The same, each with what to do about it.
    pub advice: Vec<Advice>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: Phase::default(),
            primary: Side::default(),
            uptime_seconds: 0.0,
            source: Server::default(),
            target: Server::default(),
            backfill: Backfill::default(),
            mirror: Mirror::default(),
            verify: Verify::default(),
            record: Record::default(),
            cutover: Cutover::default(),
            shadow: Shadow::default(),
            clients: Clients::default(),
            rehearsal: Rehearsal::default(),
            ready: false,
            blockers: Vec::new(),
            advice: Vec::new(),
        }
    }
}

/// What to do about something that stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Advice {
    /// What stands there.
    pub blocker: String,
    /// What to do.
    pub todo: String,
}

/// One of the two servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Host and port or path; never user or password.
    pub address: String,
    /// As the server says it.
    pub version: String,
    /// Whether it can be talked to now.
    pub connected: bool,
    /// What kind of deployment it is.
    pub kind: Kind,
    /// Its servers, the one that takes writes first.
    pub nodes: Vec<Node>,
}

/// What kind of deployment one of the two is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One server at an address that never changes.
    #[default]
    Standalone,
    /// The primary that sentinels name.
    Sentinel,
}

/// A server of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Where we reach it; of a replica, where its primary says that it is.
    pub address: String,
    /// Whether it takes the writes.
    pub role: NodeRole,
    /// Whether it can be talked to now; of a replica, by its primary.
    pub connected: bool,
    /// How far it is behind.
    pub lag_seconds: f64,
}

/// What a server of a deployment is to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// It takes the writes.
    #[default]
    Primary,
    /// It follows.
    Replica,
}

/// What the backfill is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillState {
    /// Keys are being copied.
    #[default]
    Running,
    /// Somebody asked it to wait.
    Paused,
    /// Every key has been copied.
    Done,
}

/// The copy of what exists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backfill {
    /// What it is doing.
    pub state: BackfillState,
    /// Keys seen by SCAN.
    pub scanned: u64,
    /// Keys copied.
    pub copied: u64,
    /// Keys copied again, because they were written or in doubt.
    pub recopied: u64,
    /// Keys that could not be copied.
    pub failed: u64,
    /// Keys whose values the other server cannot hold; `blockers` says which and why.
    pub left_out: u64,
    /// Values sent, by the way they went.
    pub ways: Ways,
    /// Keys there were when it started, as far as the source knows.
    pub total_estimate: u64,
    /// 0 to 100.
    pub percent: f64,
    /// At the moment.
    pub keys_per_second: f64,
    /// Until it is done, if it goes on like this.
    pub eta_seconds: Option<f64>,
    /// Memory that one mark in the ledger takes, on average.
    pub bytes_per_mark: f64,
    /// The limit in keys a second; none is no limit.
    pub rate: Option<u64>,
    /// What holds it back; none when it goes as fast as the servers can.
    pub held_by: Option<String>,
    /// Why it runs (again), when that is not simply the first start.
    pub cause: Option<String>,
}

/// Values sent, first copies and later ones, by the way they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ways {
    /// By `RESTORE` of the payload as it came.
    pub as_it_is: u64,
    /// By `RESTORE` of the payload under a footer of the other server's version.
    pub rewritten: u64,
    /// By commands: the payload is of a layout that the other server does not read, or very big.
    pub by_commands: u64,
}

/// The mirror of what changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mirror {
    /// Age of the oldest write that the primary has done and the secondary has not acknowledged,
    /// whether it waits as an effect or as a dirty key; 0 when there is none.
    pub lag_seconds: f64,
    /// Commands that wait.
    pub queued: u64,
    /// Memory that they take.
    pub queued_bytes: u64,
    /// Commands that the secondary has done as it should.
    pub applied: u64,
    /// Commands whose reply there was not the one expected.
    pub mismatched: u64,
    /// Commands that the secondary refused.
    pub failed: u64,
    /// Keys copied again, by the reason.
    pub recopies: BTreeMap<String, u64>,
    /// Keys that wait to be copied again.
    pub dirty_keys: u64,
    /// With `--ack both`: whether writes are answered without the secondary.
    pub degraded: bool,
}

/// What is known of the two servers' equality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyState {
    /// Nothing: they were never compared.
    #[default]
    Never,
    /// They are being compared.
    Running,
    /// They were equal, or are again after repair.
    Clean,
    /// They were not equal, and repair did not help.
    Different,
    /// They were compared, but something has happened since that makes it worthless.
    Stale,
}

impl VerifyState {
    /// The name used in status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Running => "running",
            Self::Clean => "clean",
            Self::Different => "different",
            Self::Stale => "stale",
        }
    }
}

/// The last full comparison, or the one that runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verify {
    /// What came of it.
    pub state: VerifyState,
    /// Keys compared.
    pub checked: u64,
    /// Keys that the secondary lacked.
    pub missing: u64,
    /// Keys that the primary lacks.
    pub extra: u64,
    /// Keys with another type, value or expiry.
    pub different: u64,
    /// Keys that were found wrong and are right now.
    pub repaired: u64,
    /// When it ended, in Unix seconds.
    pub finished_at: Option<f64>,
    /// What differed, by what the names have in common: the patterns of most keys.
    pub patterns: Vec<Pattern>,
    /// Some of the keys that differed.
    pub samples: Vec<Sample>,
}

impl Verify {
    /// The same without names of keys.
    #[must_use]
    pub fn without_keys(self) -> Self {
        Self { patterns: Vec::new(), samples: Vec::new(), ..self }
    }
}

/// Keys that differed, and whose names are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pattern {
    /// Their name, with `*` for what tells them apart.
    pub pattern: String,
    /// How many the secondary lacked.
    pub missing: u64,
    /// How many the primary lacks.
    pub extra: u64,
    /// How many had another type, value or expiry.
    pub different: u64,
}

/// A key that differed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Its database on the primary.
    pub db: u32,
    /// Its name.
    pub key: String,
    /// In what: `missing`, `extra`, `type`, `value`, `expiry`.
    pub difference: String,
}

/// The write-intent record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Whether one is kept.
    pub kept: bool,
    /// Groups of keys, of 65,536, that a crash would leave in doubt now.
    pub groups: u64,
    /// Why it can't be written, when it can't; then a crash leaves everything in doubt.
    pub error: Option<String>,
}

/// The last flip.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cutover {
    /// How long clients were held.
    pub hold_ms: Option<u64>,
    /// When it happened, in Unix seconds.
    pub at: Option<f64>,
    /// Which side serves since.
    pub to: Option<Side>,
    /// Why the last attempt changed nothing, when it did not.
    pub last_error: Option<String>,
}

/// Reads of clients that the secondary was asked too, since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shadow {
    /// How many of a hundred reads are wanted.
    pub percent: f64,
    /// Reads taken: the sum of those below.
    pub sampled: u64,
    /// Both servers said the same.
    pub equal: u64,
    /// The secondary said something else; the keys were copied again.
    pub different: u64,
    /// The secondary would not answer.
    pub refused: u64,
    /// Nothing could be learnt: the keys were written meanwhile or about to end, the reply was large,
    /// or there was no time.
    pub discarded: u64,
    /// How long the source took to answer them.
    pub source: Times,
    /// How long the target took to answer them.
    pub target: Times,
    /// Some of those that the secondary answered otherwise.
    pub unlike: Vec<Unlike>,
}

/// Half of what was counted took less than the one, and 99 of a hundred less than the other, in
/// seconds; none when nothing was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "said above")]
pub struct Times {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

/// A read that the secondary answered otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unlike {
    /// The database of its keys on the primary.
    pub db: u32,
    /// Its first key.
    pub key: String,
    /// Its command.
    pub command: String,
}

/// The applications in front.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clients {
    /// Connections open now.
    pub connected: u64,
    /// Commands served since the start.
    pub commands: u64,
}

/// How far a command is that goes over all keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Keys gone over.
    pub done: u64,
    /// Keys there are, as far as it is known.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_phases_are_those_on_the_wire() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
        for side in Side::ALL {
            assert_eq!(serde_json::to_value(side).unwrap(), side.name());
        }
    }

    #[test]
    fn the_default_status_is_the_promised_object() {
        let json = serde_json::to_value(Status::default()).unwrap();
        assert_eq!(json["phase"], "backfilling");
        assert_eq!(json["primary"], "source");
        assert_eq!(json["backfill"]["state"], "running");
        assert_eq!(json["backfill"]["eta_seconds"], serde_json::Value::Null);
        assert_eq!(json["mirror"]["lag_seconds"], 0.0);
        assert_eq!(json["verify"]["state"], "never");
        assert_eq!(json["verify"]["finished_at"], serde_json::Value::Null);
        assert_eq!(json["blockers"], serde_json::json!([]));
    }

    #[test]
    fn a_status_of_another_version_is_still_read() {
        let status: Status =
            serde_json::from_str(r#"{"phase":"cut_over","news":1,"mirror":{"queued":3}}"#).unwrap();
        assert_eq!((status.phase, status.mirror.queued), (Phase::CutOver, 3));
    }
}
