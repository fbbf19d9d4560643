//! Every metric: its name, help, unit and handle in this file, its label's values in `labels`.
//!
//! *Guarantees:* all metrics are in the output from the start; labels come from closed enums, never
//! from a key, an address or an error's text; a handle is looked up once and costs an atomic
//! operation from then on. What every command counts is counted by each client for itself
//! ([`Tally`]).
//!
//! *Must not know:* what the numbers mean to those who set them.

mod labels;
mod tally;

pub use labels::{
    BackfillOutcome, ClientErrorKind, CommandKind, Label, MirrorOutcome, SentBy, VerifyOutcome,
};
pub use tally::{Tally, Totals};

use std::fmt;
use std::marker::PhantomData;

use metrics::{Counter, Gauge, Key, Label as Pair, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use parking_lot::Mutex;

use crate::engine::Cause;
use crate::status::{Phase, Side};

/// The one histogram, and its help.
const DURATION: (&str, &str) =
    ("crossfade_command_duration_seconds", "From a client's request in to its reply out.");

/// One handle for each value of a label.
#[derive(Clone)]
pub struct Family<L, H> {
    handles: Vec<H>,
    /// What a value outside of [`Label::ALL`] would get, so that asking can't fail.
    nowhere: H,
    label: PhantomData<L>,
}

impl<L: Label, H> Family<L, H> {
    fn new(nowhere: H, handle: impl FnMut(L) -> H) -> Self {
        Self { handles: L::ALL.iter().copied().map(handle).collect(), nowhere, label: PhantomData }
    }

    /// The handle for `label`.
    pub fn of(&self, label: L) -> &H {
        self.handles.get(label.index()).unwrap_or(&self.nowhere)
    }
}

impl<L, H> fmt::Debug for Family<L, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").finish_non_exhaustive()
    }
}

/// The handles of all metrics.
#[derive(Debug)]
#[allow(missing_docs, reason = "the help text of each is in `Metrics::install`")]
pub struct Metrics {
    pub phase: Family<Phase, Gauge>,
    pub mirror_lag: Gauge,
    pub mirror_queue_commands: Gauge,
    pub mirror_queue_bytes: Gauge,
    pub mirror_commands: Family<MirrorOutcome, Counter>,
    pub dirty_keys: Gauge,
    pub recopies: Family<Cause, Counter>,
    pub backfill_keys: Family<BackfillOutcome, Counter>,
    pub values: Family<SentBy, Counter>,
    pub left_out: Gauge,
    pub foreign_writes: Counter,
    pub backfill_keys_estimated: Gauge,
    pub record_groups: Gauge,
    pub record_failing: Gauge,
    pub ledger_keys: Gauge,
    pub ledger_bytes: Gauge,
    pub verify_keys: Family<VerifyOutcome, Counter>,
    pub client_connections: Gauge,
    client_commands: Family<CommandKind, Counter>,
    pub client_errors: Family<ClientErrorKind, Counter>,
    pub upstream_connected: Family<Side, Gauge>,
    pub cutover_hold: Gauge,
    clients: Mutex<Totals>,
    page: PrometheusHandle,
}

impl Metrics {
    /// Registers every metric. Nothing is global: two calls make two worlds.
    pub fn install() -> Self {
        let register = Register(PrometheusBuilder::new().build_recorder());
        let metrics = Self {
            phase: register.gauges(
                "crossfade_phase",
                Unit::Count,
                "1 for the phase that the migration is in, 0 for the others.",
            ),
            mirror_lag: register.gauge(
                "crossfade_mirror_lag_seconds",
                Unit::Seconds,
                "Age of the oldest write that the primary has done and the secondary has not.",
            ),
            mirror_queue_commands: register.gauge(
                "crossfade_mirror_queue_commands",
                Unit::Count,
                "Commands that wait for the secondary.",
            ),
            mirror_queue_bytes: register.gauge(
                "crossfade_mirror_queue_bytes",
                Unit::Bytes,
                "Memory of the commands that wait for the secondary.",
            ),
            mirror_commands: register.counters(
                "crossfade_mirror_commands_total",
                "Commands for the secondary, by what became of them.",
            ),
            dirty_keys: register.gauge(
                "crossfade_dirty_keys",
                Unit::Count,
                "Keys that wait to be copied again.",
            ),
            recopies: register
                .counters("crossfade_recopies_total", "Keys copied again, by the reason."),
            backfill_keys: register.counters(
                "crossfade_backfill_keys_total",
                "Keys that the backfill has dealt with, by what became of them.",
            ),
            values: register
                .counters("crossfade_values_total", "Values sent, by the way they went."),
            left_out: register.gauge(
                "crossfade_left_out_keys",
                Unit::Count,
                "Keys whose values the secondary cannot hold.",
            ),
            foreign_writes: register
                .counter("crossfade_foreign_writes_total", "Write calls by others at the primary."),
            backfill_keys_estimated: register.gauge(
                "crossfade_backfill_keys_estimated",
                Unit::Count,
                "Keys that the source held when the backfill started.",
            ),
            record_groups: register.gauge(
                "crossfade_record_groups",
                Unit::Count,
                "Groups of keys, of 65536, that a crash would leave in doubt.",
            ),
            record_failing: register.gauge(
                "crossfade_record_failing",
                Unit::Count,
                "1 while the write-intent record can't be written.",
            ),
            ledger_keys: register.gauge(
                "crossfade_ledger_keys",
                Unit::Count,
                "Keys that the ledger holds a mark for.",
            ),
            ledger_bytes: register.gauge(
                "crossfade_ledger_bytes",
                Unit::Bytes,
                "Memory of the ledger.",
            ),
            verify_keys: register
                .counters("crossfade_verify_keys_total", "Keys compared, by what was found."),
            client_connections: register.gauge(
                "crossfade_client_connections",
                Unit::Count,
                "Clients connected now.",
            ),
            client_commands: register
                .counters("crossfade_client_commands_total", "Commands served, by kind."),
            client_errors: register.counters(
                "crossfade_client_errors_total",
                "Errors that came from the proxy and not from a server, by kind.",
            ),
            upstream_connected: register.gauges(
                "crossfade_upstream_connected",
                Unit::Count,
                "1 when the server can be talked to.",
            ),
            cutover_hold: register.gauge(
                "crossfade_cutover_hold_seconds",
                Unit::Seconds,
                "How long the last flip held clients.",
            ),
            clients: Mutex::default(),
            page: register.0.handle(),
        };
        metrics.enter(Phase::default());
        metrics
    }

    /// The whole page in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut page = self.page.render();
        let (name, help) = DURATION;
        self.clients.lock().render(name, help, &mut page);
        page
    }

    /// Shows what clients have counted.
    pub fn show(&self, clients: Totals) {
        for kind in CommandKind::ALL {
            self.client_commands.of(*kind).absolute(clients.commands(*kind));
        }
        *self.clients.lock() = clients;
    }

    /// Shows that the migration is in `phase` and in no other.
    pub fn enter(&self, phase: Phase) {
        for other in Phase::ALL {
            self.phase.of(other).set(if other == phase { 1.0 } else { 0.0 });
        }
    }
}

/// Registers metrics with their descriptions.
struct Register(PrometheusRecorder);

impl Register {
    const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

    fn gauge(&self, name: &'static str, unit: Unit, help: &'static str) -> Gauge {
        self.0.describe_gauge(name.into(), Some(unit), help.into());
        self.0.register_gauge(&Key::from_static_name(name), &Self::METADATA)
    }

    fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.0.describe_counter(name.into(), Some(Unit::Count), help.into());
        self.0.register_counter(&Key::from_static_name(name), &Self::METADATA)
    }

    fn gauges<L: Label>(
        &self,
        name: &'static str,
        unit: Unit,
        help: &'static str,
    ) -> Family<L, Gauge> {
        self.0.describe_gauge(name.into(), Some(unit), help.into());
        Family::new(Gauge::noop(), |label| {
            self.0.register_gauge(&key(name, label), &Self::METADATA)
        })
    }

    fn counters<L: Label>(&self, name: &'static str, help: &'static str) -> Family<L, Counter> {
        self.0.describe_counter(name.into(), Some(Unit::Count), help.into());
        Family::new(Counter::noop(), |label| {
            self.0.register_counter(&key(name, label), &Self::METADATA)
        })
    }
}

fn key<L: Label>(name: &'static str, label: L) -> Key {
    Key::from_parts(name, vec![Pair::from_static_parts(L::KEY, label.name())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_there_from_the_start() {
        let page = Metrics::install().render();
        for line in [
            r#"crossfade_phase{phase="backfilling"} 1"#,
            r#"crossfade_phase{phase="finalized"} 0"#,
            "crossfade_mirror_lag_seconds 0",
            "crossfade_mirror_queue_commands 0",
            "crossfade_mirror_queue_bytes 0",
            r#"crossfade_mirror_commands_total{outcome="skipped"} 0"#,
            "crossfade_dirty_keys 0",
            r#"crossfade_recopies_total{cause="mismatch"} 0"#,
            r#"crossfade_backfill_keys_total{outcome="copied"} 0"#,
            r#"crossfade_values_total{way="rewritten"} 0"#,
            "crossfade_left_out_keys 0",
            "crossfade_backfill_keys_estimated 0",
            "crossfade_record_groups 0",
            "crossfade_record_failing 0",
            "crossfade_ledger_keys 0",
            "crossfade_ledger_bytes 0",
            r#"crossfade_verify_keys_total{outcome="repaired"} 0"#,
            "crossfade_client_connections 0",
            r#"crossfade_client_commands_total{kind="other"} 0"#,
            r#"crossfade_client_errors_total{kind="protocol"} 0"#,
            r#"crossfade_command_duration_seconds_bucket{kind="read",le="+Inf"} 0"#,
            r#"crossfade_upstream_connected{role="target"} 0"#,
            "crossfade_cutover_hold_seconds 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn what_is_counted_shows_under_its_label() {
        let metrics = Metrics::install();
        metrics.recopies.of(Cause::Overflow).increment(3);
        metrics.enter(Phase::CutOver);
        let (tally, mut clients) = (Tally::default(), Totals::default());
        tally.came(CommandKind::Write);
        tally.took(CommandKind::Write, std::time::Duration::from_millis(2), 1);
        clients.add(&tally);
        metrics.show(clients);
        let page = metrics.render();
        assert!(page.contains(r#"crossfade_recopies_total{cause="overflow"} 3"#));
        assert!(page.contains(r#"crossfade_phase{phase="cut_over"} 1"#));
        assert!(page.contains(r#"crossfade_phase{phase="backfilling"} 0"#));
        assert!(page.contains(r#"crossfade_client_commands_total{kind="write"} 1"#));
        assert!(page.contains(r#"_seconds_bucket{kind="write",le="0.0025"} 1"#), "{page}");
    }
}
