//! The options of the commands that speak to the two servers, as they were given.
//!
//! *What it is:* names and helps are the configuration's. A value stays text until the environment
//! and the file have said theirs.

use std::ffi::OsStr;
use std::marker::PhantomData;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{self, RunConfig, Servers};
use crate::failure::Failure;

/// What was given of the options that `O` declares.
pub(super) struct Given<O> {
    table: toml::Table,
    options: PhantomData<O>,
}

impl<O: Args> Given<O> {
    /// One that is hidden is not offered: the command line shows in the list of processes.
    fn options() -> impl Iterator<Item = Arg> {
        let command = O::augment_args(Command::new("options"));
        let options: Vec<Arg> = command.get_arguments().cloned().collect();
        options.into_iter().filter(|option| !option.is_hide_set())
    }
}

impl<O: Args> Args for Given<O> {
    fn augment_args(command: Command) -> Command {
        command.args(Self::options().map(unread))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<O: Args> FromArgMatches for Given<O> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Self::options().filter_map(|option| {
            let id = option.get_id().as_str();
            let is_given = matches.value_source(id) == Some(ValueSource::CommandLine);
            let texts: Vec<_> = matches.get_raw(id)?.map(OsStr::to_string_lossy).collect();
            is_given.then(|| Some((option.get_long()?.to_owned(), texts.join(",").into())))?
        });
        Ok(Self { table: given.collect(), options: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// An option that may be left out and takes any text, and looks in the help as it did.
fn unread(option: Arg) -> Arg {
    if !option.get_action().takes_values() {
        return option;
    }
    let values = option.get_possible_values();
    option.required(false).value_parser(Unread(values))
}

#[derive(Clone)]
struct Unread(Vec<PossibleValue>);

impl TypedValueParser for Unread {
    type Value = ();

    fn parse_ref(&self, _: &Command, _: Option<&Arg>, _: &OsStr) -> Result<(), clap::Error> {
        Ok(())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().cloned()))
    }
}

/// What a command that only looks at both servers takes.
#[derive(Args)]
pub(super) struct Question {
    #[command(flatten)]
    servers: Given<Servers>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl Question {
    pub(super) fn settings(&self) -> Result<RunConfig, Failure> {
        self.servers.settings()
    }
}

impl<O> Given<O> {
    /// The settings, with what the environment and the file say.
    pub(super) fn settings(&self) -> Result<RunConfig, Failure> {
        resolve(&self.table)
    }

    /// The same with more options.
    pub(super) fn settings_with<P>(&self, more: &Given<P>) -> Result<RunConfig, Failure> {
        let mut table = self.table.clone();
        table.extend(more.table.clone());
        resolve(&table)
    }
}

fn resolve(given: &toml::Table) -> Result<RunConfig, Failure> {
    config::read(given, config::process_variables()).map_err(|e| Failure::usage(e.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};

    fn table(line: &str) -> toml::Table {
        match Cli::try_parse_from(line.split(' ')).map(|cli| cli.command) {
            Ok(Command::Run(args)) => args.options.table,
            Ok(_) => panic!("{line} is not a run"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn only_what_was_given_goes_on() {
        let given = table("crossfade run --source redis://a --admin-hosts a,b --allow-admin");
        let expected = "source = 'redis://a'\nadmin-hosts = 'a,b'\nallow-admin = 'true'";
        assert_eq!(given, expected.parse().unwrap());
    }

    #[test]
    fn no_password_is_an_option_of_the_command_line() {
        let line = ["crossfade", "run", "--source-password", "hunter2"];
        let error = Cli::try_parse_from(line).err().unwrap();
        assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument);
    }
}
