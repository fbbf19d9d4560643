//! How long a visitor may stay.
//!
//! *Guarantees:* between two calls, from coming in or the last word of an answer to a whole request,
//! a visitor has [`PATIENCE`], however slowly they speak or listen; one who says nothing can be asked
//! to leave for somebody else earlier. Nobody is sent away in the middle of a call.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{FromRequestParts as _, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::reply;

/// Longer than scrapers and probes leave between two calls on one connection, mostly.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest body of a call, in bytes: a few words of JSON.
const BODY: usize = 64 * 1024;

/// One visitor.
#[derive(Debug)]
pub(super) struct Guest {
    stay: Mutex<Stay>,
    asked_to_leave: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct Stay {
    in_call: bool,
    /// Since when nothing has come of them.
    since: Instant,
}

impl Guest {
    pub(super) fn new() -> Arc<Self> {
        let stay = Mutex::new(Stay { in_call: false, since: Instant::now() });
        Arc::new(Self { stay, asked_to_leave: CancellationToken::new() })
    }

    /// They have taken some of an answer.
    pub(super) fn listened(&self) {
        self.stay.lock().since = Instant::now();
    }

    /// Ready when they are to go.
    pub(super) async fn leave(self: Arc<Self>) {
        tokio::select! {
            () = self.asked_to_leave.cancelled() => {}
            () = self.outstay() => {}
        }
    }

    async fn outstay(&self) {
        loop {
            let stay = *self.stay.lock();
            let since = if stay.in_call { Instant::now() } else { stay.since };
            let end = since + PATIENCE;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// A whole request has come; the call lasts as long as what is returned.
    fn call(&self) -> Call<'_> {
        self.stay.lock().in_call = true;
        Call(self)
    }
}

struct Call<'a>(&'a Guest);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        *self.0.stay.lock() = Stay { in_call: false, since: Instant::now() };
    }
}

/// Everybody who is inside.
#[derive(Debug, Default)]
pub(super) struct Guests(Vec<Weak<Guest>>);

impl Guests {
    pub(super) fn enter(&mut self, guest: &Arc<Guest>) {
        self.0.retain(|guest| guest.strong_count() > 0);
        self.0.push(Arc::downgrade(guest));
    }

    /// Asks whoever has been silent for longest to leave.
    pub(super) fn make_room(&self) {
        let silent = self.0.iter().filter_map(Weak::upgrade).filter_map(|guest| {
            let stay = *guest.stay.lock();
            (!stay.in_call && !guest.asked_to_leave.is_cancelled()).then_some((stay.since, guest))
        });
        if let Some((_, guest)) = silent.min_by_key(|(since, _)| *since) {
            guest.asked_to_leave.cancel();
        }
    }
}

/// A visitor as their calls know them.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    guest: Arc<Guest>,
    address: IpAddr,
}

impl Caller {
    /// Where they call from.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }
}

impl Connected<IncomingStream<'_, Door>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        let address = stream.remote_addr().ip().to_canonical();
        Self { guest: stream.io().guest().clone(), address }
    }
}

/// Takes the whole request, then lets the visitor stay until it is answered.
pub(super) async fn attend(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = match to_bytes(body, BODY).await {
        Ok(body) => body,
        Err(error) => return reply::error(StatusCode::BAD_REQUEST, &format!("body: {error}")),
    };
    let caller = ConnectInfo::<Caller>::from_request_parts(&mut parts, &()).await.ok();
    let _call = caller.as_ref().map(|ConnectInfo(caller)| caller.guest.call());
    next.run(Request::from_parts(parts, Body::from(body))).await
}
