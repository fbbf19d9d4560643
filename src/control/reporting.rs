//! The report of a migration, and up to where its counts go.

use std::io;
use std::sync::Arc;

use super::migration::Migration;
use super::picture;
use crate::admin::audit::unix_now;
use crate::admin::report::{Counts, Report};
use crate::engine::Counters;
use crate::lane::SharedEngine;
use crate::status::Cutover;

/// The report as it grows.
#[derive(Debug)]
pub(super) struct Reporting {
    report: Report,
    commands: u64,
    /// Whose counts these are: a flip begins them anew.
    direction: Option<(Arc<SharedEngine>, Counts)>,
    failing: bool,
}

impl Reporting {
    pub(super) fn new(mut report: Report) -> Self {
        report.started(unix_now(), env!("CARGO_PKG_VERSION"));
        Self { report, commands: 0, direction: None, failing: false }
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Brings it up to now.
    pub(super) fn look(&mut self, migration: &Migration) {
        let status = picture::status(migration);
        let totals = migration.totals();
        self.count(&migration.direction().engine, totals.all_commands());
        let report = &mut self.report;
        report.longest_wait_seconds = report.longest_wait_seconds.max(totals.longest());
        report.look(unix_now(), &status);
    }

    pub(super) fn flipped(&mut self, flip: &Cutover) {
        self.report.flipped(flip);
    }

    /// Keeping it failed, and had not before.
    pub(super) fn first_failure(&mut self, kept: io::Result<()>) -> io::Result<()> {
        let known = std::mem::replace(&mut self.failing, kept.is_err());
        if known { Ok(()) } else { kept }
    }

    fn count(&mut self, engine: &Arc<SharedEngine>, commands: u64) {
        self.report.counts.commands += commands.saturating_sub(self.commands);
        self.commands = commands;
        // First what the direction before has counted to its end.
        if let Some((before, counted)) = self.direction.take() {
            let now = counts(&before);
            self.report.counts.add(&now.since(&counted));
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
        recopies: picture::recopies(&counters),
        applied: counters.applied,
        mismatched: counters.mismatched,
        failed: counters.failed,
    }
}
