//! The command line: one file a command, each turning arguments into one call.
//!
//! *Guarantees:* the exit statuses are those of the interface; answers go to stdout, reasons to
//! stderr; a reader that goes away early (`| head`) is no error.
//!
//! *Must not know:* how anything is done.

mod backfill;
mod check;
mod client;
mod compare;
mod copy;
mod cutover;
mod finalize;
mod options;
mod output;
mod report;
mod resync;
mod rollback;
mod run;
mod runtime;
mod status;
#[cfg(test)]
mod tests;
mod verify;

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
  crossfade status
  crossfade verify
  crossfade cutover
  crossfade finalize";

const EXIT_STATUS: &str = "\
Exit status: 0 done, 1 refused or different, 2 wrong usage, 3 a server or the admin API can't be \
reached or refuses the credentials.";

#[derive(Subcommand)]
enum Command {
    /// Serve applications, mirror their writes, copy what exists.
    Run(run::Args),
    /// Find out whether a migration could start, without changing anything.
    Check(check::Args),
    /// Copy once, without a proxy: every key, value and expiry.
    Copy(copy::Args),
    /// Compare two servers key by key, both ways.
    Compare(compare::Args),
    /// Show how a running migration is doing.
    Status(status::Args),
    /// Compare both servers of a running migration, and repair what differs.
    Verify(verify::Args),
    /// Hand the applications over to the target.
    Cutover(cutover::Args),
    /// Hand the applications back to the source.
    Rollback(rollback::Args),
    /// Copy everything again, also from a server that came back empty.
    Resync(resync::Args),
    /// Let the source go, after a cut-over that is to stay.
    Finalize(finalize::Args),
    /// Tell what happened in a migration, for the change ticket.
    Report(report::Args),
    /// Stop copying for a while; writes go on being mirrored.
    Pause(backfill::PauseArgs),
    /// Go on copying.
    Resume(backfill::ResumeArgs),
}

impl Command {
    fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Run(args) => run::run(args),
            Self::Check(args) => check::run(args),
            Self::Copy(args) => copy::run(args),
            Self::Compare(args) => compare::run(args),
            Self::Status(args) => status::run(args),
            Self::Verify(args) => verify::run(args),
            Self::Cutover(args) => cutover::run(args),
            Self::Rollback(args) => rollback::run(args),
            Self::Resync(args) => resync::run(args),
            Self::Finalize(args) => finalize::run(args),
            Self::Report(args) => report::run(args),
            Self::Pause(args) => backfill::pause(args),
            Self::Resume(args) => backfill::resume(args),
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.message);
            failure.exit.into()
        }
    }
}
