//! `GET /v1/report?format=json|text|html`: what happened in this migration.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};

use super::Shared;
use super::control::Control;
use super::query;

/// It brings its style along, for whoever keeps the file, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

pub(super) async fn get<C: Control>(State(admin): Shared<C>, uri: Uri) -> Response {
    let report = admin.control.report();
    match query::value::<String>(&uri, "format").as_deref() {
        Some("html") => ([(CONTENT_SECURITY_POLICY, POLICY)], Html(report.html())).into_response(),
        Some("text") => {
            ([(CONTENT_TYPE, "text/plain; charset=utf-8")], report.text()).into_response()
        }
        _ => Json(report).into_response(),
    }
}
