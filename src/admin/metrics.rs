//! `GET /metrics`: Prometheus' text format.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Shared;
use super::control::Control;

pub(super) async fn get<C: Control>(State(admin): Shared<C>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.control.metrics())
}
