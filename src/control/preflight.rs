//! What must be so before anything is copied.

use redis::{Cmd, cmd};
use tracing::warn;

use super::marker::{connect_to_zero, mark};
use super::survey::connect;
use crate::config::{RunConfig, TargetPolicy};
use crate::failure::Failure;
use crate::protocol::databases::Databases;
use crate::protocol::reserved_keys::MARKER;
use crate::server::{Answer, Broken, Connection, words};
use crate::status::{Phase, Side};

/// A connection to one of the servers.
pub(crate) async fn open(config: &RunConfig, side: Side) -> Result<Connection, Failure> {
    let endpoint = config.servers.endpoint(side);
    connect(endpoint).await.map_err(|error| Failure::connect(side.name(), &error))
}

/// A source that was cut over must not be served or copied as if nothing had happened.
pub(crate) async fn check_marker(config: &RunConfig) -> Result<(), Failure> {
    if config.ignore_cutover_marker {
        return Ok(());
    }
    let mut connection = database_zero(config).await?;
    match connection.query(cmd("EXISTS").arg(MARKER)).await {
        Ok(Ok(true)) => Err(Failure::no(
            "the source bears the marker of a cut-over (key crossfade:cutover in database 0): its \
             clients were moved to the target, which has the newer data. Start with the --state-dir \
             of that migration, or with --ignore-cutover-marker if you are sure",
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::unreachable(format!("source {error}"))),
    }
}

/// A crash in the middle of a flip may have left the source with the marker of the other phase.
pub(super) async fn align_marker(config: &RunConfig, phase: Phase) -> Result<(), Failure> {
    match mark(&mut database_zero(config).await?, phase == Phase::CutOver).await {
        Ok(done) => {
            if let Err(error) = done {
                warn!(error, "the source refuses the marker of a cut-over, or its removal");
            }
            Ok(())
        }
        Err(error) => Err(Failure::unreachable(format!("source {error}"))),
    }
}

async fn database_zero(config: &RunConfig) -> Result<Connection, Failure> {
    let opened = connect_to_zero(&config.servers.source).await;
    opened.map_err(|error| Failure::connect("source", &error))
}

/// Does with the target's keys what the policy says.
pub(crate) async fn check_target(
    config: &RunConfig,
    target: &mut Connection,
) -> Result<(), Failure> {
    let databases = config.servers.databases.reversed();
    match config.copying.target_policy {
        TargetPolicy::Overwrite => Ok(()),
        TargetPolicy::Flush => flush(&databases, target).await,
        TargetPolicy::RequireEmpty => require_empty(&databases, target).await,
    }
}

/// One by one: a FLUSHDB sent along with a SELECT that is refused would empty another database.
async fn flush(databases: &Databases, target: &mut Connection) -> Result<(), Failure> {
    let questions = match databases {
        Databases::All => vec![cmd("FLUSHALL")],
        Databases::Only(pairs) => pairs.iter().flat_map(|(db, _)| flush_one(*db)).collect(),
    };
    for question in questions {
        let done: Answer<()> = target.query(&question).await.map_err(|error| lost(&error))?;
        let refused = |error| format!("the target can't be flushed: {}", words(&error));
        done.map_err(|error| Failure::no(refused(error)))?;
    }
    Ok(())
}

fn flush_one(db: u32) -> [Cmd; 2] {
    [cmd("SELECT").arg(db).clone(), cmd("FLUSHDB")]
}

async fn require_empty(databases: &Databases, target: &mut Connection) -> Result<(), Failure> {
    let info = target.info("keyspace").await.map_err(|error| lost(&error))?;
    let info = info.map_err(|_| Failure::no("the target refuses INFO"))?;
    let ours = info.keyspace().into_iter().filter(|(db, _)| databases.to(*db).is_some());
    let held: Vec<String> = ours.map(|(db, keys)| format!("{keys} in database {db}")).collect();
    if held.is_empty() {
        return Ok(());
    }
    Err(Failure::no(format!(
        "the target holds keys ({}): empty it, or choose --target-policy overwrite or flush",
        held.join(", ")
    )))
}

fn lost(error: &Broken) -> Failure {
    Failure::unreachable(format!("target {error}"))
}
