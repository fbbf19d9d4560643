//! `GET /v1/audit?last=N`: what was done, by whom, and what came of it.

use std::convert::Infallible;
use std::fmt;

use axum::Json;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{FromRequestParts, State};
use axum::http::Uri;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;

use super::control::{Control, Refusal};
use super::guest::Caller;
use super::{Admin, Shared, query};
use crate::admin::audit::Deed;

/// Who calls, by a name that they give themselves.
const NAME: &str = "x-crossfade-actor";
/// Letters of it.
const LETTERS: usize = 100;

pub(super) async fn get<C: Control>(State(admin): Shared<C>, uri: Uri) -> Json<Vec<Deed>> {
    let mut deeds = admin.control.audit().deeds();
    let last: usize = query::value(&uri, "last").unwrap_or(usize::MAX);
    Json(deeds.split_off(deeds.len().saturating_sub(last)))
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
    /// Notes what came of a wish, and hands it on.
    pub(super) fn noted<T>(
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
