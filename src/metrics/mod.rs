//! Every metric. What is read off when somebody asks is in the table of `readings`; what is counted
//! where it happens has a handle in [`Metrics`]; what every command counts is counted by each client
//! for itself ([`Tally`]).
//!
//! *Guarantees:* all metrics are in the output from the start; labels come from closed sets, never
//! from a key, an address or an error's text; a handle is looked up once and costs an atomic
//! operation from then on.
//!
//! *Must not know:* what the numbers mean to those who set them.

pub(crate) mod history;
mod labels;
pub(crate) mod latency;
mod readings;
mod tally;

pub(crate) use labels::{ClientErrorKind, CommandKind, Label};
pub(crate) use readings::Reading;
pub(crate) use tally::{Tally, Totals};

use metrics::{Counter, Gauge, Key, Label as Pair, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use crate::status::Side;
use readings::{READINGS, Read};

/// How long a server took for reads that both were asked.
const READS: (&str, &str) = (
    "crossfade_read_duration_seconds",
    "From a read sent to a server to its answer, of those that both were asked.",
);
/// The histogram of all commands, and its help.
const DURATION: (&str, &str) =
    ("crossfade_command_duration_seconds", "From a client's request in to its reply out.");

/// The handles of what is counted where it happens, and the page.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) foreign_writes: Counter,
    pub(crate) cutover_hold: Gauge,
    client_errors: Vec<Counter>,
    page: Page,
}

impl Metrics {
    /// Registers every metric. Nothing is global: two calls make two worlds.
    pub(crate) fn install() -> Self {
        let page = Page(PrometheusBuilder::new().build_recorder());
        for (name, help, read) in READINGS {
            match read {
                Read::Gauge(_) | Read::Gauges(..) => page.describe_gauge(name, help),
                Read::Counters(..) => page.describe_counter(name, help),
            }
        }
        let (writes, hold) = ("crossfade_foreign_writes_total", "crossfade_cutover_hold_seconds");
        let errors = "crossfade_client_errors_total";
        page.describe_counter(writes, "Write calls by others at the primary.");
        page.describe_gauge(hold, "How long the last flip held clients.");
        page.describe_counter(
            errors,
            "Errors that came from the proxy and not from a server, by kind.",
        );
        let error = |kind: &ClientErrorKind| {
            page.counter(&labelled(errors, ClientErrorKind::KEY, kind.name()))
        };
        Self {
            foreign_writes: page.counter(&Key::from_static_name(writes)),
            cutover_hold: page.gauge(&Key::from_static_name(hold)),
            client_errors: ClientErrorKind::ALL.iter().map(error).collect(),
            page,
        }
    }

    /// Counts an error that a client got from us and not from a server.
    pub(crate) fn client_error(&self, kind: ClientErrorKind) {
        if let Some(errors) = self.client_errors.get(kind.index()) {
            errors.increment(1);
        }
    }

    /// The whole page in Prometheus' text format.
    pub(crate) fn render(&self, now: &Reading) -> String {
        for (name, _, read) in READINGS {
            self.page.show(name, read, now);
        }
        let mut page = self.page.0.handle().render();
        let (name, help) = DURATION;
        now.clients.render(name, help, &mut page);
        let (source, target) = now.reads.clone();
        let family = [(Side::Source.name(), source), (Side::Target.name(), target)];
        latency::render(READS, "side", &family, &mut page);
        page
    }
}

#[derive(Debug)]
struct Page(PrometheusRecorder);

impl Page {
    const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

    fn describe_gauge(&self, name: &'static str, help: &'static str) {
        self.0.describe_gauge(name.into(), None, help.into());
    }

    fn describe_counter(&self, name: &'static str, help: &'static str) {
        self.0.describe_counter(name.into(), None, help.into());
    }

    fn gauge(&self, key: &Key) -> Gauge {
        self.0.register_gauge(key, &Self::METADATA)
    }

    fn counter(&self, key: &Key) -> Counter {
        self.0.register_counter(key, &Self::METADATA)
    }

    fn show(&self, name: &'static str, read: &Read, now: &Reading) {
        match read {
            Read::Gauge(read) => self.gauge(&Key::from_static_name(name)).set(read(now)),
            Read::Gauges(label, read) => {
                for (value, number) in read(now) {
                    self.gauge(&labelled(name, label, value)).set(number);
                }
            }
            Read::Counters(label, read) => {
                for (value, number) in read(now) {
                    self.counter(&labelled(name, label, value)).absolute(number);
                }
            }
        }
    }
}

fn labelled(name: &'static str, label: &'static str, value: &'static str) -> Key {
    Key::from_parts(name, vec![Pair::from_static_parts(label, value)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Cause;
    use crate::status::Phase;

    #[test]
    fn every_metric_is_there_from_the_start() {
        let page = Metrics::install().render(&Reading::default());
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
            "crossfade_foreign_writes_total 0",
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
            r#"crossfade_shadow_reads_total{outcome="different"} 0"#,
            r#"crossfade_read_duration_seconds_count{side="target"} 0"#,
            r#"crossfade_upstream_connected{role="target"} 0"#,
            "crossfade_cutover_hold_seconds 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn what_is_counted_shows_under_its_label() {
        let metrics = Metrics::install();
        let mut now = Reading::default();
        let place = Cause::ALL.iter().position(|cause| *cause == Cause::Overflow).unwrap();
        now.counters.recopies[place] = 3;
        now.status.phase = Phase::CutOver;
        let tally = Tally::default();
        tally.came(CommandKind::Write);
        tally.took(CommandKind::Write, std::time::Duration::from_millis(2), 1);
        now.clients.add(&tally);
        metrics.client_error(ClientErrorKind::SlowReader);
        let page = metrics.render(&now);
        assert!(page.contains(r#"crossfade_recopies_total{cause="overflow"} 3"#));
        assert!(page.contains(r#"crossfade_phase{phase="cut_over"} 1"#));
        assert!(page.contains(r#"crossfade_phase{phase="backfilling"} 0"#));
        assert!(page.contains(r#"crossfade_client_commands_total{kind="write"} 1"#));
        assert!(page.contains(r#"crossfade_client_errors_total{kind="slow_reader"} 1"#));
        assert!(page.contains(r#"_seconds_bucket{kind="write",le="0.0025"} 1"#), "{page}");
    }

    #[test]
    fn what_boards_and_alerts_ask_for_is_there() {
        let page = Metrics::install().render(&Reading::default());
        let board = include_str!("../../deploy/grafana/dashboard.json");
        let alerts = include_str!("../../deploy/prometheus/alerts.yml");
        let names = [board, alerts].into_iter().flat_map(|text| {
            let part_of_a_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            text.match_indices("crossfade_").filter_map(move |(at, _)| {
                text[at..].split(|letter| !part_of_a_name(letter)).next()
            })
        });
        let mut asked = 0;
        for name in names {
            assert!(page.contains(&format!("\n{name}")), "{name} is not in\n{page}");
            asked += 1;
        }
        assert!(asked > 20, "only {asked} names were found");
    }
}
