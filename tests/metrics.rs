//! The metrics: every promised name is there, the text is what Prometheus reads, and the numbers move.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::float_cmp, reason = "counts, which floats hold exactly")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use support::{Migration, wait_until};

/// Every family of the interface, without the prefix.
const FAMILIES: &[&str] = &[
    "phase",
    "mirror_lag_seconds",
    "mirror_queue_commands",
    "mirror_queue_bytes",
    "mirror_commands_total",
    "dirty_keys",
    "recopies_total",
    "backfill_keys_total",
    "backfill_keys_estimated",
    "values_total",
    "left_out_keys",
    "foreign_writes_total",
    "ledger_keys",
    "ledger_bytes",
    "verify_keys_total",
    "shadow_reads_total",
    "read_duration_seconds",
    "client_connections",
    "client_commands_total",
    "client_errors_total",
    "command_duration_seconds",
    "upstream_connected",
    "cutover_hold_seconds",
];

/// A scrape: families with their types, samples with their values.
struct Scrape {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

fn scrape(migration: &Migration) -> Scrape {
    let answer = migration.crossfade.admin().get("/metrics");
    assert_eq!(answer.code, 200);
    let mut scrape = Scrape { types: BTreeMap::new(), samples: BTreeMap::new() };
    for line in answer.text.lines().filter(|line| !line.is_empty()) {
        read_line(line, &mut scrape);
    }
    scrape
}

/// One line of the text format; anything else than what Prometheus takes fails the test.
fn read_line(line: &str, scrape: &mut Scrape) {
    if let Some(comment) = line.strip_prefix("# ") {
        let mut words = comment.splitn(3, ' ');
        let (keyword, name) = (words.next().unwrap(), words.next().unwrap());
        assert!(["HELP", "TYPE"].contains(&keyword), "{line}");
        if keyword == "TYPE" {
            let kind = words.next().unwrap().to_owned();
            assert!(
                ["counter", "gauge", "histogram", "summary"].contains(&kind.as_str()),
                "{line}"
            );
            assert!(scrape.types.insert(name.to_owned(), kind).is_none(), "a second {line}");
        }
        return;
    }
    let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    let name = sample.split('{').next().unwrap();
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
    assert!(sample.find('{').is_none_or(|_| sample.ends_with('}')), "{line}");
    assert!(scrape.samples.insert(sample.to_owned(), value).is_none(), "twice: {line}");
}

impl Scrape {
    fn sum(&self, prefix: &str) -> f64 {
        self.samples
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(_, value)| value)
            .sum()
    }
}

/// Does something of every kind, so that every metric has had a reason to appear.
fn exercise(migration: &Migration) {
    let mut client = migration.client();
    client.ok("SET a 1");
    client.ok("GET a");
    client.call("NOSUCHCOMMAND");
    migration.crossfade.cut_over();
    client.ok("SET a 2");
    migration.crossfade.wait_converged();
}

#[test]
fn every_promised_metric_is_exposed() {
    let migration = Migration::lasting();
    exercise(&migration);
    let scrape = scrape(&migration);
    let present: BTreeSet<&str> = scrape.types.keys().map(String::as_str).collect();
    let missing: Vec<&&str> = FAMILIES
        .iter()
        .filter(|name| !present.contains(format!("crossfade_{name}").as_str()))
        .collect();
    assert!(missing.is_empty(), "missing: {missing:?}; present: {present:?}");
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let migration = Migration::lasting();
    exercise(&migration);
    let scrape = scrape(&migration);
    for (name, kind) in scrape.types.iter().filter(|(name, _)| name.starts_with("crossfade_")) {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(!name.ends_with("_ms") && !name.ends_with("_kb"), "{name} is not in base units");
    }
    assert_eq!(scrape.types["crossfade_command_duration_seconds"], "histogram");
}

#[test]
fn the_numbers_tell_what_happened() {
    let migration = Migration::lasting();
    migration.crossfade.wait_converged();
    let before = scrape(&migration);
    assert_eq!(before.samples["crossfade_phase{phase=\"mirroring\"}"], 1.0);
    assert_eq!(before.sum("crossfade_phase"), 1.0, "one phase at a time");
    let mut client = migration.client();
    client.pipeline((0..100).map(|n| format!("SET key:{n} 1")));
    client.pipeline((0..50).map(|n| format!("GET key:{n}")));
    let applied = "crossfade_mirror_commands_total{outcome=\"applied\"}";
    wait_until("the writes are applied and counted", || {
        scrape(&migration).sum(applied) - before.sum(applied) >= 100.0
    });
    let after = scrape(&migration);
    let grown = |name: &str| after.sum(name) - before.sum(name);
    assert_eq!(grown("crossfade_client_commands_total{kind=\"write\"}"), 100.0);
    assert_eq!(grown("crossfade_client_commands_total{kind=\"read\"}"), 50.0);
    for (kind, count) in [("write", 100.0), ("read", 50.0)] {
        let of_kind =
            |what: &str| format!("crossfade_command_duration_seconds_{what}{{kind=\"{kind}\"");
        assert_eq!(grown(&of_kind("count")), count);
        assert!(grown(&of_kind("sum")) > 0.0, "answers take time");
    }
    assert_eq!(grown(applied), 100.0);
    assert_eq!(after.sum("crossfade_client_connections"), 1.0);
    assert_eq!(after.sum("crossfade_upstream_connected"), 2.0);
    assert_eq!(after.sum("crossfade_mirror_lag_seconds"), 0.0);
}

#[test]
fn an_error_of_ours_is_counted_by_kind_and_outlives_its_client() {
    let migration = Migration::lasting();
    let before = scrape(&migration);
    let mut client = migration.client();
    assert!(client.call("SHUTDOWN").is_error());
    client.send_raw(b"*1\r\n$x\r\n");
    assert!(client.reply().is_error());
    drop(client);
    wait_until("the client is gone", || {
        scrape(&migration).sum("crossfade_client_connections") == 0.0
    });
    let after = scrape(&migration);
    for kind in ["refused", "protocol"] {
        let errors = format!("crossfade_client_errors_total{{kind=\"{kind}\"}}");
        assert_eq!(after.sum(&errors) - before.sum(&errors), 1.0, "{kind}");
    }
    let commands = "crossfade_client_commands_total";
    assert!(after.sum(commands) > before.sum(commands));
}

#[test]
fn no_label_holds_a_key_an_address_or_an_errors_text() {
    let migration = Migration::lasting();
    exercise(&migration);
    migration.client().call("SET secretkey");
    migration.client().call("INCR secretkey x");
    let text = migration.crossfade.admin().get("/metrics").text;
    for leaked in ["secretkey", "127.0.0.1", "NOSUCHCOMMAND", "wrong number"] {
        assert!(!text.contains(leaked), "{leaked} is in the metrics");
    }
}
