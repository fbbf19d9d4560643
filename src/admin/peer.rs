//! How long a connection to the API may stay idle.
//!
//! *Guarantees:* between two calls, from the connection or the last byte of an answer to a whole
//! request, a peer has [`IDLE`], however slowly it writes or reads; a silent one can be closed
//! earlier to make room for another. None is closed in the middle of a call.

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

use super::listener::ApiListener;
use super::reply;

/// Longer than scrapers and probes leave between two calls on one connection, mostly.
const IDLE: Duration = Duration::from_secs(60);
/// The largest body of a call, in bytes: a few words of JSON.
const BODY: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Peer {
    state: Mutex<State>,
    evicted: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct State {
    in_call: bool,
    /// Since when it has neither sent a whole request nor read of an answer.
    since: Instant,
}

impl Peer {
    pub(super) fn new() -> Arc<Self> {
        let state = Mutex::new(State { in_call: false, since: Instant::now() });
        Arc::new(Self { state, evicted: CancellationToken::new() })
    }

    /// It has read some of an answer.
    pub(super) fn has_read(&self) {
        self.state.lock().since = Instant::now();
    }

    /// Ready when it is to be closed.
    pub(super) async fn closed(self: Arc<Self>) {
        tokio::select! {
            () = self.evicted.cancelled() => {}
            () = self.idle_too_long() => {}
        }
    }

    async fn idle_too_long(&self) {
        loop {
            let state = *self.state.lock();
            let since = if state.in_call { Instant::now() } else { state.since };
            let end = since + IDLE;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// A whole request has come; the call lasts as long as what is returned.
    fn call(&self) -> Call<'_> {
        self.state.lock().in_call = true;
        Call(self)
    }
}

struct Call<'a>(&'a Peer);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        *self.0.state.lock() = State { in_call: false, since: Instant::now() };
    }
}

/// All that are connected.
#[derive(Debug, Default)]
pub(super) struct Peers(Vec<Weak<Peer>>);

impl Peers {
    pub(super) fn add(&mut self, peer: &Arc<Peer>) {
        self.0.retain(|peer| peer.strong_count() > 0);
        self.0.push(Arc::downgrade(peer));
    }

    /// Closes the one that has been silent for longest.
    pub(super) fn close_one(&self) {
        let silent = self.0.iter().filter_map(Weak::upgrade).filter_map(|peer| {
            let state = *peer.state.lock();
            (!state.in_call && !peer.evicted.is_cancelled()).then_some((state.since, peer))
        });
        if let Some((_, peer)) = silent.min_by_key(|(since, _)| *since) {
            peer.evicted.cancel();
        }
    }
}

/// A peer as its calls know it.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    peer: Arc<Peer>,
    address: IpAddr,
}

impl Caller {
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }
}

impl Connected<IncomingStream<'_, ApiListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, ApiListener>) -> Self {
        let address = stream.remote_addr().ip().to_canonical();
        Self { peer: stream.io().peer().clone(), address }
    }
}

/// Takes the whole request, then keeps the connection until it is answered.
pub(super) async fn count_as_call(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = match to_bytes(body, BODY).await {
        Ok(body) => body,
        Err(error) => return reply::error(StatusCode::BAD_REQUEST, &format!("body: {error}")),
    };
    let caller = ConnectInfo::<Caller>::from_request_parts(&mut parts, &()).await.ok();
    let _call = caller.as_ref().map(|ConnectInfo(caller)| caller.peer.call());
    next.run(Request::from_parts(parts, Body::from(body))).await
}
