//! `crossfade report`.

use std::path::PathBuf;

use super::client::Api;
use super::output;
use crate::admin::report::Report;
use crate::failure::Failure;

/// Tells what happened in a migration, for the change ticket: who did what when, what was counted,
/// what verify found, how long clients were held.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  crossfade report
  crossfade report --html > report.html
  crossfade report --state-dir /var/lib/crossfade    (when it does not run)")]
pub(super) struct Args {
    #[command(flatten)]
    admin: Api,
    /// Print a page that a browser shows and prints
    #[arg(long, conflicts_with = "json")]
    html: bool,
    /// Read what a process that has ended left in its state directory
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let report: Report = match &args.state_dir {
        None => args.admin.get("/v1/report")?,
        Some(directory) => Report::read(directory).map_err(|error| {
            Failure::no(format!("--state-dir {}: {error}", directory.display()))
        })?,
    };
    match (args.admin.json, args.html) {
        (true, _) => output::print_json(&report),
        (_, true) => output::print(&report.html()),
        _ => output::print(&report.text()),
    }
    Ok(())
}
