//! What is read off when somebody asks for the metrics: a table of names, helps, and where each
//! number comes from.

use Read::{Counters, Gauge, Gauges};

use super::labels::{CommandKind, Label};
use super::latency::Took;
use super::tally::Totals;
use crate::engine::{Cause, Counters as Counted};
use crate::status::{Phase, Server, Side, Status};

/// How the migration is, what its engine has counted, and what its clients have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) status: Status,
    pub(crate) counters: Counted,
    /// Keys that the ledger holds a mark for, and its memory in bytes.
    pub(crate) ledger: (usize, usize),
    pub(crate) clients: Totals,
    /// How long the source took for reads that both were asked, and the target.
    pub(crate) reads: (Took, Took),
}

/// How a number is read, or one for each value of the label that stands first.
pub(super) enum Read {
    Gauge(fn(&Reading) -> f64),
    Gauges(&'static str, fn(&Reading) -> Vec<(&'static str, f64)>),
    Counters(&'static str, fn(&Reading) -> Vec<(&'static str, u64)>),
}

pub(super) const READINGS: &[(&str, &str, Read)] = &[
    (
        "crossfade_phase",
        "1 for the phase that the migration is in, 0 for the others.",
        Gauges("phase", |now| {
            Phase::ALL.map(|phase| (phase.name(), f64::from(phase == now.status.phase))).to_vec()
        }),
    ),
    (
        "crossfade_mirror_lag_seconds",
        "Age of the oldest write that the primary has done and the secondary has not.",
        Gauge(|now| now.status.mirror.lag_seconds),
    ),
    (
        "crossfade_mirror_queue_commands",
        "Commands that wait for the secondary.",
        Gauge(|now| now.status.mirror.queued as f64),
    ),
    (
        "crossfade_mirror_queue_bytes",
        "Memory of the commands that wait for the secondary.",
        Gauge(|now| now.status.mirror.queued_bytes as f64),
    ),
    (
        "crossfade_mirror_commands_total",
        "Commands for the secondary, by what became of them.",
        Counters("outcome", |now| {
            let Counted { applied, mismatched, failed, skipped, .. } = now.counters;
            vec![
                ("applied", applied),
                ("mismatched", mismatched),
                ("failed", failed),
                // Not sent: the keys had not been copied yet, or were dirty.
                ("skipped", skipped),
            ]
        }),
    ),
    (
        "crossfade_dirty_keys",
        "Keys that wait to be copied again.",
        Gauge(|now| now.status.mirror.dirty_keys as f64),
    ),
    (
        "crossfade_recopies_total",
        "Keys copied again, by the reason.",
        Counters("cause", |now| {
            Cause::ALL.iter().map(|cause| cause.label()).zip(now.counters.recopies).collect()
        }),
    ),
    (
        "crossfade_backfill_keys_total",
        "Keys that the backfill has dealt with, by what became of them.",
        Counters("outcome", |now| {
            let (copied, failed) = (now.counters.copied, now.status.backfill.failed);
            // There was nothing to do: gone, or there already.
            let skipped = now.status.backfill.scanned.saturating_sub(copied + failed);
            vec![("copied", copied), ("skipped", skipped), ("failed", failed)]
        }),
    ),
    (
        "crossfade_values_total",
        "Values sent, by the way they went.",
        Counters("way", |now| {
            let ways = now.status.backfill.ways;
            vec![
                ("as_it_is", ways.as_it_is),
                ("rewritten", ways.rewritten),
                ("by_commands", ways.by_commands),
            ]
        }),
    ),
    (
        "crossfade_left_out_keys",
        "Keys whose values the secondary cannot hold.",
        Gauge(|now| now.status.backfill.left_out as f64),
    ),
    (
        "crossfade_backfill_keys_estimated",
        "Keys that the source held when the backfill started.",
        Gauge(|now| now.status.backfill.total_estimate as f64),
    ),
    (
        "crossfade_record_groups",
        "Groups of keys, of 65536, that a crash would leave in doubt.",
        Gauge(|now| now.status.record.groups as f64),
    ),
    (
        "crossfade_record_failing",
        "1 while the write-intent record can't be written.",
        Gauge(|now| f64::from(now.status.record.error.is_some())),
    ),
    (
        "crossfade_ledger_keys",
        "Keys that the ledger holds a mark for.",
        Gauge(|now| now.ledger.0 as f64),
    ),
    ("crossfade_ledger_bytes", "Memory of the ledger.", Gauge(|now| now.ledger.1 as f64)),
    (
        "crossfade_verify_keys_total",
        "Keys compared, by what was found.",
        Counters("outcome", |now| {
            let verify = &now.status.verify;
            let wrong = verify.missing + verify.extra + verify.different;
            vec![
                ("equal", verify.checked.saturating_sub(wrong)),
                ("missing", verify.missing),
                ("extra", verify.extra),
                ("different", verify.different),
                ("repaired", verify.repaired),
            ]
        }),
    ),
    (
        "crossfade_shadow_reads_total",
        "Reads of clients that the secondary was asked too, by what came of it.",
        Counters("outcome", |now| {
            let shadow = &now.status.shadow;
            vec![
                ("equal", shadow.equal),
                ("different", shadow.different),
                ("refused", shadow.refused),
                ("discarded", shadow.discarded),
            ]
        }),
    ),
    (
        "crossfade_client_connections",
        "Clients connected now.",
        Gauge(|now| now.status.clients.connected as f64),
    ),
    (
        "crossfade_client_commands_total",
        "Commands served, by kind.",
        Counters("kind", |now| {
            CommandKind::ALL.iter().map(|kind| (kind.name(), now.clients.commands(*kind))).collect()
        }),
    ),
    (
        "crossfade_upstream_connected",
        "1 when the server can be talked to.",
        Gauges("role", |now| {
            let connected = |server: &Server| f64::from(server.connected);
            vec![
                (Side::Source.name(), connected(&now.status.source)),
                (Side::Target.name(), connected(&now.status.target)),
            ]
        }),
    ),
];
