//! `GET /v1/status`: everything, now.

use axum::Json;
use axum::extract::State;

use super::Shared;
use super::control::Control;
use crate::status::Status;

pub(super) async fn get<C: Control>(State(admin): Shared<C>) -> Json<Status> {
    Json(admin.control.status())
}
