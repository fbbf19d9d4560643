//! What a process that was killed has left behind on a server.
//!
//! A server may still hold requests of its connections that it has not executed yet. They would come
//! after what is copied now, so these connections are ended first.

use tracing::info;

use super::{Broken, Client, Clients, Connection, end_connection, ended};

/// How our connections that write are named.
const WRITERS: [&str; 3] = ["crossfade-lane:", "crossfade-session:", "crossfade-mirror:"];

/// Ends the writing connections of an earlier process whose names end with `tag`.
///
/// # Errors
/// The connection is broken.
pub(crate) async fn end_left_behind(tag: &str, connection: &mut Connection) -> Result<(), Broken> {
    let reply = connection.command(["CLIENT", "LIST"]).await?;
    // Not allowed to look counts as not allowed to end.
    let mut last = reply.clone();
    let own = connection.wire().id;
    let others = left_behind(&Clients::answered(&reply), tag).into_iter();
    for id in others.filter(|id| Some(*id) != own) {
        info!(id, "a connection that an earlier process left behind is ended");
        last = connection.ask(&end_connection(id)).await?;
        if last.is_error() {
            break;
        }
    }
    ended(&last).await;
    Ok(())
}

/// The numbers of such connections.
fn left_behind(clients: &Clients, tag: &str) -> Vec<i64> {
    let is_one = |client: &Client<'_>| {
        WRITERS.iter().any(|writer| client.field("name").strip_prefix(writer) == Some(tag))
    };
    let ours = clients.iter().filter(is_one);
    ours.filter_map(|client| client.field("id").parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writers_of_the_same_migration_are_ended() {
        let names = ["lane:ab", "mirror:ab", "lane:cd", "lane", "scan:ab"];
        let line = |(id, name)| format!("id={id} addr=a name=crossfade-{name} cmd=set\n");
        let ours: String = names.into_iter().enumerate().map(line).collect();
        let clients = Clients::new(ours + "id=8 addr=a name=app cmd=set\nid=9 name= cmd=set\n");
        assert_eq!(left_behind(&clients, "ab"), [0, 1]);
    }
}
