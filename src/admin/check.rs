//! `POST /v1/check`: what `crossfade check` finds, of the servers of this migration.

use axum::Json;
use axum::extract::State;

use super::Shared;
use super::actor::Actor;
use super::body::Body;
use super::control::{Control, Refusal};
use super::verify::Wish;
use crate::check::Report;

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    _: Body<Wish>,
) -> Result<Json<Report>, Refusal> {
    let result = admin.control.check().await;
    let verdict = |report: &Report| if report.ready { "ready" } else { "not ready" }.to_owned();
    Ok(Json(admin.noted(&actor, "check", result, verdict)?))
}
