//! The admin API: HTTP and JSON for operators, Prometheus, and a page for people.
//!
//! *What it is:* a thin layer over [`Control`]: what can be known in `views` and `events`, what can
//! be changed in `changes`, in front of both `guard`.
//!
//! *Guarantees:* every answer is JSON (metrics and page apart), errors too; nothing is changed
//! without the token, when there is one, nor by a web page of somebody else's, which is not told
//! anything either; every change has a line in the audit; an operator who hangs up does not stop a
//! flip half-way; no peer keeps another out, however silent or slow.
//!
//! *Must not know:* how a migration works.

pub(crate) mod audit;
mod changes;
mod control;
mod events;
#[cfg(test)]
pub(crate) mod fake;
mod guard;
mod listener;
mod page;
mod peer;
mod reply;
pub(crate) mod report;
#[cfg(test)]
mod tests;
mod views;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::server::Secret;

pub(crate) use control::{Control, Flipped, Rate, Refusal};
use listener::ApiListener;

/// Who may ask for what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// What a change must bear.
    pub token: Option<Secret>,
    /// How to speak TLS; none is plain.
    pub tls: Option<Arc<ServerConfig>>,
    /// Names by which this place may be asked, besides its addresses.
    pub hosts: Vec<String>,
}

struct Admin<C> {
    control: Arc<C>,
    access: Access,
    /// Places for listeners to events.
    listeners: Arc<Semaphore>,
    stop: CancellationToken,
}

/// As axum hands it to the handlers.
type Shared<C> = axum::extract::State<Arc<Admin<C>>>;

/// Serves the API, over TLS where there are settings for it, until `stop` is cancelled and the calls in flight are answered.
pub(crate) async fn serve<C: Control>(
    listener: TcpListener,
    control: Arc<C>,
    access: Access,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = ApiListener::open(listener, access.tls.clone(), stop.clone())?;
    let listeners = Arc::new(Semaphore::new(events::LISTENERS));
    let router = router(Arc::new(Admin { control, access, listeners, stop: stop.clone() }));
    let router = router.into_make_service_with_connect_info::<peer::Caller>();
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router<C: Control>(admin: Arc<Admin<C>>) -> Router {
    let changes = Router::new()
        .route("/v1/check", post(changes::check::<C>))
        .route("/v1/verify", post(changes::verify::<C>))
        .route("/v1/cutover", post(changes::cutover::<C>))
        .route("/v1/rollback", post(changes::rollback::<C>))
        .route("/v1/resync", post(changes::resync::<C>))
        .route("/v1/finalize", post(changes::finalize::<C>))
        .route("/v1/backfill", post(changes::backfill::<C>))
        .route("/v1/shadow", post(changes::shadow::<C>))
        .layer(from_fn_with_state(admin.clone(), guard::check::<C>));
    let page = page::paths().fold(Router::new(), |page, path| page.route(path, get(page::get)));
    let for_people = page
        .route("/v1/status", get(views::status::<C>))
        .route("/v1/events", get(events::get::<C>))
        .route("/v1/audit", get(views::audit::<C>))
        .route("/v1/history", get(views::history::<C>))
        .route("/v1/report", get(views::report::<C>))
        .merge(changes)
        .layer(from_fn_with_state(admin.clone(), guard::at_home::<C>));
    Router::new()
        .route("/healthz", get(views::healthz))
        .route("/readyz", get(views::readyz::<C>))
        .route("/metrics", get(views::metrics::<C>))
        .merge(for_people)
        .fallback(reply::not_found)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .layer(from_fn(peer::count_as_call))
        .with_state(admin)
}
