//! `GET`: what can be known of a migration. The events have a file of their own.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

use super::audit::Deed;
use super::control::Control;
use super::{Shared, reply};
use crate::metrics::history::STEP;
use crate::status::Status;

/// A report brings its style along, for whoever keeps the file, and nothing else.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// The process lives.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// Clients can be served.
pub(super) async fn readyz<C: Control>(State(admin): Shared<C>) -> Response {
    match admin.control.ready() {
        Ok(()) => Json(json!({"status": "ready"})).into_response(),
        Err(reason) => reply::error(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

/// Prometheus' text format.
pub(super) async fn metrics<C: Control>(State(admin): Shared<C>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.control.metrics())
}

/// Everything, now.
pub(super) async fn status<C: Control>(State(admin): Shared<C>) -> Json<Status> {
    Json(admin.control.status())
}

/// `?last=N`: what was done, by whom, and what came of it.
pub(super) async fn audit<C: Control>(State(admin): Shared<C>, uri: Uri) -> Json<Vec<Deed>> {
    let mut deeds = admin.control.audit().deeds();
    let last: usize = parameter(&uri, "last").unwrap_or(usize::MAX);
    Json(deeds.split_off(deeds.len().saturating_sub(last)))
}

/// `?after=TIME`: the last hour in points, or those after a time in Unix seconds.
pub(super) async fn history<C: Control>(State(admin): Shared<C>, uri: Uri) -> Json<Value> {
    let after = parameter(&uri, "after").unwrap_or(0.0);
    Json(json!({"step_seconds": STEP, "points": admin.control.history(after)}))
}

/// `?format=json|text|html`: what happened in this migration.
pub(super) async fn report<C: Control>(State(admin): Shared<C>, uri: Uri) -> Response {
    let report = admin.control.report();
    match parameter::<String>(&uri, "format").as_deref() {
        Some("html") => {
            ([(CONTENT_SECURITY_POLICY, REPORT_POLICY)], Html(report.html())).into_response()
        }
        Some("text") => {
            ([(CONTENT_TYPE, "text/plain; charset=utf-8")], report.text()).into_response()
        }
        _ => Json(report).into_response(),
    }
}

/// A value behind the question mark, by its name; none when it is not there, or not what it should be.
fn parameter<T: FromStr>(uri: &Uri, name: &str) -> Option<T> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}
