//! `POST`: what an operator changes, and the line that the audit gets of it.
//!
//! *Guarantees:* a flip that has begun comes to its end, whether or not its operator waits for the
//! answer.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::control::{Control, Flipped, Rate, Refusal};
use super::peer::Caller;
use super::{Admin, Shared, reply};
use crate::check::Report;
use crate::status::{Backfill, Phase, Shadow};

/// Who calls, by a name that they give themselves.
const NAME: &str = "x-crossfade-actor";
/// Letters of it.
const LETTERS: usize = 100;

/// Of a call with nothing to choose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Empty {}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Flip {
    timeout_ms: u64,
    force: bool,
}

impl Default for Flip {
    fn default() -> Self {
        Self { timeout_ms: 5000, force: false }
    }
}

impl Flip {
    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// In words, for the audit.
    fn named(&self, action: &str) -> String {
        let force = if self.force { " --force" } else { "" };
        format!("{action}{force}")
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Resync {
    accept_empty: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Steer {
    paused: Option<bool>,
    /// Left out, it stays; null lifts the limit.
    #[serde(default, deserialize_with = "given")]
    rate: Option<Rate>,
}

/// Tells null from nothing.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Rate>, D::Error> {
    Rate::deserialize(value).map(Some)
}

impl Steer {
    /// In words, for the audit.
    fn named(&self) -> String {
        let paused = self.paused.map(|paused| if paused { "pause" } else { "resume" }.to_owned());
        let rate = self.rate.map(|rate| rate.to_string());
        let words: Vec<String> = paused.into_iter().chain(rate).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    }
}

/// What `crossfade check` finds, of the servers of this migration.
pub(super) async fn check<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    _: Body<Empty>,
) -> Result<Json<Report>, Refusal> {
    let result = admin.control.check().await;
    let verdict = |report: &Report| if report.ready { "ready" } else { "not ready" }.to_owned();
    Ok(Json(admin.noted(&actor, "check", result, verdict)?))
}

/// Starts a comparison in the background.
pub(super) async fn verify<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    _: Body<Empty>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    admin.noted(&actor, "verify", admin.control.verify(), |()| "started".to_owned())?;
    Ok((StatusCode::ACCEPTED, Json(json!({"state": "running"}))))
}

/// Copies everything again.
pub(super) async fn resync<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    Body(body): Body<Resync>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let action = if body.accept_empty { "resync --accept-empty" } else { "resync" };
    let result = admin.control.resync(body.accept_empty).await;
    admin.noted(&actor, action, result, |()| "everything is copied again".to_owned())?;
    Ok((StatusCode::ACCEPTED, Json(json!({"state": "running"}))))
}

/// Pauses, resumes, or changes the rate of the backfill.
pub(super) async fn backfill<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    Body(body): Body<Steer>,
) -> Result<Json<Backfill>, Refusal> {
    let result = admin.control.backfill(body.paused, body.rate);
    admin.noted(&actor, body.named(), result, |()| "done".to_owned())?;
    Ok(Json(admin.control.status().backfill))
}

/// How many of a hundred reads are asked of the secondary too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    #[serde(deserialize_with = "percent")]
    percent: f64,
}

fn percent<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    let percent = f64::deserialize(value)?;
    let sound = (0.0..=100.0).contains(&percent);
    sound.then_some(percent).ok_or_else(|| D::Error::custom("percent is a number from 0 to 100"))
}

/// From now on that share of the reads is asked of the secondary too.
pub(super) async fn shadow<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    Body(Share { percent }): Body<Share>,
) -> Result<Json<Shadow>, Refusal> {
    let action = format!("ask the secondary {percent} % of the reads too");
    admin.noted(&actor, action, admin.control.shadow(percent), |()| "done".to_owned())?;
    Ok(Json(admin.control.status().shadow))
}

/// Hands the clients over to the target.
pub(super) async fn cutover<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    Body(flip): Body<Flip>,
) -> Response {
    to_its_end(async move {
        let result = admin.control.cutover(flip.timeout(), flip.force).await;
        admin.noted(&actor, flip.named("cutover"), result, held).map(flipped)
    })
    .await
}

/// Hands the clients back to the source.
pub(super) async fn rollback<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    Body(flip): Body<Flip>,
) -> Response {
    to_its_end(async move {
        let result = admin.control.rollback(flip.timeout(), flip.force).await;
        admin.noted(&actor, flip.named("rollback"), result, held).map(flipped)
    })
    .await
}

/// Lets the source go.
pub(super) async fn finalize<C: Control>(
    State(admin): Shared<C>,
    actor: Actor,
    _: Body<Empty>,
) -> Response {
    to_its_end(async move {
        let result = admin.control.finalize().await;
        admin.noted(&actor, "finalize", result, |()| "the source is let go".to_owned())?;
        Ok(json!({"phase": Phase::Finalized}))
    })
    .await
}

/// What came of a flip, in words.
fn held(flipped: &Flipped) -> String {
    format!("{}: clients were held for {} ms", flipped.phase, flipped.hold.as_millis())
}

fn flipped(flipped: Flipped) -> Value {
    let hold = u64::try_from(flipped.hold.as_millis()).unwrap_or(u64::MAX);
    json!({"phase": flipped.phase, "hold_ms": hold})
}

/// In a task of its own: the handler of a connection that was closed is dropped, and the flip must
/// not be dropped with it.
async fn to_its_end(
    change: impl Future<Output = Result<Value, Refusal>> + Send + 'static,
) -> Response {
    match tokio::spawn(change).await {
        Ok(Ok(done)) => Json(done).into_response(),
        Ok(Err(refusal)) => refusal.into_response(),
        Err(error) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A body that was understood: JSON whatever the content type says, and none is the same as `{}`.
pub(super) struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes =
            Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        let text = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes.as_ref() };
        // Through a map: straight into a struct, serde takes a list of its fields for an object.
        serde_json::from_slice::<Map<String, Value>>(text)
            .and_then(|fields| serde_json::from_value(Value::Object(fields)))
            .map(Self)
            .map_err(|error| reply::error(StatusCode::BAD_REQUEST, &format!("body: {error}")))
    }
}

/// Who asks for a change: the name that they give, or that of their program, and their address.
pub(super) struct Actor(String);

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let word = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let program = || word(USER_AGENT.as_str())?.split(' ').next();
        let name = word(NAME).filter(|name| !name.is_empty()).or_else(program);
        let name: String = name.unwrap_or("somebody").chars().take(LETTERS).collect();
        let caller = parts.extensions.get::<ConnectInfo<Caller>>();
        let from = caller.map(|ConnectInfo(caller)| format!(" from {}", caller.address()));
        Ok(Self(name + &from.unwrap_or_default()))
    }
}

impl<C: Control> Admin<C> {
    /// Notes what came of a change, and hands it on.
    fn noted<T>(
        &self,
        actor: &Actor,
        action: impl fmt::Display,
        result: Result<T, Refusal>,
        done: impl FnOnce(&T) -> String,
    ) -> Result<T, Refusal> {
        let outcome = match &result {
            Ok(value) => done(value),
            Err(Refusal::Conflict { error, .. } | Refusal::TimedOut { error }) => {
                format!("refused: {error}")
            }
        };
        self.control.audit().note(&actor.0, &action.to_string(), &outcome);
        result
    }
}
