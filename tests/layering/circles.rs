//! No file imports one that imports it, nor do more of them in a ring.
//!
//! Looked at folder by folder: what stands directly in it, files and folders, and the folder's own
//! `mod.rs`. A name that a `mod.rs` only passes on is looked for where it comes from. An `impl` block
//! in another file than its type counts as an import of it by the type's file: whoever has a value of the
//! type calls what stands there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{code_lines, root, sources};

/// Folders that still have circles, how many files are in them, and why. Numbers only go down.
const KNOWN: &[(&str, usize, &str)] = &[
    ("admin", 4, "the verbs note what was done by a block of the server that calls them"),
    (
        "backfill",
        4,
        "a copier reads small, big and opaque values, which come to each other's hands",
    ),
    ("config", 3, "the options of servers and of a run are read by each other's rules"),
    ("engine", 19, "one struct behind one lock, with its rules a file each"),
    ("engine/effect", 3, "the rules make what the folder's root defines"),
    ("engine/effect/rules/streams", 2, "groups and their pending entries name each other"),
    ("engine/ledger", 2, "the marks are of the root's fingerprints"),
    ("lane", 4, "an upstream and what is noted of it hold each other"),
    ("lane/record", 2, "the record and its image on disk"),
    ("metrics", 3, "the readings are of the root's tally"),
    ("protocol/command", 4, "the table is made of the root's types"),
    ("protocol/payload", 2, "what is accepted is said of the root's payloads"),
    ("proxy", 19, "one client, with what it may ask for a file each"),
    ("proxy/client", 5, "one client's task, with what it waits for a file each"),
    ("proxy/session", 4, "one state machine, with its actions a file each"),
    (
        "server",
        7,
        "an endpoint is dialled where its sentinels say, which are servers themselves, and a \
         connection is tied to the node that it leads to",
    ),
    ("verify", 3, "one pass, with its walk and its settling a file each"),
];

/// A module by the names on the way to it.
type Module = Vec<String>;

/// Who imports whom, inside one folder.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_folder_has_circles_but_those_that_are_known() {
    let mut found = Vec::new();
    for (folder, graph) in Crate::read().graphs() {
        let circles = circles(&graph);
        let files: usize = circles.iter().map(BTreeSet::len).sum();
        let known = KNOWN.iter().find(|(name, ..)| *name == folder).map_or(0, |known| known.1);
        if files > known {
            found.push(format!("{folder}: {files} files, {known} are known: {circles:?}"));
        }
    }
    assert_eq!(found, [""; 0], "new circles");
}

#[test]
fn no_folder_is_called_round_that_is_not() {
    let graphs = Crate::read().graphs();
    for (folder, ..) in KNOWN {
        let round = graphs.get(*folder).is_some_and(|graph| !circles(graph).is_empty());
        assert!(round, "{folder} has no circle any more: strike it out");
    }
}

#[test]
fn a_ring_of_imports_and_a_block_in_another_file_are_circles() {
    let file = |path: &str, text: &str| {
        let path = path.split('/').map(str::to_owned).collect();
        File { path, text: text.to_owned() }
    };
    let code = Crate::new(vec![
        file("a", "pub use one::One;\nuse other::Other;\n"),
        file("a/one", "use super::Two;\n"),
        file("a/two", "use crate::a::{other::{Other, More}, One};\nstruct Two;\nimpl Two {\n"),
        file("a/other", "struct Other;\n"),
        file("a/more", "use super::other::Other;\nimpl<T> Other<T> {\n"),
        file("b", ""),
    ]);
    let graphs = code.graphs();
    let [(folder, graph)] = &graphs.into_iter().collect::<Vec<_>>()[..] else { panic!("one") };
    let circle = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let found: Vec<BTreeSet<String>> = circles(graph);
    assert_eq!((folder.as_str(), found.len()), ("a", 1));
    assert_eq!(found, [circle(&["more", "other"])]);
}

struct File {
    path: Module,
    text: String,
}

/// Every file, and what their `mod.rs` pass on.
struct Crate {
    files: Vec<File>,
    modules: BTreeSet<Module>,
    passed_on: BTreeMap<Module, Module>,
}

impl Crate {
    fn read() -> Self {
        Self::new(
            sources().filter(|file| !is_for_tests(file)).map(|file| File::read(&file)).collect(),
        )
    }

    fn new(files: Vec<File>) -> Self {
        let modules =
            files.iter().flat_map(|file| (1..=file.path.len()).map(|n| file.path[..n].to_vec()));
        let mut code = Self { modules: modules.collect(), files, passed_on: BTreeMap::new() };
        for file in &code.files {
            for path in file.uses() {
                if let Some(path) = code.absolute(file, &path)
                    && path.len() > file.path.len() + 1
                    && path.starts_with(&file.path)
                {
                    let name = [&file.path[..], &path[path.len() - 1..]].concat();
                    if !code.modules.contains(&name) {
                        code.passed_on.insert(name, path);
                    }
                }
            }
        }
        code
    }

    fn graphs(&self) -> BTreeMap<String, Graph> {
        let mut graphs = BTreeMap::new();
        for file in &self.files {
            let mut types = BTreeMap::new();
            for path in file.paths() {
                let Some(path) = self.absolute(file, &path) else { continue };
                let home = self.home(&path);
                types.extend(path.last().map(|name| (name.clone(), home.clone())));
                // What stands below is only passed on, where it is not used.
                let is_own = home.starts_with(&file.path) && !file.uses_itself(&path);
                if !is_own {
                    add(&mut graphs, &file.path, &home);
                }
            }
            for home in file.blocks().filter_map(|name| types.get(&name)) {
                add(&mut graphs, home, &file.path);
            }
        }
        graphs
    }

    /// The module in which a name is that somebody imports.
    fn home(&self, path: &[String]) -> Module {
        if let Some(further) = (1..=path.len()).find_map(|n| self.passed_on.get(&path[..n])) {
            return self.home(further);
        }
        let longest = (1..=path.len()).rev().find(|n| self.modules.contains(&path[..*n]));
        path[..longest.unwrap_or(0)].to_vec()
    }

    /// A path from the crate's root; `None` for one that leads elsewhere.
    fn absolute(&self, file: &File, path: &str) -> Option<Module> {
        let names: Vec<&str> = path.split("::").collect();
        let ups = names.iter().filter(|name| **name == "super").count();
        let below: Module = names.iter().map(|name| (*name).to_owned()).collect();
        match names[0] {
            "crate" => Some(below[1..].to_vec()),
            "self" => Some([&file.path, &below[1..]].concat()),
            "super" => Some([&file.path[..file.path.len() - ups], &below[ups..]].concat()),
            _ => Some([&file.path, &below[..]].concat())
                .filter(|whole| self.modules.contains(&whole[..=file.path.len()])),
        }
    }
}

impl File {
    fn read(file: &Path) -> Self {
        let inside = file.strip_prefix(root()).unwrap().with_extension("");
        let mut path: Module = inside
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        path.pop_if(|name| name == "mod");
        let text = std::fs::read_to_string(file).unwrap();
        let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code = code_lines(production).filter(|line| !line.contains("mod "));
        // How far something is seen is no import.
        let lines: Vec<String> = code.map(|line| line.replace("pub(in crate::", "pub(")).collect();
        Self { path, text: lines.join("\n") }
    }

    /// The `use` lines, each with its name.
    fn uses(&self) -> Vec<String> {
        let parts = self.text.split("use ").skip(1).filter_map(|rest| rest.split_once(';'));
        parts.flat_map(|(tree, _)| leaves(&tree.split_whitespace().collect::<String>())).collect()
    }

    /// Those, and what is named in the midst of the code.
    fn paths(&self) -> Vec<String> {
        let is_part = |char: char| char.is_alphanumeric() || char == '_' || char == ':';
        let words = self.text.split(|char| !is_part(char));
        let inline =
            words.filter(|word| word.starts_with("super::") || word.starts_with("crate::"));
        let inline = inline.map(|word| word.trim_end_matches(':').to_owned());
        self.uses().into_iter().chain(inline).collect()
    }

    /// Whether what is imported is used here, too.
    fn uses_itself(&self, path: &[String]) -> bool {
        let Some(name) = path.last() else { return false };
        let code = self.text.lines().filter(|line| !line.contains("use "));
        code.filter(|line| crate::has_word(line, name)).count() > 0
    }

    /// The types of the `impl` blocks that are not of a trait.
    fn blocks(&self) -> impl Iterator<Item = String> {
        let blocks =
            self.text.lines().filter(|line| line.starts_with("impl") && !line.contains(" for "));
        blocks.filter_map(|line| {
            let generic = line.strip_prefix("impl<").and_then(|line| line.split_once("> "));
            let rest =
                generic.map_or_else(|| line.strip_prefix("impl "), |(_, rest)| Some(rest))?;
            Some(rest.chars().take_while(|char| char.is_alphanumeric()).collect())
        })
    }
}

fn is_for_tests(file: &Path) -> bool {
    let names = ["tests", "fake", "simulation"];
    file.with_extension("")
        .components()
        .any(|part| names.iter().any(|name| part.as_os_str() == *name))
}

/// The single paths of `a::{b, c::{d, e}}`.
fn leaves(tree: &str) -> Vec<String> {
    let Some((before, inside)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for char in inside.chars() {
        depth += i32::from(char == '{') - i32::from(char == '}');
        match char {
            ',' if depth == 0 => parts.push(String::new()),
            char => parts.last_mut().unwrap().push(char),
        }
    }
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.flat_map(|part| leaves(&part)).map(|leaf| format!("{before}{leaf}")).collect()
}

/// Notes an import in the folder where the ways to both part.
fn add(graphs: &mut BTreeMap<String, Graph>, from: &[String], to: &[String]) {
    let shared = from.iter().zip(to).take_while(|(one, other)| one == other).count();
    let unit = |module: &[String]| module.get(shared).cloned().unwrap_or("mod".to_owned());
    if shared > 0 && unit(from) != unit(to) {
        let graph = graphs.entry(from[..shared].join("/")).or_default();
        graph.entry(unit(from)).or_default().insert(unit(to));
    }
}

/// Those that reach each other.
fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|unit| (unit, reach(graph, unit))).collect();
    let mut circles = Vec::new();
    for (unit, far) in &reached {
        let back = |other: &&&String| reached.get(**other).is_some_and(|far| far.contains(*unit));
        let circle: BTreeSet<String> =
            far.iter().filter(back).map(|unit| (**unit).clone()).collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reach<'a>(graph: &'a Graph, from: &String) -> BTreeSet<&'a String> {
    let mut far = BTreeSet::new();
    let mut next: Vec<&String> = graph.get(from).into_iter().flatten().collect();
    while let Some(unit) = next.pop() {
        if far.insert(unit) {
            next.extend(graph.get(unit).into_iter().flatten());
        }
    }
    far
}
