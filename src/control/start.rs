//! From settings to a running migration.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::chronicle::Chronicle;
use super::default_user;
use super::direction::{Direction, Known, World};
use super::memory;
use super::migration::{Inner, Migration, Speed};
use super::passes::Beginning;
use super::phase::{self, Kept, Standing};
use super::predecessor;
use super::preflight::{align_marker, check_marker, check_target, open};
use super::recording::{self, Opened};
use super::state::{State, StateDir};
use super::survey::{Survey, acceptance};
use crate::admin;
use crate::admin::audit::Audit;
use crate::admin::report::Report;
use crate::config::RunConfig;
use crate::control::hooks::Hooks;
use crate::engine::ledger::{Groups, Seed};
use crate::engine::{Cause, Engine};
use crate::failure::Failure;
use crate::lane::{ControlConnection, Unread};
use crate::metrics::Metrics;
use crate::net::{self, RateLimited};
use crate::protocol::payload::Acceptance;
use crate::proxy::{
    Budget, Limits, Listener, Logins, Partings, Pause, Registry, Shared, Stage, Unknown,
};
use crate::server::{self, Broken};
use crate::status::{self, Phase, Side, VerifyState};

/// Descriptors for everything but clients: lanes, copiers, the admin API. A client that blocks,
/// watches or subscribes takes a second one.
const RESERVED: u64 = 512;

/// What was learnt of the servers before anything is started.
struct Found {
    primary: Side,
    survey: Survey,
    /// What payloads the source takes, and the target.
    acceptances: (Acceptance, Acceptance),
}

/// Runs a migration until a signal stops it.
///
/// # Errors
/// It can't start: a server, the target's keys, the state directory, an address.
pub(crate) async fn start(mut config: RunConfig) -> Result<(), Failure> {
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
    let (found, opened) = if state.phase == Phase::Finalized {
        let beginning = Beginning::Resumed(Groups::default());
        (ask_target(&config).await?, Opened { record: None, beginning, why: None })
    } else {
        let found = ask_both(&config, &mut state, resumed).await?;
        let identity = recording::identity(&state, found.primary, &found.survey);
        (found, recording::open(store.as_ref(), resumed, identity)?)
    };
    if let Some(store) = &store {
        store.save(&state).map_err(|error| Failure::no(error.to_string()))?;
    }
    let beginning = opened.beginning.clone();
    let migration = assemble(config, store, state, found, opened);
    serve(migration, listener, admin, beginning).await
}

/// A file that may not grow any more is an error like a full disk, not the end of the process.
fn survive_file_limits() -> Result<(), Failure> {
    /// `SIGXFSZ`, on the systems that number it so.
    const FILE_TOO_LARGE: i32 = 25;
    let caught = signal(SignalKind::from_raw(FILE_TOO_LARGE));
    caught.map(drop).map_err(|error| Failure::no(format!("signals: {error}")))
}

/// Looks at both servers, and at the target's keys when nothing has been copied yet.
async fn ask_both(config: &RunConfig, state: &mut State, resumed: bool) -> Result<Found, Failure> {
    let lost = |error: Broken| Failure::unreachable(error.to_string());
    let mut source = open(config, Side::Source).await?;
    let mut target = open(config, Side::Target).await?;
    if resumed {
        predecessor::end(&state.tag(), &mut source).await.map_err(lost)?;
        predecessor::end(&state.tag(), &mut target).await.map_err(lost)?;
        align_marker(config, state.phase).await?;
    } else {
        check_marker(config).await?;
        check_target(config, &mut target).await?;
    }
    let known = default_user::ask(&config.servers.source).await;
    let known = known.map_err(|error| Failure::unreachable(error.to_string()))?;
    (state.admits_anonymous, state.passwords) = (known.anonymous, known.passwords);
    let primary = if state.phase == Phase::CutOver { Side::Target } else { Side::Source };
    let survey = match primary {
        Side::Source => Survey::ask(&mut source, &mut target).await,
        Side::Target => Survey::ask(&mut target, &mut source).await,
    };
    let survey = survey.map_err(lost)?;
    let (source_info, target_info) = match primary {
        Side::Source => (&survey.primary, &survey.secondary),
        Side::Target => (&survey.secondary, &survey.primary),
    };
    let acceptances =
        (acceptance(source_info, &mut source).await, acceptance(target_info, &mut target).await);
    Ok(Found { primary, survey, acceptances })
}

/// Looks at the target alone: the source has been let go, and may be gone.
async fn ask_target(config: &RunConfig) -> Result<Found, Failure> {
    let mut target = open(config, Side::Target).await?;
    let survey = Survey::of_one(&mut target).await;
    let survey = survey.map_err(|error| Failure::unreachable(error.to_string()))?;
    let acceptance = Acceptance::expected(&survey.primary.capabilities);
    Ok(Found { primary: Side::Target, survey, acceptances: (acceptance, acceptance) })
}

fn open_state(config: &RunConfig) -> Result<(Option<StateDir>, State, bool), Failure> {
    let servers = &config.servers;
    let fresh = State::new(
        servers.source.address.to_string(),
        servers.target.address.to_string(),
        format!("{:?}", servers.databases),
        server::nonce().to_le_bytes(),
    );
    let Some(path) = &config.state_dir else { return Ok((None, fresh, false)) };
    let no = |error: super::StateError| Failure::no(format!("--state-dir {error}"));
    let store = StateDir::open(path).map_err(no)?;
    let known = store.load(&fresh).map_err(no)?;
    store.rehearse(&fresh).map_err(no)?;
    let resumed = known.is_some();
    Ok((Some(store), known.unwrap_or(fresh), resumed))
}

fn assemble(
    config: RunConfig,
    store: Option<StateDir>,
    state: State,
    found: Found,
    opened: Opened,
) -> Arc<Migration> {
    let Opened { record, beginning, why } = opened;
    let known = Known { acceptances: found.acceptances, default_user: state.default_user() };
    let world = Arc::new(World::new(config, Seed::from_bytes(state.seed), known));
    let resumed = beginning != Beginning::Fresh;
    let doubtful = beginning.doubtful();
    let direction = Direction::new(&world, found.primary, found.survey, doubtful.others(), resumed);
    if let Some(record) = record {
        direction.engine.keep(record);
    }
    let kept = Kept { phase: state.phase, emptied: state.emptied };
    let known = found_at_start(&beginning, why);
    let standing = Standing::start(kept, known, direction.clone(), world.started.elapsed());
    if standing.halt().is_some() || direction.route.pool.upstream().identity.is_replica() {
        // Until it is known whether the side that serves has kept its keys.
        direction.engine.with(|engine| engine.halt(Cause::Replaced));
    }
    let stage = Stage { route: direction.route.clone(), held: false, next: None };
    let tag = state.tag();
    let inner = Inner {
        standing,
        verify: status::Verify {
            state: if resumed { VerifyState::Stale } else { VerifyState::Never },
            ..Default::default()
        },
        verified: None,
        cutover: status::Cutover::default(),
        findings: Vec::new(),
        foreign: None,
        foreign_seen: None,
        code: Vec::new(),
        speed: Speed::default(),
        state,
    };
    let kept = store.as_ref().map(StateDir::path);
    let mut report = Report::open(kept, &tag);
    report.configuration.clone_from(&world.config.digest);
    let hooks = Hooks::start(world.config.hooks.clone(), world.config.webhook.clone());
    let chronicle = Chronicle::new(Audit::open(kept), report, hooks);
    let migration = Migration {
        world,
        chronicle,
        store,
        stage: watch::Sender::new(stage),
        metrics: Arc::new(Metrics::install()),
        inner: Mutex::new(inner),
        flipping: tokio::sync::Mutex::new(()),
        marking: tokio::sync::Mutex::new(()),
        primary_connected: true.into(),
        secondary_answers: true.into(),
        baseline: Mutex::new(None),
        books: Mutex::default(),
        control_connections: (ControlConnection::default(), ControlConnection::default()),
        clients: std::sync::OnceLock::new(),
    };
    Arc::new(migration)
}

/// What a start knows of the secondary's keys. `why`: the reason for which nothing is believed.
fn found_at_start(beginning: &Beginning, why: Option<String>) -> phase::Found {
    let left = || "an earlier process left keys in doubt".to_owned();
    match (why, beginning) {
        (Some(why), _) => phase::Found::Distrusted(why),
        (None, Beginning::Flipped) => phase::Found::Level,
        (None, Beginning::Fresh) => phase::Found::All(None),
        (None, Beginning::Resumed(groups)) if groups.is_full() => phase::Found::All(Some(left())),
        (None, Beginning::Resumed(groups)) if groups.is_empty() => phase::Found::Level,
        (None, Beginning::Resumed(_)) => phase::Found::Some(left()),
    }
}

async fn serve(
    migration: Arc<Migration>,
    listener: Listener,
    admin: TcpListener,
    beginning: Beginning,
) -> Result<(), Failure> {
    let broken = |error: std::io::Error| Failure::no(error.to_string());
    let addresses = (listener.address().map_err(broken)?, admin.local_addr().map_err(broken)?);
    let world = migration.world.clone();
    let shared = Arc::new(Shared {
        stage: migration.stage.subscribe(),
        registry: Registry::default(),
        metrics: migration.metrics.clone(),
        unread: Unread::new(usize::try_from(world.config.client_memory).unwrap_or(usize::MAX)),
        limits: limits(&world),
        allow_admin: world.config.allow_admin,
        pause: Pause::default(),
        logins: Logins::default(),
        partings: Partings::default(),
        turns: Arc::default(),
        unknown: Unknown::default(),
        queues: Budget::of_queues(),
        complaints: RateLimited::default(),
    });
    let _ = migration.clients.set(shared.clone());
    begin(&migration, beginning);
    let (stop_clients, stop_admin) = (CancellationToken::new(), CancellationToken::new());
    let clients = TaskTracker::new();
    clients.spawn(listener.run(shared, clients.clone(), stop_clients.clone()));
    let access = admin::Access {
        token: world.config.admin_token.clone(),
        tls: world.config.admin_tls.clone(),
        hosts: world.config.admin_hosts.clone(),
    };
    let control = Arc::new(migration.clone());
    let api = admin::serve(admin, control, access, stop_admin.clone());
    let api = tokio::spawn(api);
    // The one line whose words are promised to scripts.
    info!("ready listen={} admin={}", addresses.0, addresses.1);
    wait_for_signal().await?;
    info!("stopping: clients are answered, the mirror is drained");
    stop_clients.cancel();
    clients.close();
    let gone = timeout(world.config.drain_timeout, clients.wait()).await.is_ok();
    if drain(&migration).await && gone {
        migration.close_record();
    }
    migration.keep_report();
    migration.direction().stop.cancel();
    stop_admin.cancel();
    let _ = timeout(Duration::from_secs(1), api).await;
    Ok(())
}

/// Bounds on clients. No more of them are let in than there are descriptors for, so that enough are
/// left for the connections to the servers.
fn limits(world: &World) -> Limits {
    let config = &world.config;
    let room = net::raise_descriptors().saturating_sub(RESERVED);
    let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
    if room < config.max_clients {
        let (max_clients, wanted) = (room, config.max_clients);
        warn!(max_clients, wanted, "the limit of open files allows fewer clients (LimitNOFILE)");
    }
    Limits {
        clients: config.max_clients.min(room),
        output: usize::try_from(config.client_output_limit).unwrap_or(usize::MAX),
        login: !world.admits_anonymous(),
    }
}

fn begin(migration: &Arc<Migration>, beginning: Beginning) {
    migration.world.tasks.spawn(migration.clone().watch());
    migration.world.tasks.spawn(migration.clone().keep_chronicle());
    migration.world.tasks.spawn(migration.clone().keep_history());
    if migration.phase() == Phase::Finalized {
        let direction = migration.direction();
        direction.engine.with(Engine::let_go);
        direction.route.authority.let_go();
        return;
    }
    migration.world.tasks.spawn(migration.clone().watch_traffic());
    migration.world.tasks.spawn(migration.clone().look_after_record());
    migration.world.tasks.spawn(migration.clone().watch_default_user());
    let direction = migration.direction();
    direction.start(&migration.world);
    migration.world.tasks.spawn(migration.clone().supervise(direction, beginning));
}

async fn wait_for_signal() -> Result<(), Failure> {
    let fault = |error: std::io::Error| Failure::no(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Gives the mirror time to empty; true when it is.
async fn drain(migration: &Migration) -> bool {
    let engine = migration.direction().engine.clone();
    let empty = engine.until(Engine::is_drained);
    if timeout(migration.world.config.drain_timeout, empty).await.is_err() {
        let (queued, dirty) = engine.look(|engine| (engine.queued().0, engine.dirty_keys()));
        warn!(queued, dirty, "stopped before the mirror was empty");
        return false;
    }
    true
}
