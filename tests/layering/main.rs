//! Imports point down only, and the core does no I/O.
//!
//! [`MODULES`] says who imports whom. The tests read `src` and fail on an edge that is missing in the
//! table, and on one that the code has no longer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use Layer::{Assembly, Core, Io, Lane, Role};

/// From the top down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// Puts things together, and speaks to operators.
    Assembly,
    /// What is done for clients and keys: siblings that never import each other.
    Role,
    /// Upstream connections in the order that the engine wants.
    Lane,
    /// Sockets, servers, and numbers on their way out.
    Io,
    /// Events in, decisions out.
    Core,
}

/// Every module of the crate, its layer, and what it imports: only what stands below it here. A module
/// in a folder is listed by itself where it stands lower than the folder, or is imported by others.
const MODULES: &[(&str, Layer, &str)] = &[
    (
        "cli",
        Assembly,
        "admin admin::report check compare config control copy failure metrics::history net status",
    ),
    (
        "copy",
        Assembly,
        "backfill config engine::ledger failure pipeline protocol::payload server server::throttle status",
    ),
    (
        "compare",
        Assembly,
        "failure protocol::databases server server::throttle status value value::diff",
    ),
    (
        "control",
        Assembly,
        "admin admin::audit admin::report backfill check check::rehearsal config engine engine::ledger failure lane lane::record metrics metrics::history metrics::latency net pipeline protocol::command protocol::databases protocol::payload protocol::reserved_keys protocol::resp proxy server server::throttle status value::diff verify",
    ),
    (
        "pipeline",
        Assembly,
        "backfill config engine engine::ledger failure lane mirror protocol::databases protocol::payload protocol::reserved_keys protocol::resp proxy server server::throttle status value verify",
    ),
    (
        "admin",
        Assembly,
        "admin::audit admin::report check metrics metrics::history net server status",
    ),
    (
        "check",
        Assembly,
        "admin::report check::rehearsal config engine failure protocol::capability protocol::command protocol::databases protocol::payload protocol::reserved_keys protocol::resp server status value",
    ),
    ("admin::report", Assembly, "admin::audit status"),
    ("config", Assembly, "net protocol::databases server status"),
    ("failure", Assembly, "server value"),
    (
        "proxy",
        Role,
        "check::rehearsal engine lane metrics net protocol::command protocol::databases protocol::resp server",
    ),
    ("mirror", Role, "engine engine::effect lane metrics::latency protocol::resp server"),
    (
        "backfill",
        Role,
        "engine engine::effect lane protocol::capability protocol::databases protocol::payload protocol::reserved_keys protocol::resp server server::throttle value",
    ),
    (
        "verify",
        Role,
        "engine lane metrics::latency protocol::capability protocol::databases protocol::resp server server::throttle value value::diff",
    ),
    (
        "lane",
        Lane,
        "engine engine::ledger lane::record metrics::latency net protocol::command protocol::resp server",
    ),
    ("admin::audit", Io, ""),
    ("metrics::latency", Io, ""),
    ("lane::record", Io, "engine::ledger"),
    (
        "value",
        Io,
        "engine::effect protocol::capability protocol::payload protocol::reserved_keys protocol::resp server server::throttle value::diff",
    ),
    ("server::throttle", Io, "server"),
    ("server", Io, "net protocol::capability protocol::resp"),
    ("net", Io, ""),
    ("metrics", Io, "engine status"),
    (
        "check::rehearsal",
        Core,
        "engine protocol::capability protocol::command protocol::resp status",
    ),
    (
        "engine",
        Core,
        "engine::effect engine::ledger protocol::capability protocol::command protocol::databases protocol::resp",
    ),
    ("engine::effect", Core, "protocol::capability protocol::command protocol::resp"),
    ("protocol::command", Core, "protocol::capability protocol::resp"),
    ("protocol::payload", Core, "protocol::capability"),
    ("engine::ledger", Core, ""),
    ("protocol::resp", Core, ""),
    ("value::diff", Core, ""),
    ("metrics::history", Core, "status"),
    ("status", Core, ""),
    ("protocol::databases", Core, ""),
    ("protocol::capability", Core, ""),
    ("protocol::reserved_keys", Core, ""),
    ("protocol", Core, ""),
];

/// Folders further up that are as pure as the core, and whose modules they may name.
const PURE: &[(&str, &str)] = &[
    ("proxy/session", "lane protocol::command protocol::databases protocol::resp"),
    ("control/phase", "status"),
];

/// What the core has no use for: tasks, threads, clocks, sockets, files, logs, randomness, and what
/// lives as long as the process.
const IMPURE: [&str; 17] = [
    "tokio",
    "tracing",
    "std::thread",
    "Instant",
    "SystemTime",
    "std::net",
    "std::fs",
    "std::io",
    "RandomState",
    "rand",
    "fastrand",
    "LazyLock",
    "LazyCell",
    "OnceLock",
    "OnceCell",
    "static mut",
    "thread_local",
];

/// Where one of them is harmless: constants that take a computation, and what only tests see.
const HARMLESS: [(&str, &str); 3] = [
    ("protocol/command/table.rs", "LazyLock"),
    ("engine/simulation.rs", "LazyLock"),
    ("engine/ledger/marks.rs", "std::thread"),
];

type Edges = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_table_has_every_module_and_exactly_the_imports_of_the_code() {
    let (mut missing, mut stale) = (Vec::new(), Vec::new());
    let (code, table) = (edges_of_the_code(), edges_of_the_table());
    for (module, imports) in &code {
        let allowed = table.get(module).unwrap_or_else(|| panic!("{module} is not in the table"));
        missing.extend(imports.difference(allowed).map(|other| format!("{module} -> {other}")));
        stale.extend(allowed.difference(imports).map(|other| format!("{module} -> {other}")));
    }
    assert_eq!(missing, [""; 0], "imports that the table does not allow");
    assert_eq!(stale, [""; 0], "imports in the table that the code does not have");
    let gone: Vec<&String> = table.keys().filter(|module| !code.contains_key(*module)).collect();
    assert_eq!(gone, [""; 0], "modules in the table that the code does not have");
}

#[test]
fn imports_point_down() {
    let place = |name: &str| MODULES.iter().position(|(module, ..)| *module == name);
    for (module, _, imports) in MODULES {
        for other in imports.split_whitespace() {
            assert!(place(other) > place(module), "{module} -> {other} points up");
        }
    }
}

#[test]
fn no_role_imports_its_sibling() {
    let layer = |name: &str| MODULES.iter().find(|(module, ..)| *module == name).unwrap().1;
    for (module, _, imports) in MODULES.iter().filter(|(_, layer, _)| *layer == Role) {
        for other in imports.split_whitespace() {
            assert_ne!(layer(other), Role, "{module} -> {other}");
        }
    }
}

#[test]
fn the_core_does_no_io_and_has_no_clock() {
    let core =
        |module: &str| MODULES.iter().any(|(name, layer, _)| *name == module && *layer == Core);
    for file in sources().filter(|file| core(&module_of(file))) {
        for line in code_lines(&fs::read_to_string(&file).unwrap()) {
            assert_eq!(impure(&file, line), None, "{}: {line}", file.display());
        }
    }
}

#[test]
fn a_pure_folder_knows_nothing_beside_it_and_has_no_clock() {
    for (folder, imports) in PURE {
        let files = sources().filter(|file| file.starts_with(root().join(folder)));
        let mut edges = BTreeSet::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for line in code_lines(&text) {
                assert_eq!(impure(&file, line), None, "{}: {line}", file.display());
                assert!(!line.contains("super::super"), "{}: {line}", file.display());
                edges
                    .extend(imports_of(line).filter(|module| !folder.starts_with(module.as_str())));
            }
        }
        let allowed = imports.split_whitespace().map(str::to_owned).collect();
        assert_eq!(edges, allowed, "{folder}");
    }
}

fn edges_of_the_table() -> Edges {
    let owned = |imports: &str| imports.split_whitespace().map(str::to_owned).collect();
    MODULES.iter().map(|(module, _, imports)| ((*module).to_owned(), owned(imports))).collect()
}

fn edges_of_the_code() -> Edges {
    let mut edges = Edges::new();
    for file in sources() {
        let module = module_of(&file);
        let text = fs::read_to_string(&file).unwrap();
        let imports = edges.entry(module.clone()).or_default();
        imports.extend(code_lines(&text).flat_map(imports_of).filter(|other| *other != module));
    }
    edges
}

/// The modules that a line of code names by `crate::`.
fn imports_of(line: &str) -> impl Iterator<Item = String> {
    assert!(!line.contains("crate::{"), "one module a line, so that it can be read: {line}");
    line.split("crate::").skip(1).map(|path| {
        let is_name = |char: &char| char.is_ascii_lowercase() || *char == '_';
        let names = path.split("::").map(|part| part.chars().take_while(is_name).collect());
        named(&names.take(2).collect::<Vec<String>>())
    })
}

/// What the table calls a module: its own name with its folder's, or its folder's.
fn named(path: &[String]) -> String {
    let whole = path.join("::");
    let is_known = MODULES.iter().any(|(module, ..)| *module == whole);
    if is_known { whole } else { path[0].clone() }
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The word that a line of the core should not have.
fn impure(file: &Path, line: &str) -> Option<&'static str> {
    let is_harmless =
        |word: &str| HARMLESS.iter().any(|(at, harmless)| file.ends_with(at) && word == *harmless);
    IMPURE.into_iter().find(|word| has_word(line, word) && !is_harmless(word))
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_a_name = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(part_of_a_name)
            && !line[at + word.len()..].starts_with(part_of_a_name)
    })
}

/// The module of the table that a file belongs to.
fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(root()).unwrap().with_extension("");
    let names = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    named(&names.take(2).collect::<Vec<String>>())
}

/// Every file of the crate but its two roots.
fn sources() -> impl Iterator<Item = PathBuf> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files.into_iter().filter(|file| !["lib", "main"].contains(&module_of(file).as_str()))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
