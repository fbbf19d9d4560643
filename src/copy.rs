//! `crossfade copy`: one pass of source to target, without a proxy.
//!
//! *What it is:* a direction as `run` has it, through which no client writes: its pass copies what
//! there is, its mirror carries it over.
//!
//! *Guarantees:* gives way to the source's clients; ends when every key is on the target or has
//! failed `ATTEMPTS` times, or when a server stays away; what was not copied is counted, never passed over.
//!
//! *Must not know:* arguments, exit codes.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::backfill::{self, Pass};
use crate::config::{RunConfig, TargetPolicy};
use crate::engine::ledger::{Groups, Seed};
use crate::failure::Failure;
use crate::pipeline::{self, Direction, Environment, ServerFacts, Survey};
use crate::protocol::payload::Acceptance;
use crate::server;
use crate::server::throttle::foreign_load::give_way;
use crate::status::{Progress, Side};

/// How often a key is tried before it counts as failed.
const ATTEMPTS: usize = 4;
/// How often both servers are asked whether they are there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often it is told how far the copy is.
const GLANCE: Duration = Duration::from_millis(100);

/// Copies everything once, and tells how far it is. An error is a server that can't be reached or
/// stays away, or a target that holds keys that it may not.
pub(crate) async fn run(
    config: RunConfig,
    progress: watch::Sender<Progress>,
) -> Result<Summary, Failure> {
    let mut source = pipeline::open(&config, Side::Source).await?;
    let mut target = pipeline::open(&config, Side::Target).await?;
    pipeline::check_marker(&config).await?;
    pipeline::check_target(&config, &mut target).await?;
    let survey = Survey::ask(&mut source, &mut target).await;
    let survey = survey.map_err(|error| pipeline::lost_one(&config, Side::Source, &error))?;
    let facts = ServerFacts::without_clients((
        Acceptance::expected(&survey.primary.capabilities),
        pipeline::acceptance(&survey.secondary, &mut target).await,
    ));
    let env = Environment::new(config, Seed::from_bytes(server::nonce().to_le_bytes()), facts);
    for side in Side::ALL {
        env.follow_sentinels(side);
    }
    let direction = Direction::new(&env, Side::Source, survey, Groups::default(), false);
    direction.start_mirror(&env);
    let summary = tokio::select! {
        summary = copy(&env, &direction) => Ok(summary),
        failure = lose(&env) => Err(failure),
        never = give_way(&env.config.servers.source, &env.throttle) => match never {},
        never = tell(&env, &progress) => match never {},
    };
    direction.stop.cancel();
    summary
}

async fn copy(env: &Environment, direction: &Arc<Direction>) -> Summary {
    let started = Instant::now();
    match pipeline::copy_libraries(env, direction, &mut None).await {
        Ok(findings) => {
            for finding in findings {
                tracing::warn!(finding, "function libraries");
            }
        }
        Err(error) => tracing::warn!(%error, "function libraries could not be copied"),
    }
    let mut groups = Groups::full();
    let mut keys = 0;
    for _ in 0..ATTEMPTS {
        if !groups.is_empty() {
            keys = pass(env, direction).run().await.max(keys);
        } else if let Err(error) = backfill::retry(&direction.copies).await {
            tracing::warn!(%error, "keys that failed could not be tried again");
        }
        direction.engine.until(|engine| engine.queued().0 == 0).await;
        if is_complete(direction) {
            break;
        }
        groups = direction.engine.with(|engine| {
            if engine.needs_pass() { engine.begin_pass().0 } else { Groups::default() }
        });
    }
    let failed = direction.engine.look(|engine| engine.dirty_keys() + engine.left_out()) as u64;
    Summary::new(keys, failed, direction.left_out(), started.elapsed())
}

fn pass(env: &Environment, direction: &Direction) -> Pass {
    let was_empty = env.config.copying.target_policy != TargetPolicy::Overwrite;
    Pass {
        route: direction.copies.clone(),
        secondary: (!was_empty).then(|| env.config.servers.target.clone()),
        keeps_extras: true,
        databases: env.config.servers.databases.clone(),
        doubtful: false,
    }
}

fn is_complete(direction: &Direction) -> bool {
    direction.engine.look(|engine| engine.is_drained() && !engine.needs_pass())
}

/// Ready when one of the servers is away twice in a row: everything else here waits for it.
async fn lose(env: &Environment) -> Failure {
    loop {
        sleep(HEARTBEAT).await;
        for side in [Side::Source, Side::Target] {
            if pipeline::open(&env.config, side).await.is_ok() {
                continue;
            }
            sleep(HEARTBEAT).await;
            if let Err(failure) = pipeline::open(&env.config, side).await {
                return failure;
            }
        }
    }
}

async fn tell(env: &Environment, progress: &watch::Sender<Progress>) -> Infallible {
    loop {
        let (done, total) = (env.progress.scanned(), env.progress.estimate());
        progress.send_replace(Progress { done, total });
        sleep(GLANCE).await;
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Keys that the target has now.
    pub(crate) copied: u64,
    /// Keys that it has not, though they were tried again and again.
    pub(crate) failed: u64,
    /// Those of them that the target cannot hold, a line a kind.
    pub(crate) left_out: Vec<String>,
    /// From the first key to the last.
    pub(crate) seconds: f64,
    /// Copied keys a second.
    pub(crate) keys_per_second: f64,
}

impl Summary {
    fn new(keys: u64, failed: u64, left_out: Vec<String>, took: Duration) -> Self {
        let copied = keys.saturating_sub(failed);
        let seconds = took.as_secs_f64();
        let keys_per_second = copied as f64 / seconds.max(0.001);
        Self { copied, failed, left_out, seconds, keys_per_second }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { copied, failed, left_out, seconds, keys_per_second } = self;
        for line in left_out {
            writeln!(f, "{line}")?;
        }
        write!(
            f,
            "copied {copied}  failed {failed}  in {seconds:.1} s  ({keys_per_second:.0} keys/s)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_not_counted_as_copied() {
        let summary = Summary::new(100, 20, vec!["20 keys".to_owned()], Duration::from_secs(2));
        assert_eq!((summary.copied, summary.failed, summary.keys_per_second), (80, 20, 40.0));
        assert_eq!(summary.to_string(), "20 keys\ncopied 80  failed 20  in 2.0 s  (40 keys/s)");
    }
}
