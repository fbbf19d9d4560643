//! `POST /v1/rollback`: hands the clients back to the source.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::Shared;
use super::body::Body;
use super::control::Control;
use super::cutover::flip;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wish {
    timeout_ms: u64,
    force: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { timeout_ms: 5000, force: false }
    }
}

pub(super) async fn post<C: Control>(State(admin): Shared<C>, Body(wish): Body<Wish>) -> Response {
    let timeout = Duration::from_millis(wish.timeout_ms);
    flip(async move { admin.control.rollback(timeout, wish.force).await }).await
}
