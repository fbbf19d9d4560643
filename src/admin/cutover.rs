//! `POST /v1/cutover`: hands the clients over to the target.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::body::Body;
use super::control::{Control, Flipped, Refusal};
use super::{Shared, reply};

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wish {
    timeout_ms: u64,
    force: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { timeout_ms: 5000, force: false }
    }
}

pub(super) async fn post<C: Control>(State(admin): Shared<C>, Body(wish): Body<Wish>) -> Response {
    let timeout = Duration::from_millis(wish.timeout_ms);
    flip(async move { admin.control.cutover(timeout, wish.force).await }).await
}

/// Lets a flip come to its end, whether or not its operator waits for the answer: the handler of a
/// connection that was closed is dropped, and the flip must not be dropped with it.
pub(super) async fn flip(
    flip: impl Future<Output = Result<Flipped, Refusal>> + Send + 'static,
) -> Response {
    match tokio::spawn(flip).await {
        Ok(Ok(flipped)) => {
            let hold = u64::try_from(flipped.hold.as_millis()).unwrap_or(u64::MAX);
            Json(json!({"phase": flipped.phase, "hold_ms": hold})).into_response()
        }
        Ok(Err(refusal)) => refusal.into_response(),
        Err(error) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
