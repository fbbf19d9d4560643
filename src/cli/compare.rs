//! `crossfade compare`.

use serde::Serialize;

use super::options::{self, Servers};
use crate::config::RunConfig;
use crate::failure::Failure;

/// Compares both servers key by key, both ways: missing, extra, type, value, expiry. Values are
/// compared by what they hold, not by how they are stored. Nothing is changed.
#[derive(clap::Args, Serialize)]
#[command(
    after_long_help = "Example:\n  crossfade compare --source redis://old:6379 --target redis://new:6379 --json\n\nExit status: 0 equal, 1 different"
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
    Err(Failure::no("compare is not there yet"))
}
