//! Every metric: its name, help, unit, labels and handle, in this one file.
//!
//! *Guarantees:* all metrics are in the output from the start; labels come from closed enums, never
//! from a key, an address or an error's text; a handle is looked up once and costs an atomic
//! operation from then on.
//!
//! *Must not know:* what the numbers mean to those who set them.

use std::fmt;
use std::marker::PhantomData;

use metrics::{Counter, Gauge, Histogram, Key, Label as Pair, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::engine::Cause;
use crate::status::{Phase, Side};

/// Upper bounds for durations in seconds: from the fastest round trip on a loopback to the timeout
/// of a patient client.
const DURATION_BUCKETS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 10.0,
];

/// A closed set of values for one label.
pub trait Label: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// All its values, in the order of [`Self::index`].
    const ALL: &'static [Self];
    /// One value's name.
    fn name(self) -> &'static str;
    /// One value's place in [`Self::ALL`].
    fn index(self) -> usize;
}

/// Declares a closed set of label values.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident as $key:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// What became of a command for the secondary.
    MirrorOutcome as "outcome" {
        /// Done, with the expected reply.
        Applied = "applied",
        /// Done, with another reply.
        Mismatched = "mismatched",
        /// Refused by the secondary.
        Failed = "failed",
        /// Not sent: its keys had not been copied yet, or were dirty.
        Skipped = "skipped",
    }
}

labels! {
    /// What became of a key in the backfill.
    BackfillOutcome as "outcome" {
        /// It is on the target now.
        Copied = "copied",
        /// There was nothing to do: it is gone, or was there already.
        Skipped = "skipped",
        /// It could not be copied.
        Failed = "failed",
    }
}

labels! {
    /// How a value got to the other server.
    SentBy as "way" {
        /// Its payload as it was.
        AsItIs = "as_it_is",
        /// Its payload under a footer written anew.
        Rewritten = "rewritten",
        /// Commands of its type.
        Commands = "by_commands",
    }
}

labels! {
    /// What verify found of a key.
    VerifyOutcome as "outcome" {
        /// The same on both.
        Equal = "equal",
        /// Only on the primary.
        Missing = "missing",
        /// Only on the secondary.
        Extra = "extra",
        /// Another type, value or expiry.
        Different = "different",
        /// Found wrong, and right after repair.
        Repaired = "repaired",
    }
}

labels! {
    /// What kind of command a client sent.
    CommandKind as "kind" {
        /// It changes nothing.
        Read = "read",
        /// It may change keys.
        Write = "write",
        /// It concerns the connection or the server.
        Other = "other",
    }
}

labels! {
    /// Why a client got an error from the proxy and not from the server, or was let go.
    ClientErrorKind as "kind" {
        /// What it sent is not RESP, or past a limit.
        Protocol = "protocol",
        /// The source does not let it in.
        Auth = "auth",
        /// The command is not carried.
        Refused = "refused",
        /// The primary can't be reached, or was lost.
        Upstream = "upstream",
        /// It reads too slowly.
        SlowReader = "slow_reader",
        /// There are too many clients.
        TooMany = "too_many",
    }
}

impl Label for Cause {
    const KEY: &'static str = "cause";
    const ALL: &'static [Self] = &Cause::ALL;

    fn name(self) -> &'static str {
        self.label()
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Phase {
    const KEY: &'static str = "phase";
    const ALL: &'static [Self] = &Phase::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Side {
    const KEY: &'static str = "role";
    const ALL: &'static [Self] = &Side::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn index(self) -> usize {
        self as usize
    }
}

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
#[derive(Clone, Debug)]
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
    pub backfill_keys_estimated: Gauge,
    pub ledger_keys: Gauge,
    pub ledger_bytes: Gauge,
    pub verify_keys: Family<VerifyOutcome, Counter>,
    pub client_connections: Gauge,
    pub client_commands: Family<CommandKind, Counter>,
    pub client_errors: Family<ClientErrorKind, Counter>,
    pub command_duration: Family<CommandKind, Histogram>,
    pub upstream_connected: Family<Side, Gauge>,
    pub cutover_hold: Gauge,
}

impl Metrics {
    /// Registers every metric, and gives back what renders them. Nothing is global: two calls make
    /// two worlds.
    pub fn install() -> (Self, Renderer) {
        let register = Register(recorder());
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
            backfill_keys_estimated: register.gauge(
                "crossfade_backfill_keys_estimated",
                Unit::Count,
                "Keys that the source held when the backfill started.",
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
            command_duration: register.histograms(
                "crossfade_command_duration_seconds",
                Unit::Seconds,
                "From a client's request in to its reply out.",
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
        };
        metrics.enter(Phase::default());
        (metrics, Renderer(register.0.handle()))
    }

    /// Shows that the migration is in `phase` and in no other.
    pub fn enter(&self, phase: Phase) {
        for other in Phase::ALL {
            self.phase.of(other).set(if other == phase { 1.0 } else { 0.0 });
        }
    }
}

/// Turns the metrics into Prometheus' text format.
#[derive(Clone)]
pub struct Renderer(PrometheusHandle);

impl Renderer {
    /// The whole page.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds the samples of histograms, which otherwise grow until the next scrape. To be called
    /// every few seconds.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renderer")
    }
}

fn recorder() -> PrometheusRecorder {
    // Fails for an empty list of buckets only.
    let builder = PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS);
    builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder()
}

/// Registers metrics with their descriptions.
struct Register(PrometheusRecorder);

impl Register {
    const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

    fn gauge(&self, name: &'static str, unit: Unit, help: &'static str) -> Gauge {
        self.0.describe_gauge(name.into(), Some(unit), help.into());
        self.0.register_gauge(&Key::from_static_name(name), &Self::METADATA)
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

    fn histograms<L: Label>(
        &self,
        name: &'static str,
        unit: Unit,
        help: &'static str,
    ) -> Family<L, Histogram> {
        self.0.describe_histogram(name.into(), Some(unit), help.into());
        Family::new(Histogram::noop(), |label| {
            self.0.register_histogram(&key(name, label), &Self::METADATA)
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
        let (_metrics, renderer) = Metrics::install();
        let page = renderer.render();
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
        let (metrics, renderer) = Metrics::install();
        metrics.recopies.of(Cause::Overflow).increment(3);
        metrics.enter(Phase::CutOver);
        metrics.command_duration.of(CommandKind::Write).record(0.002);
        renderer.upkeep();
        let page = renderer.render();
        assert!(page.contains(r#"crossfade_recopies_total{cause="overflow"} 3"#));
        assert!(page.contains(r#"crossfade_phase{phase="cut_over"} 1"#));
        assert!(page.contains(r#"crossfade_phase{phase="backfilling"} 0"#));
        assert!(page.contains(r#"_seconds_bucket{kind="write",le="0.0025"} 1"#), "{page}");
    }
}
