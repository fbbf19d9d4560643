//! What a process that was killed has left behind on the servers.
//!
//! A server may still hold requests of its connections that it has not executed yet. They would come
//! after what is copied now, so these connections are ended first.

use std::time::Duration;

use tokio::time::sleep;
use tracing::info;

use crate::backend::{Broken, Connection};
use crate::resp::Reply;

/// How our connections that write are named.
const WRITERS: [&str; 3] = ["crossfade-lane:", "crossfade-session:", "crossfade-mirror:"];

/// Ends the writing connections of an earlier process of the same migration.
///
/// # Errors
/// The connection is broken.
pub(super) async fn end(tag: &str, connection: &mut Connection) -> Result<(), Broken> {
    let reply = connection.command(["CLIENT", "LIST"]).await?;
    let Some(list) = reply.text().map(|text| String::from_utf8_lossy(text).into_owned()) else {
        return wait().await;
    };
    for id in list.lines().filter_map(|line| left_behind(line, tag)) {
        info!(id, "a connection that an earlier process left behind is ended");
        if let Reply::Error(_) = connection.command(["CLIENT", "KILL", "ID", id]).await? {
            return wait().await;
        }
    }
    Ok(())
}

/// Not allowed to look or to end; then time is all that there is.
async fn wait() -> Result<(), Broken> {
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// The number of the connection, if it is one.
fn left_behind<'a>(line: &'a str, tag: &str) -> Option<&'a str> {
    let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
    let name = field("name=")?;
    let ours = WRITERS.iter().any(|writer| name.strip_prefix(writer) == Some(tag));
    ours.then(|| field("id="))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writers_of_the_same_migration_are_ended() {
        let id = |name: &str| {
            left_behind(&format!("id=7 addr=a name={name} cmd=set"), "ab").map(str::to_owned)
        };
        assert_eq!(id("crossfade-lane:ab").as_deref(), Some("7"));
        assert_eq!(id("crossfade-mirror:ab").as_deref(), Some("7"));
        for other in ["crossfade-lane:cd", "crossfade-lane", "crossfade-scan:ab", "app", ""] {
            assert_eq!(id(other), None, "{other}");
        }
    }
}
