//! `crossfade copy`.

use serde::Serialize;

use super::options::{self, Servers};
use super::output::print_result;
use super::runtime::block_on_one_thread;
use crate::copy;
use crate::failure::Failure;
use crate::telemetry;

/// Copies every key, value and expiry once, and exits. Writes made meanwhile may be missed: that is
/// what `crossfade run` is for.
#[derive(clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(after_long_help = "Example:
  crossfade copy --source redis://old:6379/2 --target redis://new:6379 --rate 10000

Exit status: 0 all copied, 1 some key failed")]
pub(super) struct Args {
    #[command(flatten)]
    #[serde(flatten)]
    servers: Servers,
    /// What to do about keys on the target: require-empty, overwrite, flush [default: require-empty]
    #[arg(long, value_name = "POLICY")]
    target_policy: Option<String>,
    /// Keys copied a second at most [default: no limit]
    #[arg(long = "rate", value_name = "N")]
    backfill_rate: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    #[serde(skip)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = options::resolve(args)?;
    telemetry::init_quiet().map_err(|error| Failure::no(error.to_string()))?;
    let summary = block_on_one_thread(copy::run(config))?;
    print_result(args.json, &summary);
    if summary.failed == 0 { Ok(()) } else { Err(Failure::silent()) }
}
