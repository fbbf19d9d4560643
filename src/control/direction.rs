//! One direction of mirroring: who serves, who follows, and the tasks between.

use std::num::NonZeroU64;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::clocks::Clocks;
use super::marker::marker;
use super::survey::Survey;
use crate::backfill::{self, Progress};
use crate::config::{Ack, RunConfig, Scripts, TargetPolicy};
use crate::engine::ledger::{Groups, Seed};
use crate::engine::{Engine, Settings};
use crate::lane::{
    Acks, Busy, ControlConnection, Identity, Pool, Reach, ServerIdentity, SharedEngine, StandIn,
    Upstream,
};
use crate::mirror::{Mirror, Peer, Tracker};
use crate::protocol::databases::Databases;
use crate::protocol::payload::Acceptance;
use crate::proxy::{self, DefaultUser};
use crate::server::throttle::Courtesy;
use crate::server::{Endpoint, ServerInfo};
use crate::status::Side;

/// Tasks that work off dirty keys.
const RECOPIERS: usize = 2;

/// What the servers were asked once, at the start.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// What payloads the source takes, and the target.
    pub(crate) acceptances: (Acceptance, Acceptance),
    /// What the source asks of its default user.
    pub(crate) default_user: DefaultUser,
}

impl Known {
    /// Where nobody is served.
    pub(crate) fn without_clients(acceptances: (Acceptance, Acceptance)) -> Self {
        Self { acceptances, default_user: DefaultUser::default() }
    }
}

/// What all directions of a migration share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: RunConfig,
    pub(super) seed: Seed,
    pub(super) started: Instant,
    pub(super) tasks: TaskTracker,
    pub(crate) progress: Arc<Progress>,
    pub(crate) courtesy: Arc<Courtesy>,
    acceptances: (Acceptance, Acceptance),
    /// What the source was last seen to ask of its default user.
    pub(super) default_user: Arc<Mutex<DefaultUser>>,
}

impl World {
    /// A world in which nothing runs yet.
    pub(crate) fn new(config: RunConfig, seed: Seed, known: Known) -> Self {
        let progress = Arc::new(Progress::default());
        progress.limit(config.copying.backfill_rate.map(NonZeroU64::get));
        Self {
            config,
            seed,
            started: Instant::now(),
            tasks: TaskTracker::new(),
            progress,
            courtesy: Arc::default(),
            acceptances: known.acceptances,
            default_user: Arc::new(Mutex::new(known.default_user)),
        }
    }

    /// A server.
    pub(super) fn endpoint(&self, side: Side) -> &Endpoint {
        self.config.servers.endpoint(side)
    }

    /// Whether clients may do without logging in.
    pub(super) fn admits_anonymous(&self) -> bool {
        self.default_user.lock().anonymous
    }

    /// Whether answers wait for the secondary.
    fn acks(&self) -> Option<Acks> {
        let config = &self.config;
        (config.ack == Ack::Both).then(|| Acks::new(config.ack_timeout))
    }

    /// What payloads a server takes.
    pub(super) fn acceptance(&self, side: Side) -> Acceptance {
        match side {
            Side::Source => self.acceptances.0,
            Side::Target => self.acceptances.1,
        }
    }

    /// Whether a secondary may hold keys of its own, which nobody may remove.
    pub(super) fn keeps_extras(&self, secondary: Side) -> bool {
        secondary == Side::Target && self.config.copying.target_policy == TargetPolicy::Overwrite
    }

    /// The databases, from the clients' numbers to this side's.
    pub(super) fn client_databases(&self, side: Side) -> Databases {
        let to_target = self.config.servers.databases.clone();
        match (side, to_target) {
            (Side::Target, databases) => databases,
            (Side::Source, Databases::All) => Databases::All,
            (Side::Source, Databases::Only(pairs)) => {
                Databases::Only(pairs.into_iter().map(|(from, _)| (from, from)).collect())
            }
        }
    }

    /// The databases, from one side's numbers to the other's.
    pub(super) fn databases_from(&self, primary: Side) -> Databases {
        match primary {
            Side::Source => self.config.servers.databases.clone(),
            Side::Target => self.config.servers.databases.reversed(),
        }
    }
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Direction {
    pub(super) primary: Side,
    pub(crate) engine: Arc<SharedEngine>,
    pub(super) route: Arc<proxy::Route>,
    /// The same, as subscribers are told of it before a flip.
    pub(super) offer: Arc<proxy::Next>,
    pub(crate) copies: Arc<backfill::Route>,
    pub(crate) peer: Arc<Peer>,
    pub(super) survey: Survey,
    pub(crate) stop: CancellationToken,
    tracker: Once,
}

/// What was started for a direction ends with it, also when a flip to it came to nothing.
impl Drop for Direction {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Direction {
    /// Prepares a direction without starting it. `migrated` says what the secondary holds already.
    pub(crate) fn new(
        world: &World,
        primary: Side,
        survey: Survey,
        migrated: Groups,
        after_a_flip: bool,
    ) -> Arc<Self> {
        let secondary = primary.other();
        let settings = Settings {
            databases: world.databases_from(primary),
            primary: survey.primary.capabilities,
            secondary: survey.secondary.capabilities,
            clock_offset: survey.clock_offset,
            seed: world.seed,
            buffer: usize::try_from(world.config.mirror_buffer).unwrap_or(usize::MAX),
            mirroring: true,
            follow_scripts: world.config.scripts == Scripts::Exact,
            marker: (secondary == Side::Source).then(marker),
        };
        let engine =
            SharedEngine::new(Engine::new(settings, migrated), world.started, world.acks());
        let route = Arc::new(route(world, primary, &survey, &engine, after_a_flip));
        let copies = Arc::new(backfill::Route {
            engine: engine.clone(),
            endpoint: world.endpoint(primary).clone(),
            from: survey.primary.capabilities,
            to: survey.secondary.capabilities,
            acceptance: world.acceptance(secondary),
            trials: backfill::Trials::new(world.endpoint(secondary).clone()),
            by_frequency: survey.by_frequency,
            progress: world.progress.clone(),
            courtesy: world.courtesy.clone(),
        });
        let (peer, stop) =
            (Arc::new(Peer::new(survey.secondary.clone())), CancellationToken::new());
        let offer = proxy::Next::new(route.clone());
        Arc::new(Self {
            primary,
            engine,
            route,
            offer,
            copies,
            peer,
            survey,
            stop,
            tracker: Once::new(),
        })
    }

    /// Starts what listens to scripts, once: before a flip already where `before` has had some, so
    /// that none waits for it afterwards.
    pub(super) fn listen_as(&self, before: &Self, world: &World) {
        if before.engine.look(Engine::has_scripts) {
            self.engine.with(Engine::expect_scripts);
            self.start_tracker(world);
        }
    }

    fn start_tracker(&self, world: &World) {
        self.tracker.call_once(|| {
            let endpoint = world.endpoint(self.primary).clone();
            let tracker = Tracker { engine: self.engine.clone(), endpoint };
            world.tasks.spawn(tracker.run(self.stop.clone()));
        });
    }

    /// Starts the mirror and the recopiers.
    pub(super) fn start(&self, world: &World) {
        self.start_mirror(world);
        self.start_tracker(world);
        let clocks = Clocks {
            engine: self.engine.clone(),
            primary: world.endpoint(self.primary).clone(),
            secondary: world.endpoint(self.primary.other()).clone(),
        };
        world.tasks.spawn(clocks.watch(self.stop.clone()));
        for _ in 0..RECOPIERS {
            world.tasks.spawn(backfill::recopy(self.copies.clone(), self.stop.clone()));
        }
    }

    /// Starts what carries effects and copies to the secondary.
    pub(crate) fn start_mirror(&self, world: &World) {
        let secondary = self.primary.other();
        let mirror = Mirror {
            engine: self.engine.clone(),
            endpoint: world.endpoint(secondary).clone(),
            name: secondary.name(),
            peer: self.peer.clone(),
            before: None,
        };
        world.tasks.spawn(mirror.run(self.stop.clone()));
        if self.engine.acks().is_some() {
            world.tasks.spawn(look_after_acks(self.engine.clone(), self.stop.clone()));
        }
    }
}

/// Answers must not wait for a secondary that is away.
async fn look_after_acks(engine: Arc<SharedEngine>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        sleep(Duration::from_millis(20)).await;
        let Some(acks) = engine.acks() else { return };
        let now = engine.now();
        if engine.look(|engine| acks.look(engine, Duration::from_millis(engine.lag(now)))) {
            warn!("the secondary takes too long: writes are answered without it until it is back");
        }
    }
}

fn route(
    world: &World,
    primary: Side,
    survey: &Survey,
    engine: &Arc<SharedEngine>,
    after_a_flip: bool,
) -> proxy::Route {
    let upstream = |side: Side, process: &ServerInfo| {
        Arc::new(Upstream {
            endpoint: world.endpoint(side).clone(),
            name: side.name(),
            timeout: world.config.source_timeout,
            engine: engine.clone(),
            tasks: world.tasks.clone(),
            control: ControlConnection::default(),
            reach: Reach::default(),
            busy: Busy::default(),
            identity: ServerIdentity::new(process),
        })
    };
    let serving = upstream(primary, &survey.primary);
    let authority = match primary {
        Side::Source => proxy::Authority::new(serving.clone(), None),
        Side::Target => proxy::Authority::new(
            upstream(Side::Source, &survey.secondary),
            Some(world.default_user.clone()),
        ),
    };
    let target = world.endpoint(Side::Target);
    let stand_in = (primary == Side::Target).then(|| StandIn {
        identity: match &target.password {
            Some(password) => Identity::User(target.user.clone(), password.clone()),
            None => Identity::Anonymous,
        },
        for_anonymous: world.admits_anonymous(),
    });
    proxy::Route {
        pool: Pool::new(serving, stand_in, world.config.max_contexts),
        engine: engine.clone(),
        databases: world.client_databases(primary),
        authority,
        cursors: after_a_flip.then(proxy::Cursors::default),
    }
}
