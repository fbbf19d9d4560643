//! The command line: a file each for `run`, `check`, `copy` and `compare`, and one for all that speak
//! to a running migration. Each turns arguments into one call; `watch` goes on asking.
//!
//! *Guarantees:* the exit statuses are those of the interface; answers go to stdout, reasons to
//! stderr, with what to do next; a reader that goes away early (`| head`) is no error.
//!
//! *Must not know:* how anything is done.

mod check;
mod client;
mod compare;
mod copy;
mod logging;
mod manual;
mod next;
mod observe;
mod options;
mod output;
mod paint;
mod progress;
mod remote;
mod report;
mod run;
mod runtime;
mod status;
#[cfg(test)]
mod tests;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Moves a live Redis or Valkey to another server, without stopping the applications.
#[derive(Parser)]
#[command(version, about, long_about = LONG_ABOUT, after_help = EXIT_STATUS, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "\
Moves a live Redis or Valkey to another server, without stopping the applications.

`crossfade run` stands between the applications and the source. It passes every command on, mirrors \
every write to the target, and copies the keys that were there before. When both servers are equal, \
`crossfade cutover` hands the applications over to the target, and `crossfade rollback` hands them \
back, with every write made since, until `crossfade finalize` lets the source go.

A migration from start to end:

  crossfade check --source redis://old:6379 --target redis://new:6379
  crossfade run   --source redis://old:6379 --target redis://new:6379 --state-dir /var/lib/crossfade
  (let the applications connect to 127.0.0.1:6380)
  crossfade watch
  crossfade verify
  crossfade cutover
  crossfade finalize";

const EXIT_STATUS: &str = "\
Exit status: 0 done, 1 refused or different, 2 wrong usage, 3 a server or the admin API can't be \
reached or refuses the credentials.";

#[derive(Subcommand)]
enum Command {
    /// Serve applications, mirror their writes, copy what exists
    ///
    /// Each option is also an environment variable, and a key of the file that --config names.
    Run(run::Args),
    /// Find out whether a migration could start, without changing anything
    ///
    /// Reaches both servers with the given credentials and compares versions, modules, memory,
    /// databases and the rights to the commands that a migration needs. One line a finding.
    Check(check::Args),
    /// Find out what a migration would meet, before anything stands in the path
    ///
    /// Beside what check finds: the commands, options, databases, users, scripts and functions in use
    /// that the target lacks, the line that makes each user there, big values, memory, how long the
    /// copy may take. Nothing is changed.
    Observe(observe::Args),
    /// Copy once, without a proxy: every key, value and expiry
    ///
    /// Writes made meanwhile may be missed: that is what `crossfade run` is for.
    Copy(copy::Args),
    /// Compare two servers key by key, both ways
    ///
    /// Missing, extra, type, value, expiry. Values are compared by what they hold, not by how they
    /// are stored. Nothing is changed.
    Compare(compare::Args),
    /// Tell what happened in a migration, for the change ticket
    Report(report::Args),
    /// Follow a running migration on the screen
    ///
    /// Phase, both servers, lag, rates, latencies, what is left to copy, and what stands in the way
    /// with what to do about it, drawn again at each change; `q` quits. Where stdout is no terminal
    /// it prints a line at each change that matters, and every ten seconds.
    Watch(watch::Args),
    #[command(flatten)]
    Remote(remote::Remote),
    /// Print what a shell needs to complete this command line
    Completions(manual::Completions),
    /// Print the manual, as `man` reads it
    Man(manual::Manual),
}

impl Command {
    fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Run(args) => run::run(args),
            Self::Check(args) => check::run(args),
            Self::Observe(args) => observe::run(args),
            Self::Copy(args) => copy::run(args),
            Self::Compare(args) => compare::run(args),
            Self::Report(args) => report::run(args),
            Self::Watch(args) => watch::run(args),
            Self::Remote(remote) => remote.run(),
            Self::Completions(args) => {
                manual::complete(args);
                Ok(())
            }
            Self::Man(args) => manual::manual(args),
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&next::told(&failure));
            failure.exit.into()
        }
    }
}
