//! One direction of mirroring: who serves, who follows, and the tasks between.

use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::clocks::Clocks;
use super::environment::Environment;
use super::marker::marker;
use super::survey::Survey;
use crate::backfill;
use crate::config::Scripts;
use crate::engine::ledger::Groups;
use crate::engine::{Engine, Group, Settings};
use crate::lane::{
    Busy, ControlConnection, Identity, Pool, Reach, ServerIdentity, SharedEngine, StandIn, Upstream,
};
use crate::mirror::{Before, Mirror, Peer, Tracker};
use crate::proxy;
use crate::server::ServerInfo;
use crate::status::Side;
use crate::verify::Shadowing;

/// Groups that are named; of the others only the number is said.
const NAMED: usize = 5;
/// Tasks that work off dirty keys.
const RECOPIERS: usize = 2;

/// One direction.
#[derive(Debug)]
pub(crate) struct Direction {
    pub(crate) primary: Side,
    pub(crate) engine: Arc<SharedEngine>,
    pub(crate) route: Arc<proxy::Route>,
    /// The same, as subscribers are told of it before a flip.
    pub(crate) offer: Arc<proxy::Next>,
    pub(crate) copies: Arc<backfill::Route>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) survey: Survey,
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
        env: &Environment,
        primary: Side,
        survey: Survey,
        migrated: Groups,
        after_a_flip: bool,
    ) -> Arc<Self> {
        let secondary = primary.other();
        let settings = Settings {
            databases: env.databases_from(primary),
            primary: survey.primary.capabilities,
            secondary: survey.secondary.capabilities,
            clock_offset: survey.clock_offset,
            seed: env.seed,
            buffer: usize::try_from(env.config.mirror_buffer).unwrap_or(usize::MAX),
            mirroring: true,
            follow_scripts: env.config.scripts == Scripts::Exact,
            marker: (secondary == Side::Source).then(marker),
        };
        let engine = Engine::new(settings, migrated);
        let engine = SharedEngine::new(engine, env.started, env.acks(), env.shadow.clone());
        let route = Arc::new(route(env, primary, &survey, &engine, after_a_flip));
        let copies = Arc::new(backfill::Route {
            engine: engine.clone(),
            endpoint: env.endpoint(primary).clone(),
            from: survey.primary.capabilities,
            to: survey.secondary.capabilities,
            acceptance: env.acceptance(secondary),
            trials: backfill::Trials::new(env.endpoint(secondary).clone()),
            by_frequency: survey.by_frequency,
            progress: env.progress.clone(),
            throttle: env.throttle.clone(),
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
    pub(crate) fn listen_as(&self, before: &Self, env: &Environment) {
        if before.engine.look(Engine::has_scripts) {
            self.engine.with(Engine::expect_scripts);
            self.start_tracker(env);
        }
    }

    fn start_tracker(&self, env: &Environment) {
        self.tracker.call_once(|| {
            let endpoint = env.endpoint(self.primary).clone();
            let tracker = Tracker { engine: self.engine.clone(), endpoint };
            env.tasks.spawn(tracker.run(self.stop.clone()));
        });
    }

    /// Starts the mirror and the recopiers.
    pub(crate) fn start(&self, env: &Environment) {
        self.start_mirror(env);
        self.start_tracker(env);
        let clocks = Clocks {
            engine: self.engine.clone(),
            primary: env.endpoint(self.primary).clone(),
            secondary: env.endpoint(self.primary.other()).clone(),
        };
        env.tasks.spawn(clocks.watch(self.stop.clone()));
        env.tasks.spawn(self.shadowing(env).run(self.stop.clone()));
        for _ in 0..RECOPIERS {
            env.tasks.spawn(backfill::recopy(self.copies.clone(), self.stop.clone()));
        }
    }

    fn shadowing(&self, env: &Environment) -> Shadowing {
        Shadowing {
            engine: self.engine.clone(),
            primary: (env.endpoint(self.primary).clone(), self.survey.primary.capabilities),
            secondary: env.endpoint(self.primary.other()).clone(),
            databases: env.databases_from(self.primary),
            tolerance: env.config.expiry_tolerance,
            from_source: self.primary == Side::Source,
            tally: env.reads.clone(),
        }
    }

    /// Starts what carries effects and copies to the secondary.
    pub(crate) fn start_mirror(&self, env: &Environment) {
        let secondary = self.primary.other();
        let mirror = Mirror {
            engine: self.engine.clone(),
            endpoint: env.endpoint(secondary).clone(),
            name: secondary.name(),
            peer: self.peer.clone(),
            before: if self.survey.alone { Before::Process } else { Before::Nobody },
        };
        env.tasks.spawn(mirror.run(self.stop.clone()));
        if self.engine.acks().is_some() {
            env.tasks.spawn(look_after_acks(self.engine.clone(), self.stop.clone()));
        }
    }

    /// What a flip would lose, a line a kind, the largest kinds first.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let secondary = self.primary.other();
        let mut groups: Vec<_> = self.engine.look(|engine| {
            engine.left_out_groups().map(|(group, count)| (count, group.clone())).collect()
        });
        groups.sort_by(|(a, _), (b, _)| b.cmp(a));
        let rest: usize = groups.iter().skip(NAMED).map(|(count, _)| count).sum();
        let line = |(count, group): &(usize, Group)| {
            let Group { lack, pattern } = group;
            format!("{count} keys like '{pattern}' are left out: the {secondary} has no {lack}")
        };
        let mut lines: Vec<String> = groups.iter().take(NAMED).map(line).collect();
        if rest > 0 {
            lines.push(format!("{rest} keys more, of other names, are left out too"));
        }
        lines
    }

    /// What is written faster than it can be copied, a line a kind.
    pub(crate) fn restless(&self) -> Vec<String> {
        let groups = self.engine.look(Engine::restless);
        let line = |(pattern, count): (String, usize)| {
            format!(
                "{count} keys like '{pattern}' are big, and written faster than they can be copied"
            )
        };
        groups.into_iter().take(NAMED).map(line).collect()
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
    env: &Environment,
    primary: Side,
    survey: &Survey,
    engine: &Arc<SharedEngine>,
    after_a_flip: bool,
) -> proxy::Route {
    let upstream = |side: Side, process: &ServerInfo| {
        Arc::new(Upstream {
            endpoint: env.endpoint(side).clone(),
            name: side.name(),
            timeout: env.config.source_timeout,
            engine: engine.clone(),
            tasks: env.tasks.clone(),
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
            Some(env.default_user.clone()),
        ),
    };
    let target = env.endpoint(Side::Target);
    let stand_in = (primary == Side::Target).then(|| StandIn {
        identity: match &target.password {
            Some(password) => Identity::User(target.user.clone(), password.clone()),
            None => Identity::Anonymous,
        },
        for_anonymous: env.admits_anonymous(),
    });
    proxy::Route {
        pool: Pool::new(serving, stand_in, env.config.max_contexts),
        engine: engine.clone(),
        databases: env.client_databases(primary),
        authority,
        cursors: after_a_flip.then(proxy::Cursors::default),
    }
}
