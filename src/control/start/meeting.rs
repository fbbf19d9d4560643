//! Meeting both servers at a start.
//!
//! The one that serves must be there. The other one may be away, if an earlier process has known it: a
//! target that is down, or a source that was left because it died, keeps nobody from being served. When
//! it is back, it is as after any outage.

use std::time::Duration;

use tracing::warn;

use super::super::intent_file::in_order;
use super::super::remembered::{Remembered, Seen};
use super::super::state::State;
use super::super::users::ask_default;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::pipeline::{
    Survey, acceptance, align_marker, check_marker, check_target, connect, lost, lost_one, open,
};
use crate::protocol::payload::Acceptance;
use crate::server::{ConnectError, Connection, ServerInfo, end_left_behind};
use crate::status::Side;

/// How long one server may take to let us in.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was learnt of the servers before anything is started.
pub(super) struct Discovered {
    pub(super) primary: Side,
    pub(super) survey: Survey,
    /// What payloads the source takes, and the target.
    pub(super) acceptances: (Acceptance, Acceptance),
}

/// Whether a migration may begin between these servers; does with the target's keys what is to be done
/// before.
pub(super) async fn check_beginning(config: &RunConfig) -> Result<(), Failure> {
    // Nothing is flushed for a source that is not there.
    open(config, Side::Source).await?;
    let mut target = open(config, Side::Target).await?;
    check_marker(config).await?;
    check_target(config, &mut target).await
}

/// Meets the servers; `resumed`: an earlier process of the same migration has left them.
pub(super) async fn meet(
    config: &RunConfig,
    state: &mut State,
    resumed: bool,
) -> Result<Discovered, Failure> {
    let (primary, secondary) = (state.primary(), state.primary().other());
    let first = greet(config, state, primary, resumed).await;
    let mut first = first.map_err(|error| Failure::connect(primary, &error))?;
    match greet(config, state, secondary, resumed).await {
        Ok(mut second) => look_at_both(config, state, &mut first, &mut second).await,
        Err(error) => {
            let known = state.remembered.clone().filter(|_| resumed && error.may_pass());
            let Some(known) = known else { return Err(Failure::connect(secondary, &error)) };
            warn!(%error, "the {secondary} is away: clients are served without it");
            look_at_one(config, state, &mut first, known).await
        }
    }
}

/// Looks at the target alone: the source has been let go, and may be gone.
pub(super) async fn meet_target(config: &RunConfig, state: &State) -> Result<Discovered, Failure> {
    let mut target = open(config, Side::Target).await?;
    let known = state.remembered.as_ref();
    let source = known.map_or_else(ServerInfo::default, |known| known.source.info.clone());
    let survey = Survey::beside(&mut target, source, 0).await;
    let survey = survey.map_err(|error| lost(config, Side::Target, &error))?;
    let acceptance = Acceptance::expected(&survey.primary.capabilities);
    Ok(Discovered { primary: Side::Target, survey, acceptances: (acceptance, acceptance) })
}

/// Connects to a server, and settles there what an earlier process has left.
async fn greet(
    config: &RunConfig,
    state: &mut State,
    side: Side,
    resumed: bool,
) -> Result<Connection, ConnectError> {
    let endpoint = config.servers.endpoint(side);
    let greeting = async {
        let mut connection = connect(endpoint).await?;
        if resumed {
            let ended = end_left_behind(&state.tag(), &mut connection).await;
            ended.map_err(|error| endpoint.lost(&error))?;
        }
        if side == Side::Source {
            if resumed {
                align_marker(endpoint, state.phase).await?;
            }
            let known = ask_default(endpoint).await?;
            (state.admits_anonymous, state.passwords) = (known.anonymous, known.passwords);
        }
        Ok(connection)
    };
    endpoint.within(PATIENCE, greeting).await
}

async fn look_at_both(
    config: &RunConfig,
    state: &mut State,
    first: &mut Connection,
    second: &mut Connection,
) -> Result<Discovered, Failure> {
    let primary = state.primary();
    let survey = Survey::ask(first, second).await;
    let survey = survey.map_err(|error| lost_one(config, primary, &error))?;
    let here = see(&survey.primary, first).await;
    let there = see(&survey.secondary, second).await;
    let (source, target) = in_order(primary, here, there);
    let mut known = Remembered { source, target, clock_offset: 0 };
    known.set_clock_offset_from(primary, survey.clock_offset);
    Ok(found(state, survey, known))
}

async fn look_at_one(
    config: &RunConfig,
    state: &mut State,
    first: &mut Connection,
    mut known: Remembered,
) -> Result<Discovered, Failure> {
    let primary = state.primary();
    let other = known.of(primary.other()).info.clone();
    let survey = Survey::beside(first, other, known.clock_offset_from(primary)).await;
    let survey = survey.map_err(|error| lost(config, primary, &error))?;
    *known.of_mut(primary) = see(&survey.primary, first).await;
    Ok(found(state, survey, known))
}

async fn see(info: &ServerInfo, connection: &mut Connection) -> Seen {
    Seen { info: info.clone(), acceptance: acceptance(info, connection).await }
}

fn found(state: &mut State, survey: Survey, known: Remembered) -> Discovered {
    let acceptances = (known.source.acceptance, known.target.acceptance);
    state.remembered = Some(known);
    Discovered { primary: state.primary(), survey, acceptances }
}
