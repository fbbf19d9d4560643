//! `crossfade finalize`.

use std::time::Duration;

use serde_json::json;

use super::client::Admin;
use crate::failure::Failure;

/// Ends a migration that was cut over: writes are no longer mirrored to the source, and there is no
/// rollback any more. The proxy goes on serving from the target.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: Admin,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let answer = args.admin.post("/v1/finalize", &json!({}), Duration::ZERO)?;
    args.admin.answer(&answer, || "finalized: the source is let go\n".to_owned());
    Ok(())
}
