//! `POST /v1/resync`: copies everything again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::body::Body;
use super::control::{Control, Refusal};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wish {
    accept_empty: bool,
}

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    Body(wish): Body<Wish>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    admin.control.resync(wish.accept_empty).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"state": "running"}))))
}
