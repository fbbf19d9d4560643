//! Function libraries: copied before the keys, and again when commands can't tell what changed, or
//! when the secondary did not take a change.

use std::collections::BTreeSet;

use redis::{Cmd, cmd};
use thiserror::Error;

use super::direction::Direction;
use super::environment::Environment;
use super::survey::connect;
use crate::server::{Answer, Broken, ConnectError, Connection, Library, words};

/// Libraries of the secondary that are somebody else's, by name. `None`: whatever it has that the
/// primary has not is.
pub(crate) type Spared = Option<BTreeSet<String>>;

/// Why libraries could not be copied.
#[derive(Debug, Error)]
pub(crate) enum LibraryError {
    /// A server can't be reached.
    #[error("{0}")]
    Unreachable(#[from] ConnectError),
    /// A connection broke.
    #[error("{0}")]
    Broken(#[from] Broken),
    /// A server says no.
    #[error("{0}")]
    Refused(String),
}

/// Gives the secondary the primary's libraries, and takes away what the primary does not have, but for
/// those that are spared. Says which can't be carried over.
pub(crate) async fn copy(
    env: &Environment,
    direction: &Direction,
    spared: &mut Spared,
) -> Result<Vec<String>, LibraryError> {
    if !direction.survey.primary.capabilities.since_redis(7, 0) {
        return Ok(Vec::new());
    }
    let secondary = direction.primary.other();
    let ours = libraries(&mut connect(env.endpoint(direction.primary)).await?).await?;
    if !direction.survey.secondary.capabilities.since_redis(7, 0) {
        let names: Vec<_> = ours.iter().map(|library| library.name.clone()).collect();
        let lacking = || {
            format!("the {secondary} knows no function libraries, to hold: {}", names.join(", "))
        };
        return Ok(if names.is_empty() { Vec::new() } else { vec![lacking()] });
    }
    let mut to = connect(env.endpoint(secondary)).await?;
    let mut theirs = libraries(&mut to).await?;
    theirs.retain(|library| !ours.contains(library));
    let names = theirs.iter().map(|library| library.name.clone());
    let kept: BTreeSet<String> = match &spared {
        None => names.collect(),
        Some(spared) => names.filter(|name| spared.contains(name)).collect(),
    };
    for library in &ours {
        if !kept.contains(&library.name) {
            let code: &[u8] = &library.code;
            change(&mut to, cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(code)).await?;
        }
    }
    for library in &theirs {
        let is_there = ours.iter().any(|ours| ours.name == library.name);
        if !is_there && !kept.contains(&library.name) {
            change(&mut to, cmd("FUNCTION").arg("DELETE").arg(&library.name)).await?;
        }
    }
    let conflicts =
        ours.iter().map(|library| library.name.clone()).filter(|name| kept.contains(name));
    let conflicts = conflicts
        .map(|name| {
            format!("the {secondary} has another function library named {name}: delete it there")
        })
        .collect();
    *spared = Some(kept);
    Ok(conflicts)
}

async fn change(connection: &mut Connection, question: &Cmd) -> Result<(), LibraryError> {
    let done: Answer<redis::Value> = connection.query(question).await?;
    done.map(drop).map_err(|error| LibraryError::Refused(words(&error)))
}

async fn libraries(connection: &mut Connection) -> Result<Vec<Library>, LibraryError> {
    let answer = connection.query(cmd("FUNCTION").arg("LIST").arg("WITHCODE")).await?;
    answer.map_err(|error| LibraryError::Refused(words(&error)))
}
