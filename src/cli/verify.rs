//! `crossfade verify`.

use std::thread;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::client::Admin;
use super::output::grouped;
use crate::failure::Failure;
use crate::status::{Status, Verify, VerifyState};

/// How often to look whether it is done.
const POLL: Duration = Duration::from_millis(200);

/// Compares every key of both servers while they run, copies what differs again, and waits for the
/// result. What was found is reported as it was before the repair.
#[derive(clap::Args)]
#[command(after_long_help = "Example:
  crossfade verify && crossfade cutover

Exit status: 0 clean (equal, or equal again after repair), 1 different or refused, 3 unreachable")]
pub(super) struct Args {
    #[command(flatten)]
    admin: Admin,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let admin = &args.admin;
    let before = look(admin)?.finished_at;
    admin.post("/v1/verify", &json!({}), Duration::ZERO)?;
    let result = follow(admin, before)?;
    let json = serde_json::to_value(&result).unwrap_or(Value::Null);
    admin.answer(&json, || format!("{}\n", super::status::verify(&result)));
    match result.state {
        VerifyState::Clean => Ok(()),
        state => Err(Failure::no(format!("verify ended {}", state.name()))),
    }
}

fn look(admin: &Admin) -> Result<Verify, Failure> {
    admin.get::<Status>("/v1/status").map(|status| status.verify)
}

/// Waits for the end, with a sign of life on a terminal.
fn follow(admin: &Admin, before: Option<f64>) -> Result<Verify, Failure> {
    let spinner = ProgressBar::new_spinner();
    let mut progress = Progress { before, seen_running: false };
    loop {
        let verify = look(admin)?;
        if progress.is_over(&verify) {
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
struct Progress {
    before: Option<f64>,
    seen_running: bool,
}

impl Progress {
    fn is_over(&mut self, verify: &Verify) -> bool {
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
        let mut progress = Progress { before: Some(1.0), seen_running: false };
        assert!(!progress.is_over(&shown(VerifyState::Clean, Some(1.0))));
        assert!(progress.is_over(&shown(VerifyState::Different, Some(2.0))));
    }

    #[test]
    fn a_run_that_was_broken_off_is_over() {
        let mut progress = Progress { before: Some(1.0), seen_running: false };
        assert!(!progress.is_over(&shown(VerifyState::Running, Some(1.0))));
        assert!(progress.is_over(&shown(VerifyState::Stale, Some(1.0))));
    }
}
