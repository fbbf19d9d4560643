//! A migration that does as it is told, for the tests of the API and of the command line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Access, Control, Flipped, Rate, Refusal, serve};
use crate::admin::audit::Audit;
use crate::admin::report;
use crate::check::Report;
use crate::metrics::history::Point;
use crate::metrics::{Metrics, Reading};
use crate::server::Secret;
use crate::status::{Phase, Status, VerifyState};

/// What it answers, and what it was asked.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) status: Mutex<Status>,
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) news: watch::Sender<Arc<Status>>,
    pub(crate) audit: Audit,
    /// How the next verify ends.
    pub(crate) verdict: VerifyState,
}

impl Fake {
    fn ask(&self, what: String) -> Result<(), Refusal> {
        self.asked.lock().push(what);
        self.refusal.clone().map_or(Ok(()), Err)
    }

    /// The migration ends up in `phase` after the whole of its timeout.
    async fn flip(&self, phase: Phase, hold: Duration) -> Result<Flipped, Refusal> {
        tokio::time::sleep(hold).await;
        self.status.lock().phase = phase;
        Ok(Flipped { phase, hold })
    }
}

impl Control for Fake {
    fn status(&self) -> Status {
        self.status.lock().clone()
    }

    fn news(&self) -> watch::Receiver<Arc<Status>> {
        self.news.subscribe()
    }

    fn history(&self, after: f64) -> Vec<Point> {
        let points = [1.0, 2.0].map(|at| Point { at, ..Point::default() });
        points.into_iter().filter(|point| point.at > after).collect()
    }

    async fn check(&self) -> Result<Report, Refusal> {
        self.ask("check".to_owned())?;
        Ok(Report { ready: true, findings: Vec::new() })
    }

    fn report(&self) -> report::Report {
        report::Report { audit: self.audit.deeds(), ..Default::default() }
    }

    fn audit(&self) -> &Audit {
        &self.audit
    }

    fn metrics(&self) -> String {
        Metrics::install().render(&Reading::default())
    }

    fn ready(&self) -> Result<(), String> {
        let connected = self.status.lock().source.connected;
        if connected { Ok(()) } else { Err("the source is away".to_owned()) }
    }

    fn verify(&self) -> Result<(), Refusal> {
        self.ask("verify".to_owned())?;
        let verify = &mut self.status.lock().verify;
        verify.state = self.verdict;
        verify.finished_at = Some(1.0);
        Ok(())
    }

    async fn cutover(&self, timeout: Duration, force: bool) -> Result<Flipped, Refusal> {
        self.ask(format!("cutover {timeout:?} {force}"))?;
        self.flip(Phase::CutOver, timeout).await
    }

    async fn rollback(&self, timeout: Duration, force: bool) -> Result<Flipped, Refusal> {
        self.ask(format!("rollback {timeout:?} {force}"))?;
        self.flip(Phase::Mirroring, timeout).await
    }

    async fn resync(&self, accept_empty: bool) -> Result<(), Refusal> {
        self.ask(format!("resync {accept_empty}"))
    }

    async fn finalize(&self) -> Result<(), Refusal> {
        self.ask("finalize".to_owned())
    }

    fn shadow(&self, percent: f64) -> Result<(), Refusal> {
        self.ask(format!("shadow {percent}"))
    }

    fn backfill(&self, paused: Option<bool>, rate: Option<Rate>) -> Result<(), Refusal> {
        let rate = rate.map(Rate::limit);
        self.ask(format!("backfill {paused:?} {rate:?}"))
    }
}

/// A served fake; it ends when dropped.
pub(crate) struct Running {
    pub(crate) fake: Arc<Fake>,
    pub(crate) address: SocketAddr,
    _stop: DropGuard,
}

impl Fake {
    pub(crate) async fn serve(self, token: Option<&str>) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (fake, stop) = (Arc::new(self), CancellationToken::new());
        let hosts = vec!["crossfade.example".to_owned()];
        let access = Access { token: token.map(Secret::new), tls: None, hosts };
        tokio::spawn(serve(listener, fake.clone(), access, stop.clone()));
        Running { fake, address, _stop: stop.drop_guard() }
    }
}
