//! From settings to a running migration: what must be so, and what must be known, before anything runs.

mod meeting;
mod memory;
mod running;
mod signpost;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::intent_file::{self, Beginning, Opened};
use super::state::{State, StateDir, StateError};
use crate::config::RunConfig;
use crate::engine::ledger::{Groups, Seed};
use crate::failure::Failure;
use crate::pipeline::{Environment, ServerFacts};
use crate::proxy::Listener;
use crate::server;
use crate::status::{Phase, Status};
use meeting::{Discovered, check_beginning, meet, meet_target};
use running::Running;

/// Runs a migration until a signal stops it; `news` tells how it is.
///
/// # Errors
/// It can't start: a server, the target's keys, the state directory, an address.
pub(crate) async fn start(
    mut config: RunConfig,
    news: watch::Sender<Arc<Status>>,
) -> Result<(), Failure> {
    survive_file_limits()?;
    memory::check(config.mirror_buffer);
    if let Some(hooks) = config.hooks.as_ref().filter(|hooks| !hooks.is_dir()) {
        return Err(Failure::usage(format!("--hooks {}: is not a directory", hooks.display())));
    }
    let (store, mut state, resumed) = open_state(&config)?;
    config.servers.tag_connections(&state.tag());
    let listener = Listener::bind(config.listen, config.listen_tls.clone())
        .await
        .map_err(|error| Failure::no(format!("--listen {}: {error}", config.listen)))?;
    let admin = TcpListener::bind(config.admin).await;
    let admin = admin.map_err(|error| Failure::no(format!("--admin {}: {error}", config.admin)))?;
    let signposts = signpost::bind(&config).await?;
    let (found, opened) = if state.phase == Phase::Finalized {
        let beginning = Beginning::Resumed(Groups::default());
        let found = meet_target(&config, &state).await?;
        (found, Opened { record: None, beginning, why: None })
    } else {
        if !resumed {
            check_beginning(&config).await?;
        }
        let found = meet(&config, &mut state, resumed).await?;
        let identity = intent_file::identity(&state, found.primary, &found.survey);
        (found, intent_file::open(store.as_ref(), resumed, identity)?)
    };
    if let Some(store) = &store {
        store.save(&state).map_err(|error| Failure::no(error.to_string()))?;
    }
    let Discovered { primary, survey, acceptances } = found;
    let facts = ServerFacts { acceptances, default_user: state.default_user() };
    let env = Arc::new(Environment::new(config, Seed::from_bytes(state.seed), facts));
    let running = Running::assemble(env, store, state, (primary, survey), opened, news);
    running.serve(listener, admin, signposts).await
}

/// A file that may not grow any more is an error like a full disk, not the end of the process.
fn survive_file_limits() -> Result<(), Failure> {
    /// `SIGXFSZ`, on the systems that number it so.
    const FILE_TOO_LARGE: i32 = 25;
    let caught = signal(SignalKind::from_raw(FILE_TOO_LARGE));
    caught.map(drop).map_err(|error| Failure::no(format!("signals: {error}")))
}

fn open_state(config: &RunConfig) -> Result<(Option<StateDir>, State, bool), Failure> {
    let servers = &config.servers;
    let fresh = State::new(
        servers.source.place.to_string(),
        servers.target.place.to_string(),
        format!("{:?}", servers.databases),
        server::nonce().to_le_bytes(),
    );
    let Some(path) = &config.state_dir else { return Ok((None, fresh, false)) };
    let no = |error: StateError| Failure::no(format!("--state-dir {error}"));
    let store = StateDir::open(path).map_err(no)?;
    let known = store.load(&fresh).map_err(no)?;
    store.rehearse(&fresh).map_err(no)?;
    let resumed = known.is_some();
    Ok((Some(store), known.unwrap_or(fresh), resumed))
}
