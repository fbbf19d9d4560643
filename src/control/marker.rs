//! The marker of a cut-over on the source: set by the flip, taken away by a rollback, put back when it
//! got lost.

use tracing::info;

use super::direction::Direction;
use super::migration::Migration;
use super::survey::connect;
use crate::protocol::reserved_keys::MARKER;
use crate::protocol::resp::{Reply, Request};
use crate::server::{Broken, Connection, Endpoint};
use crate::status::{Phase, Side};

const TEXT: &[u8] = b"clients have been cut over to the target";

/// Sets the marker where `SET` is refused because the server holds more than its `maxmemory`. A script
/// is let in then, and once it has written something may write anything, or it could stop in the
/// middle; a `DEL`, which is let in too, counts although there is nothing to remove. So it is in 6.2,
/// 7.0 and 8.0 (`scriptVerifyOOM`). A full server is a main reason to leave it.
const PAST_MAXMEMORY: &[u8] =
    b"redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], ARGV[1])";

/// What puts the marker on the source.
pub(super) fn marker() -> Request {
    Request::new([b"SET".as_ref(), MARKER, TEXT])
}

/// Sets the marker, or removes it; the inner error is the server's.
pub(super) async fn mark(
    connection: &mut Connection,
    is_cut_over: bool,
) -> Result<Result<(), String>, Broken> {
    let mut reply = if is_cut_over {
        connection.ask(&marker()).await?
    } else {
        connection.command([b"DEL".as_ref(), MARKER]).await?
    };
    if matches!(&reply, Reply::Error(error) if error.starts_with(b"OOM")) {
        let script = [b"EVAL".as_ref(), PAST_MAXMEMORY, b"1", MARKER, TEXT];
        reply = connection.command(script).await?;
    }
    Ok(match reply {
        Reply::Error(error) => Err(String::from_utf8_lossy(&error).into_owned()),
        _ => Ok(()),
    })
}

/// A connection to the marker's database.
pub(super) async fn connect_to_zero(
    source: &Endpoint,
) -> Result<Connection, crate::server::ConnectError> {
    connect(&Endpoint { db: None, ..source.clone() }).await
}

impl Migration {
    /// Why the source could not be given the marker now, if that is so. Asked with a command that
    /// counts as a write, and writes nothing.
    pub(super) async fn unmarkable(&self, direction: &Direction) -> Option<String> {
        if direction.primary == Side::Target {
            return None;
        }
        let question = Request::new([b"SORT".as_ref(), MARKER]);
        let replies = self.ask_side(Side::Source, &[question]).await?;
        let Some(Reply::Error(error)) = replies.first() else { return None };
        let passable: [&[u8]; 3] = [b"OOM", b"NOPERM", b"WRONGTYPE"];
        if passable.iter().any(|code| error.starts_with(code)) {
            return None;
        }
        let error = String::from_utf8_lossy(error);
        Some(format!("the source refuses writes, and so the marker of a cut-over: {error}"))
    }

    /// Puts the marker back on a source that has evicted it, or that somebody has deleted it from.
    pub(super) async fn keep_marker(&self) {
        let _only_one = self.marking.lock().await;
        if self.inner.lock().state.phase != Phase::CutOver {
            return;
        }
        let question = Request::new([b"EXISTS".as_ref(), MARKER]);
        let replies = self.ask_side(Side::Source, &[question]).await;
        let exists = replies.and_then(|replies| replies.first()?.integer());
        if exists != Some(0) {
            return;
        }
        let Ok(mut source) = connect_to_zero(self.world.endpoint(Side::Source)).await else {
            return;
        };
        if let Ok(Ok(())) = mark(&mut source, true).await {
            info!("the marker of the cut-over was gone from the source, and has been put back");
        }
    }
}
