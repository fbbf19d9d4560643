//! What was said of each option and where, put before clap as one line of arguments.
//!
//! *Guarantees:* the command line beats the environment, which beats the file; every option that is
//! wrong is told of, with the place that it came from; a value that may be secret is never repeated.
//!
//! *Must not know:* which options there are. A key of the file that clap does not know is one that
//! nobody knows.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write as _};

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Args, Command, FromArgMatches};

use ring::digest::SHA256;

use super::parse;
use super::run::RunConfig;

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
    format!("CROSSFADE_{}", option.to_ascii_uppercase().replace('-', "_"))
}

/// Everything that is wrong, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, line: String) {
        self.0.push(line);
    }

    /// `value`, when there are none.
    pub(super) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<String> for Faults {
    fn from(line: String) -> Self {
        Self(vec![line])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Error for Faults {}

/// What stands in the name of an option that is secret.
const SECRET: [&str; 3] = ["password", "token", "webhook"];

/// A URL without its user and password.
fn without_user(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => text.to_owned(),
    }
}

/// The value of each option that has one, as text.
#[derive(Debug, Default)]
pub(super) struct Settings(BTreeMap<String, (Origin, String)>);

impl Settings {
    /// Adds what one place says, where no place before said anything.
    pub(super) fn add(&mut self, origin: &Origin, table: &toml::Table) {
        for (key, value) in table {
            // In the file an option may be spelled with underscores.
            self.say(origin, &key.replace('_', "-"), text(value));
        }
    }

    /// As [`Self::add`] for the environment, in which others may have variables too. An empty one
    /// counts as none: that is how one is switched off in the files of container tools.
    pub(super) fn add_variables(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        for option in command().get_arguments().filter_map(Arg::get_long) {
            let value = variables.get(&variable(option)).filter(|value| !value.is_empty());
            if let Some(value) = value {
                self.say(&Origin::Environment, option, value.clone());
            }
        }
    }

    fn say(&mut self, origin: &Origin, option: &str, text: String) {
        self.0.entry(option.to_owned()).or_insert_with(|| (origin.clone(), text));
    }

    pub(super) fn text(&self, option: &str) -> Option<&str> {
        self.0.get(option).map(|(_, text)| text.as_str())
    }

    pub(super) fn origin(&self, option: &str) -> Option<&Origin> {
        self.0.get(option).map(|(origin, _)| origin)
    }

    /// Where `option` was given, as people would look for it; the command line when nowhere.
    pub(super) fn locate(&self, option: &str) -> String {
        self.origin(option).unwrap_or(&Origin::CommandLine).locate(option)
    }

    /// SHA-256 of everything that was said, in hexadecimal, but for what is secret.
    pub(super) fn digest(&self) -> String {
        let secret = |option: &str| SECRET.iter().any(|word| option.contains(word));
        let said = self.0.iter().filter(|(option, _)| !secret(option));
        let said = said.map(|(option, (_, text))| format!("{option}={}\n", without_user(text)));
        let digest = ring::digest::digest(&SHA256, said.collect::<String>().as_bytes());
        let mut text = String::new();
        for byte in digest.as_ref() {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Each option's own value. What several of them make together is not looked at.
    pub(super) fn parse(&self) -> Result<RunConfig, Faults> {
        let command = command();
        let mut faults = Faults::default();
        let mut words = Vec::new();
        for option in command.get_arguments() {
            let name = option.get_long().unwrap_or_default();
            match self.text(name) {
                Some(text) => match fault(option, text) {
                    Some(fault) => faults.add(format!("{}: {fault}", self.locate(name))),
                    None => words.push(word(option, text)),
                },
                None if option.is_required_set() => {
                    faults.add(format!("--{name} is required (or {})", variable(name)));
                }
                None => {}
            }
        }
        self.unknown(&command).for_each(|fault| faults.add(fault));
        let words = faults.or(words)?;
        let matches = command.try_get_matches_from(words);
        let config = matches.and_then(|matches| RunConfig::from_arg_matches(&matches));
        // Each word has been tried, so that nothing is left to be wrong, or to be repeated.
        config.map_err(|error| Faults::from(error.kind().to_string()))
    }

    fn unknown(&self, command: &Command) -> impl Iterator<Item = String> {
        let known: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
        let unknown = self.0.iter().filter(move |(option, _)| !known.contains(&option.as_str()));
        unknown.map(|(option, (origin, _))| {
            format!("{}: there is no such option", origin.locate(option))
        })
    }
}

/// A value as it would be written on a command line.
fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// All options, a switch being one that takes true or false.
fn command() -> Command {
    let command = RunConfig::augment_args(line());
    command.mut_args(|option| match option.get_action() {
        ArgAction::SetTrue => {
            option.action(ArgAction::Set).value_parser(parse::flag).default_value("false")
        }
        _ => option.ignore_case(true),
    })
}

/// A command line with nothing but options.
fn line() -> Command {
    Command::new("crossfade").no_binary_name(true).disable_help_flag(true)
}

fn word(option: &Arg, text: &str) -> String {
    format!("--{}={text}", option.get_long().unwrap_or_default())
}

/// What is wrong with `text`. Only one of a few known words is repeated by clap, and by us.
fn fault(option: &Arg, text: &str) -> Option<String> {
    let alone = line().arg(option.clone().required(false));
    let error = alone.try_get_matches_from([word(option, text)]).err()?;
    let values = option.get_possible_values();
    let words: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
    Some(match error.source() {
        Some(cause) => cause.to_string(),
        None if words.is_empty() => "a value is missing".to_owned(),
        None => parse::expected(&words.join(" or "), text),
    })
}
