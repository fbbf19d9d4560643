//! `GET /readyz`: clients can be served.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::control::Control;
use super::{Shared, reply};

pub(super) async fn get<C: Control>(State(admin): Shared<C>) -> Response {
    match admin.control.ready() {
        Ok(()) => Json(json!({"status": "ready"})).into_response(),
        Err(reason) => reply::error(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}
