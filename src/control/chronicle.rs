//! Looking at the migration itself: what changes is kept for those who ask later, and told to those
//! who listen now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::changes;
use super::migration::Migration;
use crate::audit::{Audit, SELF};
use crate::history::History;
use crate::status::Status;

/// How often it is looked at, unless it says that something has changed.
const LOOK: Duration = Duration::from_millis(250);
/// How often those who listen are told, though nothing has changed.
const PULSE: Duration = Duration::from_secs(1);

/// What was done, and who is told.
#[derive(Debug)]
pub(super) struct Chronicle {
    pub(super) audit: Audit,
    pub(super) history: Mutex<History>,
    pub(super) news: watch::Sender<Arc<Status>>,
    /// Something has changed that is worth a look at once.
    pub(super) stirred: Notify,
}

impl Chronicle {
    pub(super) fn new(audit: Audit) -> Self {
        Self {
            audit,
            history: Mutex::default(),
            news: watch::Sender::default(),
            stirred: Notify::new(),
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
        let mut told = Instant::now();
        loop {
            let now = self.status();
            let changes = changes::between(&last, &now);
            for change in &changes {
                let (what, outcome) = change.describe();
                chronicle.audit.note(SELF, what, &outcome);
            }
            if !changes.is_empty() || told.elapsed() >= PULSE {
                told = Instant::now();
                chronicle.news.send_replace(Arc::new(now.clone()));
            }
            last = now;
            // A look too many does no harm.
            let _ = timeout(LOOK, chronicle.stirred.notified()).await;
        }
    }
}
