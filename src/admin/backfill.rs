//! `POST /v1/backfill`: pauses, resumes, or changes the rate of the backfill.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Deserializer};

use super::Shared;
use super::body::Body;
use super::control::{Control, Refusal};
use crate::status::Backfill;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    paused: Option<bool>,
    /// Left out, it stays; null lifts the limit.
    #[serde(default, deserialize_with = "given")]
    rate: Option<Option<u64>>,
}

/// Tells null from nothing.
#[allow(clippy::option_option, reason = "left out, null and a number are three things")]
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    Body(wish): Body<Wish>,
) -> Result<Json<Backfill>, Refusal> {
    // A limit of nothing a second would be a pause by another name; it is taken for no limit.
    let rate = wish.rate.map(|rate| rate.filter(|rate| *rate > 0));
    admin.control.backfill(wish.paused, rate)?;
    Ok(Json(admin.control.status().backfill))
}
