//! The commands that speak to a running `crossfade run` over its admin API, each one call.

use std::io::stdout;
use std::num::NonZeroU64;
use std::thread;
use std::time::Duration;

use clap::Subcommand;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::client::Api;
use super::output::{self, grouped};
use super::paint::{self, Size};
use super::status;
use crate::config;
use crate::failure::Failure;
use crate::status::{Status, Verify, VerifyState};

/// How often to look whether a verify is done.
const POLL: Duration = Duration::from_millis(200);

#[derive(Subcommand)]
pub(super) enum Remote {
    /// Show how a running migration is doing
    ///
    /// And what stands in the way of a cut-over.
    #[command(after_long_help = "Examples:
  crossfade status
  crossfade status --json | jq .mirror.lag_seconds")]
    Status {
        #[command(flatten)]
        admin: Api,
    },
    /// Compare both servers of a running migration, and repair what differs
    ///
    /// Compares every key while they run, copies what differs again, and waits for the result. What
    /// was found is reported as it was before the repair.
    #[command(after_long_help = "Example:
  crossfade verify && crossfade cutover

Exit status: 0 clean (equal, or equal again after repair), 1 different or refused, 3 unreachable")]
    Verify {
        #[command(flatten)]
        admin: Api,
    },
    /// Hand the applications over to the target
    ///
    /// Their commands wait for a moment, while the last writes reach it; nobody sees an error. If
    /// that takes longer than --timeout-ms, everything goes on as before and nothing has changed.
    #[command(after_long_help = "Examples:
  crossfade verify && crossfade cutover
  crossfade cutover --timeout-ms 500   (rather not at all than with a longer pause)

Exit status: 0 handed over, 1 refused or not done in time (nothing has changed), 3 unreachable")]
    Cutover {
        #[command(flatten)]
        admin: Api,
        /// How long the applications may have to wait
        #[arg(long, value_name = "MS", default_value_t = 5000)]
        timeout_ms: u64,
        /// Hand over although it is not known to be safe
        ///
        /// Gives up the proof, not the order: the mirror is still drained. What is passed over is
        /// what `crossfade status` lists under blockers: keys may differ that no verify has compared
        /// since they were last in doubt, and without a --state-dir a crash after the hand-over
        /// can't be told from a first start. A target that can't be reached is never passed over.
        #[arg(long)]
        force: bool,
    },
    /// Hand the applications back to the source
    ///
    /// With every write made since the cut-over. If that takes longer than --timeout-ms, the target
    /// goes on serving and nothing has changed.
    #[command(after_long_help = "Example:
  crossfade rollback

Exit status: 0 handed back, 1 refused or not done in time (nothing has changed), 3 unreachable")]
    Rollback {
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
    },
    /// Copy everything again, also from a server that came back empty
    ///
    /// Copies every key from the server that serves, and removes from the other one what it does not
    /// hold. When the server that serves has come back (nearly) empty, the other one may hold the
    /// only copy: then this is refused without --accept-empty.
    #[command(after_long_help = "Example:
  crossfade resync --accept-empty

Exit status: 0 begun, 1 refused, 3 unreachable")]
    Resync {
        #[command(flatten)]
        admin: Api,
        /// Also when that empties the other server
        #[arg(long)]
        accept_empty: bool,
    },
    /// Let the source go, after a cut-over that is to stay
    ///
    /// Writes are no longer mirrored to the source, and there is no rollback any more. The proxy goes
    /// on serving from the target.
    Finalize {
        #[command(flatten)]
        admin: Api,
    },
    /// Ask the target a share of the applications' reads too, and compare
    ///
    /// Off the applications' path. What really differs is copied again and named by `crossfade status`,
    /// which also tells how long each server takes to answer.
    #[command(after_long_help = "Examples:
  crossfade shadow 5%
  crossfade shadow 0   (no more)")]
    Shadow {
        #[command(flatten)]
        admin: Api,
        /// How many of a hundred reads
        #[arg(value_name = "PERCENT", value_parser = config::percent)]
        percent: f64,
    },
    /// Stop copying for a while; writes go on being mirrored
    ///
    /// Keys in doubt go on being copied again.
    Pause {
        #[command(flatten)]
        admin: Api,
    },
    /// Go on copying
    #[command(after_long_help = "Examples:
  crossfade resume --rate 2000   (from now on at most 2000 keys a second)
  crossfade resume --rate 0      (from now on without a limit)")]
    Resume {
        #[command(flatten)]
        admin: Api,
        /// Keys copied a second at most from now on; 0 lifts the limit
        #[arg(long, value_name = "N")]
        rate: Option<u64>,
    },
}

impl Remote {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Status { admin } => show(admin),
            Self::Verify { admin } => verify(admin),
            Self::Cutover { admin, timeout_ms, force } => {
                flip(admin, "/v1/cutover", *timeout_ms, *force)
            }
            Self::Rollback { admin, timeout_ms, force } => {
                flip(admin, "/v1/rollback", *timeout_ms, *force)
            }
            Self::Resync { admin, accept_empty } => {
                let body = json!({"accept_empty": accept_empty});
                change(admin, "/v1/resync", &body, "every key is copied again")
            }
            Self::Finalize { admin } => {
                change(admin, "/v1/finalize", &json!({}), "finalized: the source is let go")
            }
            Self::Shadow { admin, percent } => {
                let done = format!("the target is asked {percent} % of the reads too");
                change(admin, "/v1/shadow", &json!({"percent": percent}), &done)
            }
            Self::Pause { admin } => {
                change(admin, "/v1/backfill", &json!({"paused": true}), "paused")
            }
            Self::Resume { admin, rate } => {
                let body = match rate.map(NonZeroU64::new) {
                    None => json!({"paused": false}),
                    Some(rate) => json!({"paused": false, "rate": rate}),
                };
                change(admin, "/v1/backfill", &body, "resumed")
            }
        }
    }
}

fn show(admin: &Api) -> Result<(), Failure> {
    // As it came: a field that this version does not know is passed on too.
    let answer: Value = admin.get("/v1/status")?;
    if admin.json {
        output::print_json(&answer);
        return Ok(());
    }
    let status: Status = serde_json::from_value(answer).unwrap_or_default();
    let Size { columns, rows } = paint::size(stdout());
    // The last row is for the shell.
    output::print_lines(&status::lines(&status, Size { columns, rows: rows - 1 }));
    Ok(())
}

fn change(admin: &Api, path: &str, body: &Value, done: &str) -> Result<(), Failure> {
    let answer = admin.post(path, body, Duration::ZERO)?;
    admin.answer(&answer, || format!("{done}\n"));
    Ok(())
}

fn flip(admin: &Api, path: &str, timeout_ms: u64, force: bool) -> Result<(), Failure> {
    let body = json!({"timeout_ms": timeout_ms, "force": force});
    let answer = admin.post(path, &body, Duration::from_millis(timeout_ms))?;
    admin.answer(&answer, || {
        let phase = answer.get("phase").and_then(Value::as_str).unwrap_or("done");
        let hold = answer.get("hold_ms").and_then(Value::as_u64).unwrap_or(0);
        let primary = if path == "/v1/cutover" { "target" } else { "source" };
        format!("{phase}: the {primary} serves now; commands waited for {hold} ms\n")
    });
    Ok(())
}

fn verify(admin: &Api) -> Result<(), Failure> {
    let before = look(admin)?.finished_at;
    admin.post("/v1/verify", &json!({}), Duration::ZERO)?;
    let result = follow(admin, before)?;
    let json = serde_json::to_value(&result).unwrap_or(Value::Null);
    admin.answer(&json, || format!("{}\n", status::verify(&result)));
    match result.state {
        VerifyState::Clean => Ok(()),
        state => Err(Failure::no(format!("verify ended {}", state.name()))),
    }
}

fn look(admin: &Api) -> Result<Verify, Failure> {
    admin.get::<Status>("/v1/status").map(|status| status.verify)
}

/// Waits for the end, with a sign of life on a terminal.
fn follow(admin: &Api, before: Option<f64>) -> Result<Verify, Failure> {
    let spinner = ProgressBar::new_spinner();
    let mut end = End { before, seen_running: false };
    loop {
        let verify = look(admin)?;
        if end.has_come(&verify) {
            spinner.finish_and_clear();
            return Ok(verify);
        }
        spinner.set_message(format!("{} keys compared", grouped(verify.checked)));
        spinner.tick();
        thread::sleep(POLL);
    }
}

/// Tells the end of this run from the result of the one before, which a status that lags behind may
/// still show at first.
struct End {
    before: Option<f64>,
    seen_running: bool,
}

impl End {
    fn has_come(&mut self, verify: &Verify) -> bool {
        let running = verify.state == VerifyState::Running;
        self.seen_running |= running;
        !running && (self.seen_running || verify.finished_at != self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(state: VerifyState, finished_at: Option<f64>) -> Verify {
        Verify { state, finished_at, ..Verify::default() }
    }

    #[test]
    fn the_result_of_an_earlier_run_is_not_taken_for_this_one() {
        let mut end = End { before: Some(1.0), seen_running: false };
        assert!(!end.has_come(&shown(VerifyState::Clean, Some(1.0))));
        assert!(end.has_come(&shown(VerifyState::Different, Some(2.0))));
    }

    #[test]
    fn a_run_that_was_broken_off_is_over() {
        let mut end = End { before: Some(1.0), seen_running: false };
        assert!(!end.has_come(&shown(VerifyState::Running, Some(1.0))));
        assert!(end.has_come(&shown(VerifyState::Stale, Some(1.0))));
    }
}
