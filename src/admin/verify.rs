//! `POST /v1/verify`: starts a comparison in the background.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::actor::Actor;
use super::body::Body;
use super::control::{Control, Refusal};

/// Nothing to choose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {}

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    _: Body<Wish>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    admin.noted(&actor, "verify", admin.control.verify(), |()| "started".to_owned())?;
    Ok((StatusCode::ACCEPTED, Json(json!({"state": "running"}))))
}
