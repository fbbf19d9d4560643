//! The marker of a cut-over on the source: looked for at the start, set by the flip, taken away by a
//! rollback.

use redis::cmd;
use tracing::warn;

use super::survey::{connect, lost};
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::protocol::reserved_keys::MARKER;
use crate::protocol::resp::{Reply, Request};
use crate::server::{Broken, ConnectError, Connection, Endpoint};
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
pub(crate) async fn mark(
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
pub(crate) async fn connect_to_zero(source: &Endpoint) -> Result<Connection, ConnectError> {
    connect(&Endpoint { db: None, ..source.clone() }).await
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
        Err(error) => Err(lost(config, Side::Source, &error)),
    }
}

/// A crash in the middle of a flip may have left the source with the marker of the other phase.
pub(crate) async fn align_marker(source: &Endpoint, phase: Phase) -> Result<(), ConnectError> {
    let mut connection = connect_to_zero(source).await?;
    let done = mark(&mut connection, phase == Phase::CutOver).await;
    if let Err(error) = done.map_err(|error| source.lost(&error))? {
        warn!(error, "the source refuses the marker of a cut-over, or its removal");
    }
    Ok(())
}

async fn database_zero(config: &RunConfig) -> Result<Connection, Failure> {
    let opened = connect_to_zero(&config.servers.source).await;
    opened.map_err(|error| Failure::connect("source", &error))
}
