//! `crossfade check`.

use serde::Serialize;

use super::options::{self, Servers};
use crate::config::RunConfig;
use crate::failure::Failure;

/// Reaches both servers with the given credentials and compares versions, modules, memory, databases
/// and the rights to the commands that a migration needs. One line a finding; nothing is changed.
#[derive(clap::Args, Serialize)]
#[command(
    after_long_help = "Example:\n  crossfade check --source redis://old:6379 --target redis://new:6379\n\nExit status: 0 ready, 1 a blocker"
)]
pub(super) struct Args {
    #[command(flatten)]
    #[serde(flatten)]
    servers: Servers,
    /// Print one JSON object
    #[arg(long)]
    #[serde(skip)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    start(options::resolve(args)?, args.json)
}

/// The engine's entry.
fn start(_config: RunConfig, _json: bool) -> Result<(), Failure> {
    Err(Failure::no("check is not there yet"))
}
