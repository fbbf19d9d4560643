//! `crossfade resync`.

use std::time::Duration;

use serde_json::json;

use super::client::Api;
use crate::failure::Failure;

/// Copies every key again from the server that serves, and removes from the other one what it does
/// not hold. When the server that serves has come back (nearly) empty, the other one may hold the only
/// copy: then this is refused without --accept-empty.
#[derive(clap::Args)]
#[command(after_long_help = "Example:
  crossfade resync --accept-empty

Exit status: 0 begun, 1 refused, 3 unreachable")]
pub(super) struct Args {
    #[command(flatten)]
    admin: Api,
    /// Also when that empties the other server
    #[arg(long)]
    accept_empty: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let body = json!({"accept_empty": args.accept_empty});
    let answer = args.admin.post("/v1/resync", &body, Duration::ZERO)?;
    args.admin.answer(&answer, || "every key is copied again\n".to_owned());
    Ok(())
}
