//! `POST /v1/cutover`: hands the clients over to the target.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::actor::Actor;
use super::body::Body;
use super::control::{Control, Flipped, Refusal};
use super::{Shared, reply};

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wish {
    pub(super) timeout_ms: u64,
    pub(super) force: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { timeout_ms: 5000, force: false }
    }
}

impl Wish {
    /// In words, for the audit.
    pub(super) fn named(&self, action: &str) -> String {
        let force = if self.force { " --force" } else { "" };
        format!("{action}{force}")
    }
}

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    Body(wish): Body<Wish>,
) -> Response {
    let timeout = Duration::from_millis(wish.timeout_ms);
    flip(async move {
        let result = admin.control.cutover(timeout, wish.force).await;
        admin.noted(&actor, wish.named("cutover"), result, held)
    })
    .await
}

/// What came of a flip, in words.
pub(super) fn held(flipped: &Flipped) -> String {
    format!("{}: clients were held for {} ms", flipped.phase, flipped.hold.as_millis())
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
