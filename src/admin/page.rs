//! `GET /`: the status as a web page, whole in one file, that asks for `/v1/status` by itself.

use axum::http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{Html, IntoResponse};

const PAGE: &str = include_str!("page.html");

/// Nothing from elsewhere, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; frame-ancestors 'none'";

pub(super) async fn get() -> impl IntoResponse {
    let headers = [(CONTENT_SECURITY_POLICY, POLICY), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, Html(PAGE))
}
