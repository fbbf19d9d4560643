//! `GET /v1/events`: the status as server-sent events, one a second and one at each change.
//!
//! *Guarantees:* there are no more than [`LISTENERS`] at once; one that reads too slowly gets fewer
//! events and takes no more memory than one event.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio_util::io::ReaderStream;

use super::control::Control;
use super::{Shared, reply};
use crate::status::Status;

/// At once: pages and watchers, each with a connection of its own.
pub(super) const LISTENERS: usize = 64;
/// Of an event on its way, in bytes.
const BUFFER: usize = 16 * 1024;

pub(super) async fn get<C: Control>(State(admin): Shared<C>) -> Response {
    let Ok(place) = admin.listeners.clone().try_acquire_owned() else {
        return reply::error(StatusCode::SERVICE_UNAVAILABLE, "too many listen already");
    };
    let (near, far) = duplex(BUFFER);
    let (news, stop) = (admin.control.news(), admin.stop.clone());
    tokio::spawn(async move {
        let _place = place;
        tokio::select! {
            // One that has hung up wants no more of it.
            _ = tell(news, near) => {}
            () = stop.cancelled() => {}
        }
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(ReaderStream::new(far))).into_response()
}

/// Tells what there is and what comes, until nobody listens.
async fn tell(
    mut news: watch::Receiver<Arc<Status>>,
    mut listener: DuplexStream,
) -> io::Result<Infallible> {
    loop {
        let status = news.borrow_and_update().clone();
        let event = format!("data: {}\n\n", serde_json::to_string(status.as_ref())?);
        listener.write_all(event.as_bytes()).await?;
        news.changed().await.map_err(io::Error::other)?;
    }
}
