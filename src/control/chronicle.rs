//! Keeping the chronicle of a migration: what changes is kept for those who ask later, and told to
//! those who listen now.
//!
//! *Guarantees:* each phase and each flip is told, in order, however short; what else changes is looked
//! for now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::warn;

use super::changes::{Change, Look};
use super::migration::{Migration, Moment};
use super::reporting::Reporting;
use crate::admin::audit::{Audit, SELF};
use crate::admin::report::Report;
use crate::control::hooks::{Hook, Hooks, News};
use crate::metrics::history::History;
use crate::status::{Phase, Side, Status};

/// How often it is looked at, unless it says that something has changed.
const LOOK: Duration = Duration::from_millis(250);
/// How often those who listen are told, though nothing has changed.
const PULSE: Duration = Duration::from_secs(1);
/// How often the report is kept, though nothing has changed.
const KEEP: Duration = Duration::from_secs(10);
/// How long the mirror may take to connect, at the start and after a flip, before that is worth a word.
const TURN: Duration = Duration::from_secs(3);

/// What was done, and who is told.
#[derive(Debug)]
pub(super) struct Chronicle {
    pub(super) migration: Arc<Migration>,
    pub(super) audit: Audit,
    pub(super) hooks: Hooks,
    pub(super) history: Mutex<History>,
    pub(super) news: watch::Sender<Arc<Status>>,
    reporting: Mutex<Reporting>,
}

impl Chronicle {
    pub(super) fn new(
        migration: Arc<Migration>,
        audit: Audit,
        report: Report,
        hooks: Hooks,
        news: watch::Sender<Arc<Status>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            migration,
            audit,
            hooks,
            history: Mutex::default(),
            news,
            reporting: Mutex::new(Reporting::new(report)),
        })
    }

    /// Keeps it until the process ends.
    pub(super) async fn keep(self: Arc<Self>, mut moments: mpsc::Receiver<Moment>) {
        let mut last = Look::at(&self.migration);
        self.audit.note(SELF, "start", &last.status.phase.to_string());
        self.tell(&last.status);
        let mut phase = last.status.phase;
        last = last.forgiving();
        let (mut told, mut kept, mut turned) = (Instant::now(), Instant::now(), Instant::now());
        loop {
            let come: Vec<Moment> = std::iter::from_fn(|| moments.try_recv().ok()).collect();
            let now = Look::at(&self.migration);
            if now.status.primary != last.status.primary {
                turned = Instant::now();
            }
            let seen = if turned.elapsed() < TURN { now.clone().forgiving() } else { now.clone() };
            let changes = seen.since(&last, &come);
            for change in &changes {
                self.note(change, &mut phase, &now.status);
            }
            if !changes.is_empty() || kept.elapsed() >= KEEP {
                kept = Instant::now();
                self.keep_report();
            }
            if !changes.is_empty() || told.elapsed() >= PULSE {
                told = Instant::now();
                self.tell(&now.status);
            }
            last = seen;
            // A look too many does no harm.
            let _ = timeout(LOOK, self.migration.changed.notified()).await;
        }
    }

    fn tell(&self, status: &Status) {
        self.news.send_replace(Arc::new(status.clone()));
    }

    /// Notes what has changed, and tells those who want to know of it. `phase` is the last one told.
    fn note(&self, change: &Change, phase: &mut Phase, status: &Status) {
        let (what, outcome) = change.describe();
        self.audit.note(SELF, what, &outcome);
        let (hook, facts, status) = match change {
            Change::Phase(next) => {
                let before = std::mem::replace(phase, *next);
                // It may have been left again since.
                let status = Status { phase: *next, primary: next.primary(), ..status.clone() };
                self.tell(&status);
                (Hook::OnPhase, vec![("PREVIOUS_PHASE", before.to_string())], status)
            }
            Change::Flipped(flip) => {
                self.reporting.lock().flipped(flip);
                let hold = flip.hold_ms.map(|hold| ("HOLD_MS", hold.to_string()));
                let hook = match flip.to {
                    Some(Side::Source) => Hook::AfterRollback,
                    _ => Hook::AfterCutover,
                };
                (hook, hold.into_iter().collect(), status.clone())
            }
            Change::Blocker(blocker) => {
                (Hook::OnBlocker, vec![("BLOCKER", blocker.clone())], status.clone())
            }
            _ => return,
        };
        self.hooks.tell(News { hook, facts, status: Arc::new(status) });
    }

    /// What has happened until now.
    pub(super) fn report(&self) -> Report {
        let mut reporting = self.reporting.lock();
        reporting.look(&self.migration);
        Report { audit: self.audit.deeds(), ..reporting.report().clone() }
    }

    /// Keeps it for the time after the process.
    pub(super) fn keep_report(&self) {
        let report = self.report();
        let Some(store) = &self.migration.store else { return };
        let kept = report.save(store.path());
        if let Err(error) = self.reporting.lock().first_failure(kept) {
            warn!(%error, "the report can't be kept in the state directory");
        }
    }
}
