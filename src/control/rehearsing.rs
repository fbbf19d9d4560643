//! Finding out what the target would refuse of what clients do, before they are moved there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::migration::Migration;
use super::phase::Blocker;
use crate::admin::audit::unix_now;
use crate::check::asking::{self, Pair, Scope};
use crate::check::rehearsal::{Gaps, Millis};
use crate::pipeline::connect;
use crate::proxy::Registry;
use crate::server::ConnectError;
use crate::status::{Phase, Rehearsal, Side};

/// How often both servers are asked.
const LOOK: Duration = Duration::from_secs(10);
/// How long that may take, and how long while an operator waits for a cut-over.
const PATIENCE: Duration = Duration::from_secs(5);
pub(super) const HASTE: Duration = Duration::from_secs(1);

/// Asks for the first time. Where no answer comes, the versions say what they can.
pub(super) async fn begin(migration: &Migration) {
    let direction = migration.direction();
    if direction.primary == Side::Source && migration.phase() != Phase::Finalized {
        let survey = &direction.survey;
        let (source, target) = (survey.primary.capabilities, survey.secondary.capabilities);
        migration.rehearsal.expect(Gaps::between(source, target));
        find_gaps(migration, PATIENCE).await;
    }
}

/// Asks again and again, until the source is let go.
pub(super) async fn go_on(migration: Arc<Migration>) {
    while migration.phase() != Phase::Finalized {
        sleep(LOOK).await;
        find_gaps(&migration, PATIENCE).await;
    }
}

/// Asks both servers, if clients are on the source. One that does not answer leaves what is known as
/// it is.
pub(super) async fn find_gaps(migration: &Migration, patience: Duration) {
    let serves = || migration.direction().primary == Side::Source;
    if !serves() {
        return;
    }
    let at = millis(migration);
    for db in migration.registry().map(Registry::databases).unwrap_or_default() {
        migration.rehearsal.stays_in_database(db, at);
    }
    let found = timeout(patience, ask(migration)).await;
    if let Ok(Ok(Some(gaps))) = found
        && serves()
    {
        migration.rehearsal.expect(gaps);
    }
}

async fn ask(migration: &Migration) -> Result<Option<Gaps>, ConnectError> {
    let env = &migration.env;
    let mut source = connect(env.endpoint(Side::Source)).await?;
    let mut target = connect(env.endpoint(Side::Target)).await?;
    let scope = Scope {
        questions: migration.rehearsal.questions(),
        databases: &env.config.servers.databases,
        allow_admin: env.config.allow_admin,
    };
    let pair = Pair { source: &mut source, target: &mut target };
    Ok(asking::gaps(pair, &scope).await.ok())
}

/// What has been learnt.
pub(super) fn status(migration: &Migration) -> Rehearsal {
    migration.rehearsal.show(millis(migration), unix_now())
}

/// What of it stands in the way of a cut-over.
pub(super) fn blockers(migration: &Migration) -> Vec<Blocker> {
    let window = migration.env.config.rehearsal_window.as_millis();
    let window = Millis::try_from(window).unwrap_or(Millis::MAX);
    let lines = migration.rehearsal.blockers(millis(migration), window);
    lines.into_iter().map(Blocker::Rehearsed).collect()
}

fn millis(migration: &Migration) -> Millis {
    Millis::try_from(migration.now().as_millis()).unwrap_or(Millis::MAX)
}
