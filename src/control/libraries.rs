//! Function libraries: copied before the keys, and again when commands can't tell what changed.

use bytes::Bytes;
use tracing::warn;

use super::direction::{Direction, World};
use super::survey::connect;
use crate::backend::{Broken, Connection};
use crate::resp::{Reply, Request};

/// A library, by what `FUNCTION LIST WITHCODE` says.
struct Library {
    name: Bytes,
    code: Bytes,
}

/// Copies every library from the primary to the secondary, and says which can't be. One that the
/// secondary has under the same name with other code is replaced, unless `spare` says that it may
/// be somebody else's.
pub(crate) async fn copy(world: &World, direction: &Direction, spare: bool) -> Vec<String> {
    if !direction.survey.primary.capabilities.since_redis(7, 0) {
        return Vec::new();
    }
    attempt(world, direction, spare).await.unwrap_or_else(|reason| {
        warn!(%reason, "function libraries could not be copied");
        vec![format!("function libraries could not be copied: {reason}")]
    })
}

async fn attempt(world: &World, direction: &Direction, spare: bool) -> Result<Vec<String>, String> {
    let secondary = direction.primary.other();
    let open = async |side| connect(world.endpoint(side)).await.map_err(|error| error.to_string());
    let broken = |error: Broken| error.to_string();
    let libraries = libraries(&mut open(direction.primary).await?).await.map_err(broken)?;
    if libraries.is_empty() {
        return Ok(Vec::new());
    }
    if !direction.survey.secondary.capabilities.since_redis(7, 0) {
        let names: Vec<_> = libraries.iter().map(|library| printable(&library.name)).collect();
        let names = names.join(", ");
        return Ok(vec![format!("the {secondary} knows no function libraries, to hold: {names}")]);
    }
    let mut to = open(secondary).await?;
    let theirs = if spare { self::libraries(&mut to).await.map_err(broken)? } else { Vec::new() };
    let mut conflicts = Vec::new();
    for Library { name, code } in libraries {
        if theirs.iter().any(|theirs| theirs.name == name && theirs.code != code) {
            let name = printable(&name);
            conflicts.push(format!(
                "the {secondary} has another function library named {name}: delete it there"
            ));
            continue;
        }
        let load = Request::new([b"FUNCTION".as_ref(), b"LOAD", b"REPLACE", &code]);
        if let Reply::Error(error) = to.ask(&load).await.map_err(broken)? {
            return Err(printable(&error));
        }
    }
    Ok(conflicts)
}

async fn libraries(connection: &mut Connection) -> Result<Vec<Library>, Broken> {
    let reply = connection.command(["FUNCTION", "LIST", "WITHCODE"]).await?;
    Ok(reply.items().unwrap_or_default().iter().filter_map(library).collect())
}

fn library(reply: &Reply) -> Option<Library> {
    let items = reply.items()?;
    let field = |name: &str| {
        let place = items.iter().position(|item| item.text().is_some_and(|text| text == name))?;
        items.get(place + 1)?.text().cloned()
    };
    Some(Library { name: field("library_name")?, code: field("library_code")? })
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
