//! What stands in `deploy`: alerts fire, the board shows what there is, and each file is what the
//! program that reads it takes.
//!
//! Each test asks that program. The Makefile fetches what it can; a program that is not there is told,
//! and its test passes over.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::Migration;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ALERTS: &str = include_str!("../deploy/prometheus/alerts.yml");
const TRIED: &str = include_str!("../deploy/prometheus/alerts.test.yml");
const BOARD: &str = include_str!("../deploy/grafana/dashboard.json");
const UNIT: &str = include_str!("../deploy/crossfade.service");

fn deploy(file: &str) -> PathBuf {
    Path::new(ROOT).join("deploy").join(file)
}

/// A program, if it is here: one of the system or one that the Makefile has fetched.
fn program(name: &str) -> Option<Command> {
    let fetched = Path::new(ROOT).join(".cache/tools/bin").join(name);
    let found = fetched.exists() || Command::new(name).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: {name} is not installed");
    }
    found.then(|| if fetched.exists() { Command::new(fetched) } else { Command::new(name) })
}

/// Runs a program that must find nothing wrong.
fn agrees(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {said}");
    said
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("crossfade_"));
    ours.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

/// The alerts that a text names, by what stands before each name.
fn alerts<'a>(text: &'a str, before: &'a str) -> BTreeSet<&'a str> {
    let names = text.split(before).skip(1);
    names.filter_map(|rest| rest.split([',', '\n', '}']).next()).map(str::trim).collect()
}

#[test]
fn every_metric_of_the_alerts_and_of_the_board_is_one_of_a_running_crossfade() {
    let migration = Migration::lasting();
    let mut client = migration.client();
    client.ok("SET a 1");
    assert!(client.call("SHUTDOWN").is_error());
    migration.crossfade.cut_over();
    let exposed = migration.crossfade.admin().get("/metrics").text;
    let types = exposed.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let known: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    let board: Value = serde_json::from_str(BOARD).unwrap();
    let expressions = board["panels"].as_array().unwrap().iter();
    let expressions = expressions.filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions: Vec<&str> = expressions.filter_map(|target| target["expr"].as_str()).collect();
    assert!(expressions.len() > 10, "{expressions:?}");
    for name in metrics(ALERTS).union(&metrics(&expressions.join(" "))) {
        assert!(known.contains(name.as_str()), "{name} is not among {known:?}");
    }
}

#[test]
fn every_alert_fires_for_what_it_is_meant_for_and_none_when_all_is_well() {
    assert_eq!(alerts(ALERTS, "- alert: "), alerts(TRIED, "alertname: "), "each alert is tried");
    let Some(mut promtool) = program("promtool") else { return };
    agrees(promtool.args(["test", "rules"]).arg(deploy("prometheus/alerts.test.yml")));
}

#[test]
fn prometheus_takes_its_configuration_and_our_metrics() {
    let Some(mut promtool) = program("promtool") else { return };
    agrees(promtool.args(["check", "config"]).arg(deploy("prometheus/prometheus.yml")));
    let migration = Migration::lasting();
    migration.crossfade.wait_converged();
    let scraped = tempfile::NamedTempFile::new().unwrap();
    fs::write(scraped.path(), migration.crossfade.admin().get("/metrics").text).unwrap();
    let input = fs::File::open(scraped.path()).unwrap();
    agrees(program("promtool").unwrap().args(["check", "metrics"]).stdin(input));
}

#[test]
fn systemd_takes_the_unit() {
    let Some(mut analyze) = program("systemd-analyze") else { return };
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("crossfade.service");
    // The binary is where the tests have it.
    let binary = format!("ExecStart={} run", env!("CARGO_BIN_EXE_crossfade"));
    assert!(UNIT.contains("ExecStart=crossfade run"), "{UNIT}");
    fs::write(&unit, UNIT.replace("ExecStart=crossfade run", &binary)).unwrap();
    let said = agrees(analyze.args(["verify", "--man=no"]).arg(&unit));
    assert_eq!(said, "", "systemd complains");
}

/// Has Kubernetes' own schemas look at every object of a file, and at no field that they do not know.
fn kubernetes_takes(file: &Path) {
    let Some(mut validate) = program("kubernetes-validate") else { return };
    agrees(validate.arg("--strict").arg(file));
}

#[test]
fn kubernetes_takes_the_manifest() {
    kubernetes_takes(&deploy("kubernetes.yaml"));
}

#[test]
fn compose_takes_its_file() {
    let Some(mut check) = program("check-jsonschema") else { return };
    agrees(check.args(["--builtin-schema", "vendor.compose-spec"]).arg(deploy("compose.yaml")));
}

/// The chart's objects, rendered with some values.
fn rendered(values: &[&str]) -> Option<tempfile::NamedTempFile> {
    let mut helm = program("helm")?;
    helm.args(["template", "move"]).arg(deploy("helm")).args(["--kube-version", "1.30.0"]);
    for value in ["source=redis://old:6379", "target=redis://new:6379"].iter().chain(values) {
        helm.args(["--set", value]);
    }
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(file.path(), agrees(&mut helm)).unwrap();
    Some(file)
}

#[test]
fn kubernetes_takes_what_the_chart_makes() {
    let everything = [
        "tls.listen.secretName=a",
        "tls.admin.secretName=b",
        "tls.source.caSecretName=c",
        "tls.target.caSecretName=d",
        "serviceMonitor.enabled=true",
        "secret.name=mine",
        "state.storageClassName=fast",
        "options.backfill-rate=5000000",
    ];
    for values in [&[][..], &everything] {
        let Some(file) = rendered(values) else { return };
        kubernetes_takes(file.path());
    }
}

#[test]
fn the_chart_refuses_values_that_it_does_not_know_or_that_are_no_servers() {
    for wrong in ["source=old:6379", "replicas=2", "service.type=Anything"] {
        let Some(mut helm) = program("helm") else { return };
        helm.args(["template", "move", "--set", "target=redis://new:6379"]).arg(deploy("helm"));
        helm.args(["--kube-version", "1.30.0", "--set", "source=redis://old", "--set", wrong]);
        assert!(!helm.output().unwrap().status.success(), "{wrong}");
    }
}

#[test]
fn the_crate_is_packed_without_what_only_this_repository_needs() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["package", "--list", "--allow-dirty", "--offline"]).current_dir(ROOT);
    let Output { status, stdout, .. } = cargo.output().unwrap();
    assert!(status.success());
    let list = String::from_utf8(stdout).unwrap();
    let holds = |file: &str| list.lines().any(|line| line == file);
    for file in ["Cargo.toml", "LICENSE", "README.md", "src/main.rs", "deploy/crossfade.toml"] {
        assert!(holds(file), "{file} is missing in {list}");
    }
    for left_out in [".ci/run", ".cargo/config.toml", "deploy/page.png"] {
        assert!(!holds(left_out), "{left_out} is packed");
    }
}
