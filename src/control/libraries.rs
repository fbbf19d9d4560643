//! Function libraries: copied before the keys, and again when commands can't tell what changed.

use tracing::warn;

use super::direction::{Direction, World};
use super::survey::connect;
use crate::resp::{Reply, Request};

/// Copies every library from the primary to the secondary.
pub(crate) async fn copy(world: &World, direction: &Direction) {
    let survey = &direction.survey;
    let both = survey.primary.capabilities.since_redis(7, 0)
        && survey.secondary.capabilities.since_redis(7, 0);
    if !both {
        return;
    }
    if let Err(reason) = attempt(world, direction).await {
        warn!(%reason, "function libraries could not be copied");
    }
}

async fn attempt(world: &World, direction: &Direction) -> Result<(), String> {
    let from = world.endpoint(direction.primary);
    let to = world.endpoint(direction.primary.other());
    let mut from = connect(from).await.map_err(|error| error.to_string())?;
    let list = Request::new(["FUNCTION", "LIST", "WITHCODE"]);
    let reply = from.ask(&list).await.map_err(|error| error.to_string())?;
    let codes: Vec<_> = reply.items().unwrap_or_default().iter().filter_map(code).collect();
    if codes.is_empty() {
        return Ok(());
    }
    let mut to = connect(to).await.map_err(|error| error.to_string())?;
    for code in codes {
        let load = Request::new([b"FUNCTION".as_ref(), b"LOAD", b"REPLACE", &code]);
        if let Reply::Error(error) = to.ask(&load).await.map_err(|error| error.to_string())? {
            return Err(String::from_utf8_lossy(&error).into_owned());
        }
    }
    Ok(())
}

/// The code of one library in the reply of `FUNCTION LIST WITHCODE`.
fn code(library: &Reply) -> Option<bytes::Bytes> {
    let items = library.items()?;
    let place = items.iter().position(|item| item.text().is_some_and(|t| t == "library_code"))?;
    items.get(place + 1)?.text().cloned()
}
