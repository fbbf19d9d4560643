//! What is done with the target's keys before anything is copied.

use redis::{Cmd, cmd};

use super::survey::lost;
use crate::config::{RunConfig, TargetPolicy};
use crate::failure::Failure;
use crate::protocol::databases::Databases;
use crate::server::{Answer, Broken, Connection, words};
use crate::status::Side;

/// Does with the target's keys what the policy says.
pub(crate) async fn check_target(
    config: &RunConfig,
    target: &mut Connection,
) -> Result<(), Failure> {
    let databases = config.servers.databases.reversed();
    let done = match config.copying.target_policy {
        TargetPolicy::Overwrite => Ok(Ok(())),
        TargetPolicy::Flush => flush(&databases, target).await,
        TargetPolicy::RequireEmpty => require_empty(&databases, target).await,
    };
    done.map_err(|error| lost(config, Side::Target, &error))?.map_err(Failure::no)
}

/// One by one: a FLUSHDB sent along with a SELECT that is refused would empty another database. The
/// inner error is for people.
async fn flush(
    databases: &Databases,
    target: &mut Connection,
) -> Result<Result<(), String>, Broken> {
    let questions = match databases {
        Databases::All => vec![cmd("FLUSHALL")],
        Databases::Only(pairs) => pairs.iter().flat_map(|(db, _)| flush_one(*db)).collect(),
    };
    for question in questions {
        let done: Answer<()> = target.query(&question).await?;
        if let Err(refusal) = done {
            return Ok(Err(format!("the target can't be flushed: {}", words(&refusal))));
        }
    }
    Ok(Ok(()))
}

fn flush_one(db: u32) -> [Cmd; 2] {
    [cmd("SELECT").arg(db).clone(), cmd("FLUSHDB")]
}

async fn require_empty(
    databases: &Databases,
    target: &mut Connection,
) -> Result<Result<(), String>, Broken> {
    let Ok(info) = target.info("keyspace").await? else {
        return Ok(Err("the target refuses INFO".to_owned()));
    };
    let ours = info.keyspace().into_iter().filter(|(db, _)| databases.to(*db).is_some());
    let held: Vec<String> = ours.map(|(db, keys)| format!("{keys} in database {db}")).collect();
    if held.is_empty() {
        return Ok(Ok(()));
    }
    Ok(Err(format!(
        "the target holds keys ({}): empty it, or choose --target-policy overwrite or flush",
        held.join(", ")
    )))
}
