//! A migration that runs: its parts put together, its tasks begun, and its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::super::chronicle::Chronicle;
use super::super::health::{Health, watch_traffic};
use super::super::intent_file::{self, Beginning, Opened};
use super::super::migration::{Course, Migration, Moment};
use super::super::operations::Operations;
use super::super::phase::{Kept, KeysAtStart, Standing};
use super::super::state::{State, StateDir};
use super::super::supervise::supervise;
use super::super::{history, rehearsing, users};
use super::signpost;
use crate::admin;
use crate::admin::audit::Audit;
use crate::admin::report::Report;
use crate::control::hooks::Hooks;
use crate::engine::{Cause, Engine};
use crate::failure::Failure;
use crate::lane::Unread;
use crate::net::{self, RateLimited};
use crate::pipeline::{Direction, Environment, Survey};
use crate::proxy::{Budget, Limits, Listener, Logins, Partings, Pause, Registry, Shared, Unknown};
use crate::status::{Phase, Side, Status};

/// Descriptors for everything but clients: lanes, copiers, the admin API. A client that blocks,
/// watches or subscribes takes a second one.
const RESERVED: u64 = 512;

/// All that runs.
pub(super) struct Running {
    migration: Arc<Migration>,
    health: Arc<Health>,
    chronicle: Arc<Chronicle>,
    moments: mpsc::Receiver<Moment>,
    beginning: Beginning,
}

impl Running {
    /// Puts the parts together; nothing runs yet.
    pub(super) fn assemble(
        env: Arc<Environment>,
        store: Option<StateDir>,
        state: State,
        (primary, survey): (Side, Survey),
        Opened { record, beginning, why }: Opened,
        news: watch::Sender<Arc<Status>>,
    ) -> Self {
        let resumed = beginning != Beginning::Fresh;
        let doubtful = beginning.doubtful();
        let is_source_away = primary == Side::Target && survey.alone;
        let direction = Direction::new(&env, primary, survey, doubtful.others(), resumed);
        if is_source_away {
            direction.route.authority.heard(false);
        }
        if let Some(record) = record {
            direction.engine.keep(record);
        }
        let kept = Kept { phase: state.phase, emptied: state.emptied };
        let found = found_at_start(&beginning, why);
        let standing = Standing::start(kept, found, direction.clone(), env.started.elapsed());
        if standing.halt().is_some() || direction.route.pool.upstream().identity.is_replica() {
            // Until it is known whether the side that serves has kept its keys.
            direction.engine.with(|engine| engine.halt(Cause::Replaced));
        }
        let directory = store.as_ref().map(StateDir::path);
        let (audit, mut report) = (Audit::open(directory), Report::open(directory, &state.tag()));
        report.configuration.clone_from(&env.config.digest);
        let hooks = Hooks::start(env.config.hooks.clone(), env.config.webhook.clone());
        let course = Course::new(state, standing, resumed);
        let (migration, moments) = Migration::new(env, store, course);
        let health = Health::new(migration.clone());
        let chronicle = Chronicle::new(migration.clone(), audit, report, hooks, news);
        Self { migration, health, chronicle, moments, beginning }
    }

    /// Serves clients and operators until a signal comes.
    pub(super) async fn serve(
        self,
        listener: Listener,
        admin: TcpListener,
        signposts: Option<TcpListener>,
    ) -> Result<(), Failure> {
        let broken = |error: std::io::Error| Failure::no(error.to_string());
        let addresses = (listener.address().map_err(broken)?, admin.local_addr().map_err(broken)?);
        let (migration, chronicle) = (self.migration.clone(), self.chronicle.clone());
        let env = migration.env.clone();
        let control = Arc::new(Operations::new(self.health.clone(), chronicle.clone()));
        let shared = shared(&migration);
        let _ = migration.clients.set(shared.clone());
        // Before a client can do what would not be heard.
        rehearsing::begin(&migration).await;
        self.begin();
        let (stop_clients, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let clients = TaskTracker::new();
        clients.spawn(listener.run(shared, clients.clone(), stop_clients.clone()));
        if let Some(listener) = signposts {
            let signpost = signpost::to(&migration, addresses.0.port());
            clients.spawn(signpost.run(listener, stop_clients.clone()));
        }
        let access = admin::Access {
            token: env.config.admin_token.clone(),
            tls: env.config.admin_tls.clone(),
            hosts: env.config.admin_hosts.clone(),
        };
        let api = tokio::spawn(admin::serve(admin, control, access, stop_admin.clone()));
        // The one line whose words are promised to scripts.
        info!("ready listen={} admin={}", addresses.0, addresses.1);
        wait_for_signal().await?;
        info!("stopping: clients are answered, the mirror is drained");
        stop_clients.cancel();
        clients.close();
        let gone = timeout(env.config.drain_timeout, clients.wait()).await.is_ok();
        if drain(&migration).await && gone {
            intent_file::close(&migration.direction().engine);
        }
        chronicle.keep_report();
        migration.direction().stop.cancel();
        stop_admin.cancel();
        let _ = timeout(Duration::from_secs(1), api).await;
        Ok(())
    }

    fn begin(self) {
        let Self { migration, health, chronicle, moments, beginning } = self;
        let tasks = &migration.env.tasks;
        tasks.spawn(health.watch());
        migration.env.follow_sentinels(Side::Target);
        tasks.spawn(chronicle.clone().keep(moments));
        tasks.spawn(history::keep(chronicle));
        let direction = migration.direction();
        if migration.phase() == Phase::Finalized {
            direction.engine.with(Engine::let_go);
            direction.route.authority.let_go();
            return;
        }
        migration.env.follow_sentinels(Side::Source);
        tasks.spawn(watch_traffic(migration.clone()));
        tasks.spawn(intent_file::look_after(migration.clone()));
        tasks.spawn(users::watch_default(migration.clone()));
        tasks.spawn(rehearsing::go_on(migration.clone()));
        direction.start(&migration.env);
        supervise(&migration, beginning);
    }
}

/// What a start knows of the secondary's keys. `why`: the reason for which nothing is believed.
fn found_at_start(beginning: &Beginning, why: Option<String>) -> KeysAtStart {
    let left = || "an earlier process left keys in doubt".to_owned();
    match (why, beginning) {
        (Some(why), _) => KeysAtStart::Distrusted(why),
        (None, Beginning::Flipped) => KeysAtStart::Level,
        (None, Beginning::Fresh) => KeysAtStart::All(None),
        (None, Beginning::Resumed(groups)) if groups.is_full() => KeysAtStart::All(Some(left())),
        (None, Beginning::Resumed(groups)) if groups.is_empty() => KeysAtStart::Level,
        (None, Beginning::Resumed(_)) => KeysAtStart::Some(left()),
    }
}

/// What all clients share.
fn shared(migration: &Migration) -> Arc<Shared> {
    let config = &migration.env.config;
    Arc::new(Shared {
        stage: migration.stage.subscribe(),
        registry: Registry::default(),
        metrics: migration.metrics.clone(),
        unread: Unread::new(usize::try_from(config.client_memory).unwrap_or(usize::MAX)),
        limits: limits(&migration.env),
        allow_admin: config.allow_admin,
        pause: Pause::default(),
        logins: Logins::default(),
        partings: Partings::default(),
        turns: Arc::default(),
        unknown: Unknown::default(),
        queues: Budget::of_queues(),
        rehearsal: migration.rehearsal.clone(),
        complaints: RateLimited::default(),
    })
}

/// Bounds on clients. No more of them are let in than there are descriptors for, so that enough are
/// left for the connections to the servers.
fn limits(env: &Environment) -> Limits {
    let config = &env.config;
    let room = net::raise_descriptors().saturating_sub(RESERVED);
    let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
    if room < config.max_clients {
        let (max_clients, wanted) = (room, config.max_clients);
        warn!(max_clients, wanted, "the limit of open files allows fewer clients (LimitNOFILE)");
    }
    Limits {
        clients: config.max_clients.min(room),
        output: usize::try_from(config.client_output_limit).unwrap_or(usize::MAX),
        login: !env.admits_anonymous(),
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
    let engine = migration.direction().engine.clone();
    let empty = engine.until(Engine::is_drained);
    if timeout(migration.env.config.drain_timeout, empty).await.is_err() {
        let (queued, dirty) = engine.look(|engine| (engine.queued().0, engine.dirty_keys()));
        warn!(queued, dirty, "stopped before the mirror was empty");
        return false;
    }
    true
}
