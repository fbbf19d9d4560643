//! Options from several places, read one by one, with every fault kept for the end.
//!
//! *Guarantees:* the command line beats the environment, which beats the file; a fault names the
//! option and the place it came from; a value that may be secret is never repeated.
//!
//! *Must not know:* which options there are. A key of the file that nobody has asked for by the end
//! is one that nobody knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What comes before the name of an option in the environment.
const PREFIX: &str = "CROSSFADE_";

/// Where a value came from. The lesser one wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    CommandLine,
    Environment,
    /// The file's name.
    File(String),
}

impl Origin {
    /// How the option is written there.
    fn locate(&self, option: &str) -> String {
        match self {
            Self::CommandLine => format!("--{option}"),
            Self::Environment => variable(option),
            Self::File(name) => format!("{name}: {option}"),
        }
    }
}

/// The variable that holds an option.
fn variable(option: &str) -> String {
    format!("{PREFIX}{}", option.to_ascii_uppercase().replace('-', "_"))
}

/// The values of one place, by the option's name.
#[derive(Clone)]
pub(super) struct Layer {
    origin: Origin,
    values: BTreeMap<String, String>,
}

impl Layer {
    /// What the command line says.
    pub(super) fn command_line(table: &toml::Table) -> Self {
        Self { origin: Origin::CommandLine, values: flatten(table) }
    }

    /// What the environment says. An empty variable counts as none: that is how one is switched off
    /// in the files of container tools.
    pub(super) fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = variables.into_iter().filter(|(_, value)| !value.is_empty());
        let values = values.filter_map(|(name, value)| {
            let option = name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace('_', "-");
            Some((option, value))
        });
        Self { origin: Origin::Environment, values: values.collect() }
    }

    /// What the file says.
    pub(super) fn file(name: &str, table: &toml::Table) -> Self {
        Self { origin: Origin::File(name.to_owned()), values: flatten(table) }
    }
}

/// Values as they would be written on a command line; an option may be spelled with underscores.
fn flatten(table: &toml::Table) -> BTreeMap<String, String> {
    table.iter().map(|(key, value)| (key.replace('_', "-"), text(value))).collect()
}

fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Everything that is wrong, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl Faults {
    /// One fault alone.
    pub(super) fn one(line: String) -> Self {
        Self(vec![line])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}

/// A value and where it came from.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// Reads options and collects what is wrong.
pub(super) struct Reader {
    layers: Vec<Layer>,
    asked: BTreeSet<&'static str>,
    faults: Faults,
}

impl Reader {
    /// Reads from `layers`, the first of which that has a value wins.
    pub(super) fn new(layers: Vec<Layer>) -> Self {
        Self { layers, asked: BTreeSet::new(), faults: Faults::default() }
    }

    /// An option that may be left out, with its origin.
    pub(super) fn find<T, E: fmt::Display>(
        &mut self,
        option: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Found<T>> {
        self.asked.insert(option);
        let (origin, text) = self.lookup(option)?;
        match parse(&text) {
            Ok(value) => Some(Found { value, origin }),
            Err(error) => {
                self.fault(format!("{}: {error}", origin.locate(option)));
                None
            }
        }
    }

    /// An option that may be left out.
    pub(super) fn optional<T, E: fmt::Display>(
        &mut self,
        option: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.find(option, parse).map(|found| found.value)
    }

    /// An option with a default.
    pub(super) fn or<T, E: fmt::Display>(
        &mut self,
        option: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        self.optional(option, parse).unwrap_or(default)
    }

    /// An option that must be given; its absence is a fault.
    pub(super) fn required<T, E: fmt::Display>(
        &mut self,
        option: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Found<T>> {
        if self.lookup(option).is_none() {
            self.fault(format!("--{option} is required (or {})", variable(option)));
        }
        self.find(option, parse)
    }

    /// Where `option` was given, as people would look for it; the command line when nowhere.
    pub(super) fn locate(&self, option: &str) -> String {
        let origin = self.lookup(option).map_or(Origin::CommandLine, |(origin, _)| origin);
        origin.locate(option)
    }

    /// Notes something that is wrong.
    pub(super) fn fault(&mut self, line: String) {
        self.faults.0.push(line);
    }

    /// Ends the reading: `value`, unless something was wrong.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, Faults> {
        let unknown: Vec<String> = self.unknown().collect();
        self.faults.0.extend(unknown);
        match value {
            Some(value) if self.faults.0.is_empty() => Ok(value),
            _ => Err(self.faults),
        }
    }

    /// The keys of the file that nobody has asked for. The environment is not looked at: others
    /// may have variables there.
    fn unknown(&self) -> impl Iterator<Item = String> {
        let files = self.layers.iter().filter(|layer| matches!(layer.origin, Origin::File(_)));
        files.flat_map(|layer| {
            let unknown = layer.values.keys().filter(|key| !self.asked.contains(key.as_str()));
            unknown.map(|key| format!("{}: there is no such option", layer.origin.locate(key)))
        })
    }

    fn lookup(&self, option: &str) -> Option<(Origin, String)> {
        self.layers
            .iter()
            .find_map(|layer| Some((layer.origin.clone(), layer.values.get(option)?.clone())))
    }
}
