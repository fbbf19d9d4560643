//! `POST /v1/rollback`: hands the clients back to the source.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::Shared;
use super::actor::Actor;
use super::body::Body;
use super::control::Control;
use super::cutover::{Wish, flip, held};

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    Body(wish): Body<Wish>,
) -> Response {
    let timeout = Duration::from_millis(wish.timeout_ms);
    flip(async move {
        let result = admin.control.rollback(timeout, wish.force).await;
        admin.noted(&actor, wish.named("rollback"), result, held)
    })
    .await
}
