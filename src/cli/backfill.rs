//! `crossfade pause` and `crossfade resume`.

use std::num::NonZeroU64;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Admin;
use crate::failure::Failure;

/// Stops copying existing keys. Writes go on being mirrored, and keys in doubt go on being copied
/// again.
#[derive(clap::Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    admin: Admin,
}

/// Goes on copying existing keys.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  crossfade resume --rate 2000   (from now on at most 2000 keys a second)
  crossfade resume --rate 0      (from now on without a limit)")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    admin: Admin,
    /// Keys copied a second at most from now on; 0 lifts the limit
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
}

pub(super) fn pause(args: &PauseArgs) -> Result<(), Failure> {
    steer(&args.admin, &json!({"paused": true}), "paused\n")
}

pub(super) fn resume(args: &ResumeArgs) -> Result<(), Failure> {
    let body = match args.rate.map(NonZeroU64::new) {
        None => json!({"paused": false}),
        Some(rate) => json!({"paused": false, "rate": rate}),
    };
    steer(&args.admin, &body, "resumed\n")
}

fn steer(admin: &Admin, body: &Value, done: &str) -> Result<(), Failure> {
    let answer = admin.post("/v1/backfill", body, Duration::ZERO)?;
    admin.answer(&answer, || done.to_owned());
    Ok(())
}
