//! Where Sentinel clients ask, and what they are told.

use tokio::net::TcpListener;

use super::super::migration::Migration;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::proxy::Signpost;
use crate::status::Side;

/// What `MASTERS` lists where no side has a name.
const USUAL_NAME: &str = "mymaster";

/// Listens, if that is wanted.
pub(super) async fn bind(config: &RunConfig) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = config.listen_sentinel else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|error| Failure::no(format!("--listen-sentinel {address}: {error}")))
}

/// What shows the way to the proxy at this port.
pub(super) fn to(migration: &Migration, port: u16) -> Signpost {
    let RunConfig { servers, announce, listen_tls, .. } = &migration.env.config;
    let sentinels = || Side::ALL.into_iter().filter_map(|side| servers.endpoint(side).sentinels());
    let mut names: Vec<String> = sentinels().map(|own| own.name.clone()).collect();
    names.dedup();
    if names.is_empty() {
        names.push(USUAL_NAME.to_owned());
    }
    Signpost {
        names,
        announce: announce.clone(),
        port,
        password: sentinels().find_map(|own| own.password.clone()),
        stage: migration.stage.subscribe(),
        tls: listen_tls.clone(),
    }
}
