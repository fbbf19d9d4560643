//! `POST /v1/resync`: copies everything again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::actor::Actor;
use super::body::Body;
use super::control::{Control, Refusal};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wish {
    accept_empty: bool,
}

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    Body(wish): Body<Wish>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let action = if wish.accept_empty { "resync --accept-empty" } else { "resync" };
    let result = admin.control.resync(wish.accept_empty).await;
    admin.noted(&actor, action, result, |()| "everything is copied again".to_owned())?;
    Ok((StatusCode::ACCEPTED, Json(json!({"state": "running"}))))
}
