//! What is written for people holds for the binary: an option that nobody documented, one that is
//! documented and gone, or a command whose row is out of date fails here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crossfade::config;
use crossfade::protocol::command;

const README: &str = include_str!("../README.md");
const COMMANDS: &str = include_str!("../deploy/COMMANDS.md");
const COMMANDS_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/COMMANDS.md");
const EXAMPLE: &str = include_str!("../deploy/crossfade.toml");

const TABLE_BEGIN: &str = "<!-- commands:begin -->\n";
const TABLE_END: &str = "<!-- commands:end -->";

/// The page of commands up to their table, the table, and the rest.
fn around_the_table() -> (&'static str, &'static str, &'static str) {
    let (before, rest) = COMMANDS.split_once(TABLE_BEGIN).unwrap();
    let (table, after) = rest.split_once(TABLE_END).unwrap();
    (before, table, after)
}

/// The long options of `crossfade run`, as its help lists them.
fn options() -> BTreeSet<String> {
    let binary = env!("CARGO_BIN_EXE_crossfade");
    let output = Command::new(binary).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let names = lines.filter_map(|line| line.split([' ', '=']).next());
    names.filter(|name| !["config", "help", "version"].contains(name)).map(str::to_owned).collect()
}

/// The lines of the example that set something, those that are commented out included.
fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = EXAMPLE.lines().map(|line| line.trim_start_matches("# "));
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    pairs.filter(|(key, _)| !key.contains(' '))
}

#[test]
fn the_example_configuration_names_every_option_and_no_other() {
    let keys: BTreeSet<String> = settings().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(keys, options());
}

#[test]
fn the_example_configuration_can_be_read_with_every_line_of_it_in_force() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // The files of TLS are read at once, and are not here.
    let here = settings().filter(|(key, _)| !key.contains("-tls-"));
    let lines: Vec<String> = here.map(|(key, value)| format!("{key} = {value}")).collect();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    let option = format!("config = {:?}", file.path());
    config::read(&option.parse().unwrap(), []).unwrap();
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

#[test]
fn the_page_of_commands_has_the_table_as_the_code_has_it() {
    let (_, table, _) = around_the_table();
    assert!(
        table == command::markdown(),
        "out of date: cargo test --test documents -- --ignored writes it anew"
    );
}

#[test]
#[ignore = "writes the page"]
fn the_table_of_commands_can_be_written_anew() {
    let (before, _, after) = around_the_table();
    let table = command::markdown();
    std::fs::write(COMMANDS_PATH, format!("{before}{TABLE_BEGIN}{table}{TABLE_END}{after}"))
        .unwrap();
}

/// Every page that people read, and where it stands.
const PAGES: [&str; 11] = [
    "README.md",
    "benches/README.md",
    "deploy/API.md",
    "deploy/CHANGELOG.md",
    "deploy/CLIENTS.md",
    "deploy/COMMANDS.md",
    "deploy/DEVELOPING.md",
    "deploy/LIMITS.md",
    "deploy/METRICS.md",
    "deploy/RUNBOOK.md",
    "deploy/SECURITY.md",
];

#[test]
fn every_link_of_a_page_leads_to_a_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in PAGES.map(|page| root.join(page)) {
        let text = std::fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.contains("://")) {
            let file = link.split('#').next().unwrap_or_default();
            let target = page.parent().unwrap().join(file);
            assert!(file.is_empty() || target.exists(), "{}: {link}", page.display());
        }
    }
}
