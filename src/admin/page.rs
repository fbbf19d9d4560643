//! `GET /`: the migration as a web page that drives it by this API.
//!
//! Its parts are embedded. Nothing of it is inline, so that the policy can forbid whatever is.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, Uri};
use axum::response::IntoResponse;

/// Nothing from elsewhere, nothing inline, and nobody may frame it.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                                 img-src 'self'; connect-src 'self'; form-action 'none'; \
                                 base-uri 'none'; frame-ancestors 'none'";
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCES: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

struct Part {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const PARTS: [Part; 6] = [
    Part { path: "/", kind: "text/html; charset=utf-8", text: include_str!("page/page.html") },
    Part {
        path: "/page.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("page/page.css"),
    },
    Part { path: "/page.js", kind: SCRIPT, text: include_str!("page/page.js") },
    Part { path: "/charts.js", kind: SCRIPT, text: include_str!("page/charts.js") },
    Part { path: "/words.js", kind: SCRIPT, text: include_str!("page/words.js") },
    Part { path: "/page.svg", kind: "image/svg+xml", text: include_str!("page/page.svg") },
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    PARTS.iter().map(|part| part.path)
}

pub(super) async fn get(uri: Uri) -> impl IntoResponse {
    let [page, ..] = &PARTS;
    let part = PARTS.iter().find(|part| part.path == uri.path()).unwrap_or(page);
    let headers = [
        (CONTENT_TYPE, part.kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (OPENER, "same-origin"),
        (RESOURCES, "same-origin"),
    ];
    (headers, part.text)
}
