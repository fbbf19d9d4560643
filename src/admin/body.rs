//! Request bodies: JSON whatever the content type says, and none is the same as `{}`.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::reply;

/// A body that was understood.
pub(super) struct Body<T>(pub(super) T);

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
