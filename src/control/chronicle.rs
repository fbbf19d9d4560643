//! Looking at the migration itself: what changes is kept for those who ask later, and told to those
//! who listen now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::changes::{self, Change};
use super::migration::{Migration, unix_now};
use super::reporting::Reporting;
use crate::admin::audit::{Audit, SELF};
use crate::admin::report::Report;
use crate::control::hooks::{Event, Hooks, News};
use crate::metrics::history::History;
use crate::status::{Side, Status};

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
    pub(super) audit: Audit,
    pub(super) reporting: Reporting,
    pub(super) hooks: Hooks,
    pub(super) history: Mutex<History>,
    pub(super) news: watch::Sender<Arc<Status>>,
    /// Something has changed that is worth a look at once.
    pub(super) stirred: Notify,
}

impl Chronicle {
    pub(super) fn new(audit: Audit, mut report: Report, hooks: Hooks) -> Self {
        report.started(unix_now(), env!("CARGO_PKG_VERSION"));
        Self {
            audit,
            reporting: Reporting::new(report),
            hooks,
            history: Mutex::default(),
            news: watch::Sender::default(),
            stirred: Notify::new(),
        }
    }
}

impl Chronicle {
    fn note(&self, changes: &[Change]) {
        for change in changes {
            let (what, outcome) = change.describe();
            self.audit.note(SELF, what, &outcome);
        }
    }
}

impl Migration {
    /// Keeps the chronicle until the process ends.
    pub(super) async fn keep_chronicle(self: Arc<Self>) {
        let chronicle = &self.chronicle;
        let mut last = self.status();
        chronicle.audit.note(SELF, "start", &last.phase.to_string());
        chronicle.news.send_replace(Arc::new(last.clone()));
        last = forgiving(last);
        let (mut told, mut kept, mut turned) = (Instant::now(), Instant::now(), Instant::now());
        loop {
            let now = self.status();
            if now.primary != last.primary {
                turned = Instant::now();
            }
            let seen = if turned.elapsed() < TURN { forgiving(now.clone()) } else { now.clone() };
            let changes = changes::between(&last, &seen);
            chronicle.note(&changes);
            for news in news(&last, &now, &changes) {
                chronicle.hooks.tell(news);
            }
            if !changes.is_empty() || kept.elapsed() >= KEEP {
                kept = Instant::now();
                self.keep_report();
            }
            if !changes.is_empty() || told.elapsed() >= PULSE {
                told = Instant::now();
                chronicle.news.send_replace(Arc::new(now));
            }
            last = seen;
            // A look too many does no harm.
            let _ = timeout(LOOK, chronicle.stirred.notified()).await;
        }
    }
}

/// How it looks to who knows that the mirror is only just being set up.
fn forgiving(mut status: Status) -> Status {
    (status.source.connected, status.target.connected) = (true, true);
    status.blockers.retain(|blocker| !blocker.ends_with("is unreachable"));
    status
}

/// What of the changes others are told.
fn news(before: &Status, now: &Status, changes: &[Change]) -> Vec<News> {
    let told = changes.iter().filter_map(|change| match change {
        Change::Phase(_) => {
            let previous = ("PREVIOUS_PHASE", before.phase.to_string());
            Some((Event::OnPhase, vec![previous]))
        }
        Change::Blocker(blocker) => Some((Event::OnBlocker, vec![("BLOCKER", blocker.clone())])),
        _ => None,
    });
    let hold = now.cutover.hold_ms.map(|hold| ("HOLD_MS", hold.to_string()));
    // When it is set, so is how long it took.
    let moved = (before.cutover.at != now.cutover.at).then(|| match now.primary {
        Side::Target => (Event::AfterCutover, hold.into_iter().collect()),
        Side::Source => (Event::AfterRollback, hold.into_iter().collect()),
    });
    let status = Arc::new(now.clone());
    let news = |(event, facts)| News { event, facts, status: status.clone() };
    told.chain(moved).map(news).collect()
}
