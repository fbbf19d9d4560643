//! What is written about the options holds for the binary: an option that nobody documented, or a
//! documented one that is gone, fails here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

const README: &str = include_str!("../README.md");
const EXAMPLE: &str = include_str!("../deploy/crossfade.toml");

/// The long options of `crossfade run`, as its help lists them.
fn options() -> BTreeSet<String> {
    let binary = env!("CARGO_BIN_EXE_crossfade");
    let output = Command::new(binary).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let names = lines.filter_map(|line| line.split([' ', '=']).next());
    names.filter(|name| !["config", "help", "version"].contains(name)).map(str::to_owned).collect()
}

/// The keys of the example, those that are commented out included.
fn keys() -> BTreeSet<String> {
    let lines = EXAMPLE.lines().map(|line| line.trim_start_matches("# "));
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    pairs.map(|(key, _)| key).filter(|key| !key.contains(' ')).map(str::to_owned).collect()
}

#[test]
fn the_example_configuration_names_every_option_and_no_other() {
    assert_eq!(keys(), options());
}

#[test]
fn the_readme_names_every_option() {
    // The options of TLS share a row, written once for both sides.
    let tls = |name: &str| name.contains("-tls-");
    let missing: Vec<String> = options()
        .into_iter()
        .filter(|name| !tls(name) && !README.contains(&format!("--{name}")))
        .collect();
    assert_eq!(missing, [""; 0], "options that the README does not have");
}
