//! `crossfade rollback`.

use std::time::Duration;

use serde_json::json;

use super::client::Api;
use super::cutover::flipped;
use crate::failure::Failure;

/// Hands the applications back to the source, with every write made since the cut-over. If that takes
/// longer than --timeout-ms, the target goes on serving and nothing has changed.
#[derive(clap::Args)]
#[command(after_long_help = "Example:
  crossfade rollback

Exit status: 0 handed back, 1 refused or not done in time (nothing has changed), 3 unreachable")]
pub(super) struct Args {
    #[command(flatten)]
    admin: Api,
    /// How long the applications may have to wait
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    timeout_ms: u64,
    /// Hand back although the target has lost its keys
    ///
    /// For a target that came back (nearly) empty: the source holds the only copy, and what the
    /// target has got since it came back is given up.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let wait = Duration::from_millis(args.timeout_ms);
    let body = json!({"timeout_ms": args.timeout_ms, "force": args.force});
    let answer = args.admin.post("/v1/rollback", &body, wait)?;
    args.admin.answer(&answer, || flipped(&answer, "source"));
    Ok(())
}
