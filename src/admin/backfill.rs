//! `POST /v1/backfill`: pauses, resumes, or changes the rate of the backfill.
#![allow(clippy::option_option, reason = "left out, null and a number are three things")]

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Deserializer};

use super::Shared;
use super::actor::Actor;
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
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// What is asked for, in words.
fn named(paused: Option<bool>, rate: Option<Option<u64>>) -> String {
    let paused = paused.map(|paused| if paused { "pause" } else { "resume" }.to_owned());
    let rate = rate.map(|rate| match rate {
        Some(rate) => format!("at most {rate} keys a second"),
        None => "no limit of keys a second".to_owned(),
    });
    let words: Vec<String> = paused.into_iter().chain(rate).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

pub(super) async fn post<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    Body(wish): Body<Wish>,
) -> Result<Json<Backfill>, Refusal> {
    // A limit of nothing a second would be a pause by another name; it is taken for no limit.
    let rate = wish.rate.map(|rate| rate.filter(|rate| *rate > 0));
    let result = admin.control.backfill(wish.paused, rate);
    admin.noted(&actor, named(wish.paused, rate), result, |()| "done".to_owned())?;
    Ok(Json(admin.control.status().backfill))
}
