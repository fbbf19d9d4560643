//! `crossfade cutover`.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Admin;
use crate::failure::Failure;

/// Hands the applications over to the target. Their commands wait for a moment, while the last
/// writes reach it; nobody sees an error. If that takes longer than --timeout-ms, everything goes on
/// as before and nothing has changed.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  crossfade verify && crossfade cutover
  crossfade cutover --timeout-ms 500   (rather not at all than with a longer pause)

Exit status: 0 handed over, 1 refused or not done in time (nothing has changed), 3 unreachable")]
pub(super) struct Args {
    #[command(flatten)]
    admin: Admin,
    /// How long the applications may have to wait
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    timeout_ms: u64,
    /// Hand over although it is not known to be safe
    ///
    /// Gives up the proof, not the order: the mirror is still drained. What is passed over is what
    /// `crossfade status` lists under blockers: keys may differ that no verify has compared since
    /// they were last in doubt, and without a --state-dir a crash after the hand-over can't be told
    /// from a first start. A target that can't be reached is never passed over.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let body = json!({"timeout_ms": args.timeout_ms, "force": args.force});
    let answer = args.admin.post("/v1/cutover", &body, Duration::from_millis(args.timeout_ms))?;
    args.admin.answer(&answer, || flipped(&answer, "target"));
    Ok(())
}

/// What happened, in one line.
pub(super) fn flipped(answer: &Value, primary: &str) -> String {
    let phase = answer.get("phase").and_then(Value::as_str).unwrap_or("done");
    let hold = answer.get("hold_ms").and_then(Value::as_u64).unwrap_or(0);
    format!("{phase}: the {primary} serves now; commands waited for {hold} ms\n")
}
