//! What all directions of a migration share: the configuration, what was learnt of the servers at the
//! start, the tasks, how far the copy has come.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backfill::Progress;
use crate::config::{Ack, RunConfig, TargetPolicy};
use crate::engine::ledger::Seed;
use crate::lane::{Acks, ControlConnection, SampleRate};
use crate::protocol::databases::Databases;
use crate::protocol::payload::Acceptance;
use crate::protocol::resp::{Reply, Request};
use crate::proxy::DefaultUser;
use crate::server::Endpoint;
use crate::server::throttle::Throttle;
use crate::status::Side;
use crate::verify::ReadTally;

/// A server that does not answer for so long counts as unreachable.
pub(crate) const UNREACHABLE_AFTER: Duration = Duration::from_secs(2);

/// What the servers were asked once, at the start.
#[derive(Clone, Debug)]
pub(crate) struct ServerFacts {
    /// What payloads the source takes, and the target.
    pub(crate) acceptances: (Acceptance, Acceptance),
    /// What the source asks of its default user.
    pub(crate) default_user: DefaultUser,
}

impl ServerFacts {
    /// Where nobody is served.
    pub(crate) fn without_clients(acceptances: (Acceptance, Acceptance)) -> Self {
        Self { acceptances, default_user: DefaultUser::default() }
    }
}

/// What all directions of a migration share.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) config: RunConfig,
    pub(super) seed: Seed,
    pub(crate) started: Instant,
    pub(crate) tasks: TaskTracker,
    pub(crate) progress: Arc<Progress>,
    pub(crate) throttle: Arc<Throttle>,
    /// Which reads the secondary is asked too.
    pub(crate) shadow: Arc<SampleRate>,
    /// What has come of those.
    pub(crate) reads: Arc<ReadTally>,
    acceptances: (Acceptance, Acceptance),
    /// Cancelled when the source is let go.
    pub(crate) let_go: CancellationToken,
    /// What the source was last seen to ask of its default user.
    pub(crate) default_user: Arc<Mutex<DefaultUser>>,
    /// For questions beside everything else, to the source and to the target.
    control_connections: (ControlConnection, ControlConnection),
}

impl Environment {
    /// Nothing runs in it yet.
    pub(crate) fn new(config: RunConfig, seed: Seed, facts: ServerFacts) -> Self {
        let progress = Arc::new(Progress::default());
        progress.limit(config.copying.backfill_rate.map(NonZeroU64::get));
        let shadow = Arc::new(SampleRate::default());
        shadow.set(config.shadow_reads);
        Self {
            config,
            seed,
            started: Instant::now(),
            tasks: TaskTracker::new(),
            progress,
            throttle: Arc::default(),
            shadow,
            reads: Arc::default(),
            acceptances: facts.acceptances,
            let_go: CancellationToken::new(),
            default_user: Arc::new(Mutex::new(facts.default_user)),
            control_connections: (ControlConnection::default(), ControlConnection::default()),
        }
    }

    pub(crate) fn endpoint(&self, side: Side) -> &Endpoint {
        self.config.servers.endpoint(side)
    }

    /// Asks one of the servers beside everything else; `None`: it does not answer in time.
    pub(crate) async fn ask(&self, side: Side, questions: &[Request]) -> Option<Vec<Reply>> {
        let line = match side {
            Side::Source => &self.control_connections.0,
            Side::Target => &self.control_connections.1,
        };
        let asked = line.ask_all(self.endpoint(side), questions);
        timeout(UNREACHABLE_AFTER, asked).await.ok().flatten()
    }

    /// Goes where the sentinels of a side say, if it has any, until it is let go.
    pub(crate) fn follow_sentinels(&self, side: Side) {
        let (endpoint, let_go) = (self.endpoint(side).clone(), self.let_go.clone());
        self.tasks.spawn(async move {
            match side {
                Side::Source => drop(let_go.run_until_cancelled(endpoint.follow_sentinels()).await),
                Side::Target => endpoint.follow_sentinels().await,
            }
        });
    }

    /// Whether clients may do without logging in.
    pub(crate) fn admits_anonymous(&self) -> bool {
        self.default_user.lock().anonymous
    }

    /// Whether answers wait for the secondary.
    pub(super) fn acks(&self) -> Option<Acks> {
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
    pub(crate) fn keeps_extras(&self, secondary: Side) -> bool {
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
    pub(crate) fn databases_from(&self, primary: Side) -> Databases {
        match primary {
            Side::Source => self.config.servers.databases.clone(),
            Side::Target => self.config.servers.databases.reversed(),
        }
    }
}
