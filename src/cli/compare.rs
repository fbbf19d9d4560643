//! `crossfade compare`.

use std::fmt;

use serde::Serialize;

use super::options;
use super::output::print_verdict;
use super::runtime::block_on_one_thread;
use crate::compare::{self, Report};
use crate::config::Servers;
use crate::failure::Failure;

/// Differences that are named; the rest is counted.
const SHOWN: usize = 100;

/// Compares both servers key by key, both ways: missing, extra, type, value, expiry. Values are
/// compared by what they hold, not by how they are stored. Nothing is changed.
#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  crossfade compare --source redis://old:6379 --target redis://new:6379 --json\n\nExit status: 0 equal, 1 different"
)]
pub(super) struct Args {
    #[command(flatten)]
    question: options::Question,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.question.settings()?;
    let Servers { source, target, databases, .. } = config.servers;
    let expiry_tolerance = config.expiry_tolerance;
    let options = compare::Options { source, target, databases, expiry_tolerance, show: SHOWN };
    let report = block_on_one_thread(async { Ok(compare::run(options).await?) })?;
    let result = if report.is_equal() { "equal" } else { "different" };
    print_verdict(args.question.json, &Told { result, report: &report }, report.is_equal())
}

/// The report with its verdict; `equal` in the report is a count.
#[derive(Serialize)]
struct Told<'a> {
    result: &'static str,
    #[serde(flatten)]
    report: &'a Report,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.report, self.result)
    }
}
