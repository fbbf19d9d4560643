//! `POST /v1/verify`: starts a comparison in the background.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::body::Body;
use super::control::{Control, Refusal};

/// Nothing to choose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {}

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    _: Body<Wish>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    admin.control.verify()?;
    Ok((StatusCode::ACCEPTED, Json(json!({"state": "running"}))))
}
