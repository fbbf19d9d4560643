//! `GET /v1/history?after=TIME`: the last hour in points, or those after a time in Unix seconds.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Value, json};

use super::Shared;
use super::control::Control;
use super::query;
use crate::metrics::history::STEP;

pub(super) async fn get<C: Control>(State(admin): Shared<C>, uri: Uri) -> Json<Value> {
    let after = query::value(&uri, "after").unwrap_or(0.0);
    Json(json!({"step_seconds": STEP, "points": admin.control.history(after)}))
}
