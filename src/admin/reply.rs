//! Errors and refusals as HTTP, in this one place.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::control::Refusal;

/// An error without anything more to say.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": message}))).into_response()
}

pub(super) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "there is nothing here")
}

pub(super) async fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Conflict { error, blockers } => {
                let body = json!({"error": error, "blockers": blockers});
                (StatusCode::CONFLICT, Json(body)).into_response()
            }
            Self::TimedOut { error: message } => error(StatusCode::GATEWAY_TIMEOUT, &message),
        }
    }
}
