//! What a process that was killed has left behind on the servers.
//!
//! A server may still hold requests of its connections that it has not executed yet. They would come
//! after what is copied now, so these connections are ended first.

use tracing::info;

use crate::backend::{Broken, Connection, end_connection, ended};

/// How our connections that write are named.
const WRITERS: [&str; 3] = ["crossfade-lane:", "crossfade-session:", "crossfade-mirror:"];

/// Ends the writing connections of an earlier process of the same migration.
///
/// # Errors
/// The connection is broken.
pub(super) async fn end(tag: &str, connection: &mut Connection) -> Result<(), Broken> {
    let reply = connection.command(["CLIENT", "LIST"]).await?;
    // Not allowed to look counts as not allowed to end.
    let mut last = reply.clone();
    let list = reply.text().map(|text| String::from_utf8_lossy(text).into_owned());
    for id in list.iter().flat_map(|list| list.lines()).filter_map(|line| left_behind(line, tag)) {
        info!(id, "a connection that an earlier process left behind is ended");
        last = connection.ask(&end_connection(id)).await?;
        if last.is_error() {
            break;
        }
    }
    ended(&last).await;
    Ok(())
}

/// The number of the connection, if it is one.
fn left_behind(line: &str, tag: &str) -> Option<i64> {
    let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
    let name = field("name=")?;
    let ours = WRITERS.iter().any(|writer| name.strip_prefix(writer) == Some(tag));
    ours.then(|| field("id=")?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writers_of_the_same_migration_are_ended() {
        let id = |name: &str| left_behind(&format!("id=7 addr=a name={name} cmd=set"), "ab");
        assert_eq!(id("crossfade-lane:ab"), Some(7));
        assert_eq!(id("crossfade-mirror:ab"), Some(7));
        for other in ["crossfade-lane:cd", "crossfade-lane", "crossfade-scan:ab", "app", ""] {
            assert_eq!(id(other), None, "{other}");
        }
    }
}
