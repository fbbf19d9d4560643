//! From settings to a running migration.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::direction::{Direction, Known, World};
use super::migration::{Inner, Migration, Speed};
use super::passes::Beginning;
use super::preflight::{check_marker, check_target, open};
use super::state::{State, StateDir};
use super::survey::{Survey, acceptance};
use crate::admin;
use crate::backend::{Endpoint, Setup};
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::lane::SideLine;
use crate::ledger::{Groups, Seed};
use crate::metrics::{Metrics, Renderer};
use crate::payload::Acceptance;
use crate::proxy::{Limits, Listener, Registry, Shared, Stage, Unknown};
use crate::status::{self, Phase, Side, VerifyState};
use crate::telemetry;

/// How often the metrics' upkeep runs.
const UPKEEP: Duration = Duration::from_secs(1);

/// Runs a migration until a signal stops it.
///
/// # Errors
/// It can't start: a server, the target's keys, the state directory, an address.
pub async fn start(config: RunConfig) -> Result<(), Failure> {
    let (store, mut state, resumed) = open_state(&config)?;
    let mut source = open(&config, Side::Source).await?;
    let mut target = open(&config, Side::Target).await?;
    if !resumed {
        check_marker(&config).await?;
        check_target(&config, &mut target).await?;
    }
    let primary = match state.phase {
        Phase::CutOver | Phase::Finalized => Side::Target,
        _ => Side::Source,
    };
    let (first, second) = match primary {
        Side::Source => (&mut source, &mut target),
        Side::Target => (&mut target, &mut source),
    };
    let survey = Survey::ask(first, second).await;
    let survey = survey.map_err(|error| Failure::unreachable(error.to_string()))?;
    let (source_info, target_info) = match primary {
        Side::Source => (&survey.primary, &survey.secondary),
        Side::Target => (&survey.secondary, &survey.primary),
    };
    let processes = (source_info.run_id.clone(), target_info.run_id.clone());
    let beginning = match &state.equal {
        _ if !resumed => Beginning::Fresh,
        Some(then) if *then == processes => Beginning::Equal,
        _ => Beginning::Unknown,
    };
    state.equal = None;
    if state.phase != Phase::Finalized {
        state.admits_anonymous = admits_anonymous(&config.servers.source).await;
    }
    let listener = Listener::bind(&config.listen.to_string())
        .await
        .map_err(|error| Failure::no(format!("--listen {}: {error}", config.listen)))?;
    let admin = TcpListener::bind(config.admin).await;
    let admin = admin.map_err(|error| Failure::no(format!("--admin {}: {error}", config.admin)))?;
    if let Some(store) = &store {
        store.save(&state).map_err(|error| Failure::no(error.to_string()))?;
    }
    let acceptances =
        (acceptance(source_info, &mut source).await, acceptance(target_info, &mut target).await);
    let (migration, renderer) =
        assemble(config, store, state, (primary, survey), acceptances, beginning);
    serve(migration, renderer, listener, admin, beginning).await
}

/// Whether a client may do without a password there.
async fn admits_anonymous(source: &Endpoint) -> bool {
    let nobody = Setup { name: "crossfade-control", ..Setup::default() };
    source.connect(&nobody).await.is_ok()
}

fn open_state(config: &RunConfig) -> Result<(Option<StateDir>, State, bool), Failure> {
    let servers = &config.servers;
    let fresh = State::new(
        servers.source.address.to_string(),
        servers.target.address.to_string(),
        format!("{:?}", servers.databases),
        Seed::random().to_bytes(),
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
    (primary, survey): (Side, Survey),
    acceptances: (Acceptance, Acceptance),
    beginning: Beginning,
) -> (Arc<Migration>, Renderer) {
    let (metrics, renderer) = Metrics::install();
    let known = Known { acceptances, admits_anonymous: state.admits_anonymous };
    let world = Arc::new(World::new(config, Seed::from_bytes(state.seed), known));
    let resumed = beginning != Beginning::Fresh;
    let equal = beginning == Beginning::Equal;
    let migrated = if equal { Groups::full() } else { Groups::default() };
    let direction = Direction::new(&world, primary, survey, migrated, resumed);
    let stage = Stage { route: direction.route.clone(), held: false, next: None };
    let phase = match state.phase {
        Phase::CutOver | Phase::Finalized => state.phase,
        Phase::Mirroring if equal => Phase::Mirroring,
        _ => Phase::Backfilling,
    };
    metrics.enter(phase);
    let inner = Inner {
        phase,
        direction,
        passing: phase != Phase::Finalized && !equal,
        cause: (resumed && !equal).then(|| "restart".to_owned()),
        verify: status::Verify {
            state: if resumed { VerifyState::Stale } else { VerifyState::Never },
            ..Default::default()
        },
        cutover: status::Cutover::default(),
        findings: Vec::new(),
        code: Vec::new(),
        speed: Speed::default(),
        state,
    };
    let migration = Migration {
        world,
        store,
        stage: watch::Sender::new(stage),
        metrics: Arc::new(metrics),
        inner: Mutex::new(inner),
        flipping: tokio::sync::Mutex::new(()),
        primary_connected: true.into(),
        baseline: Mutex::new(None),
        target_side: SideLine::default(),
        clients: std::sync::OnceLock::new(),
    };
    (Arc::new(migration), renderer)
}

async fn serve(
    migration: Arc<Migration>,
    renderer: Renderer,
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
        limits: Limits {
            clients: world.config.max_clients,
            output: usize::try_from(world.config.client_output_limit).unwrap_or(usize::MAX),
        },
        allow_admin: world.config.allow_admin,
        unknown: Unknown::default(),
    });
    let _ = migration.clients.set(shared.clone());
    begin(&migration, beginning);
    let (stop_clients, stop_admin) = (CancellationToken::new(), CancellationToken::new());
    let clients = TaskTracker::new();
    clients.spawn(listener.run(shared, clients.clone(), stop_clients.clone()));
    let token = world.config.admin_token.clone();
    let control = Arc::new(migration.clone());
    let api = admin::serve(admin, control, renderer.clone(), token, stop_admin.clone());
    let api = tokio::spawn(api);
    let upkeep = tokio::spawn(upkeep(migration.clone(), renderer));
    telemetry::announce(addresses.0, addresses.1);
    wait_for_signal().await?;
    info!("stopping: clients are answered, the mirror is drained");
    stop_clients.cancel();
    clients.close();
    let _ = timeout(world.config.drain_timeout, clients.wait()).await;
    if drain(&migration).await {
        migration.remember_equality();
    }
    migration.direction().stop.cancel();
    stop_admin.cancel();
    upkeep.abort();
    let _ = timeout(Duration::from_secs(1), api).await;
    Ok(())
}

fn begin(migration: &Arc<Migration>, beginning: Beginning) {
    migration.world.tasks.spawn(migration.clone().watch());
    if migration.phase() == Phase::Finalized {
        migration.direction().hub.with(crate::engine::Engine::let_go);
        return;
    }
    let direction = migration.direction();
    direction.start(&migration.world);
    migration.world.tasks.spawn(migration.clone().supervise(direction, beginning));
}

async fn upkeep(migration: Arc<Migration>, renderer: Renderer) {
    loop {
        migration.update_metrics();
        renderer.upkeep();
        sleep(UPKEEP).await;
    }
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
    let hub = migration.direction().hub.clone();
    let empty = async {
        while !hub.with(|engine| engine.is_drained()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(migration.world.config.drain_timeout, empty).await.is_err() {
        let (queued, _) = hub.with(|engine| engine.queued());
        let dirty = hub.with(|engine| engine.dirty_keys());
        warn!(queued, dirty, "stopped before the mirror was empty");
        return false;
    }
    true
}
