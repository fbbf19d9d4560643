//! Keeping the report of the migration up to date.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::warn;

use super::migration::{Migration, recopies, unix_now};
use crate::admin::report::{Counts, Report};
use crate::engine::Counters;
use crate::lane::SharedEngine;
use crate::proxy::Registry;

/// The report, and up to where its counts go.
#[derive(Debug)]
pub(super) struct Reporting(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    report: Report,
    commands: u64,
    /// Whose counts these are: a flip begins them anew.
    direction: Option<(Arc<SharedEngine>, Counts)>,
    failing: bool,
}

impl Reporting {
    pub(super) fn new(report: Report) -> Self {
        Self(Mutex::new(Inner { report, commands: 0, direction: None, failing: false }))
    }
}

impl Migration {
    /// What has happened until now.
    pub(super) fn report_now(&self) -> Report {
        let status = self.status();
        let engine = self.direction().engine.clone();
        let totals = self.registry().map(Registry::totals).unwrap_or_default();
        let mut inner = self.chronicle.reporting.0.lock();
        inner.count(&engine, totals.all_commands());
        let report = &mut inner.report;
        report.longest_wait_seconds = report.longest_wait_seconds.max(totals.longest());
        report.look(unix_now(), &status);
        Report { audit: self.chronicle.audit.deeds(), ..report.clone() }
    }

    /// Keeps it for the time after the process.
    pub(super) fn keep_report(&self) {
        let report = self.report_now();
        let Some(store) = &self.store else { return };
        let result = report.save(store.path());
        let mut inner = self.chronicle.reporting.0.lock();
        if let Err(error) = &result
            && !inner.failing
        {
            warn!(%error, "the report can't be kept in the state directory");
        }
        inner.failing = result.is_err();
    }
}

impl Inner {
    fn count(&mut self, engine: &Arc<SharedEngine>, commands: u64) {
        self.report.counts.commands += commands.saturating_sub(self.commands);
        self.commands = commands;
        // First what the direction before has counted to its end.
        if let Some((before, counted)) = self.direction.take() {
            let now = counts(&before);
            self.report.counts.add(&since(&now, &counted));
            self.direction = Arc::ptr_eq(&before, engine).then_some((before, now));
        }
        if self.direction.is_none() {
            let now = counts(engine);
            self.report.counts.add(&now);
            self.direction = Some((engine.clone(), now));
        }
    }
}

fn counts(engine: &SharedEngine) -> Counts {
    let counters: Counters = engine.with(|engine| *engine.counters());
    Counts {
        commands: 0,
        copied: counters.copied,
        recopies: recopies(&counters),
        applied: counters.applied,
        mismatched: counters.mismatched,
        failed: counters.failed,
    }
}

fn since(now: &Counts, before: &Counts) -> Counts {
    let recopies = now.recopies.iter().map(|(cause, count)| {
        let before = before.recopies.get(cause).copied().unwrap_or(0);
        (cause.clone(), count.saturating_sub(before))
    });
    Counts {
        commands: 0,
        copied: now.copied - before.copied,
        recopies: recopies.collect(),
        applied: now.applied - before.applied,
        mismatched: now.mismatched - before.mismatched,
        failed: now.failed - before.failed,
    }
}
