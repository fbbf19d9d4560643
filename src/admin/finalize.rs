//! `POST /v1/finalize`: lets the source go.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::actor::Actor;
use super::body::Body;
use super::control::Control;
use super::verify::Wish;
use super::{Shared, reply};
use crate::status::Phase;

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    _: Body<Wish>,
) -> Response {
    let finalize = async move {
        let result = admin.control.finalize().await;
        admin.noted(&actor, "finalize", result, |()| "the source is let go".to_owned())
    };
    // On its own, as a flip is: it ends whether or not its operator waits.
    match tokio::spawn(finalize).await {
        Ok(Ok(())) => Json(json!({"phase": Phase::Finalized})).into_response(),
        Ok(Err(refusal)) => refusal.into_response(),
        Err(error) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
