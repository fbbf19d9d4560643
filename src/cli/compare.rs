//! `crossfade compare`.

use std::fmt;

use serde::Serialize;
use tokio::sync::watch;

use super::options;
use super::output::print_verdict;
use super::progress::beside_bar;
use super::runtime::block_on_one_thread;
use crate::compare::{self, Report};
use crate::config::Servers;
use crate::failure::Failure;
use crate::status::Progress;

/// Differences that are named; the rest is counted.
const SHOWN: usize = 100;

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
    let (progress, shown) = watch::channel(Progress::default());
    let show = SHOWN;
    let options = compare::Options { source, target, databases, expiry_tolerance, show, progress };
    let comparing = async { Ok(compare::run(options).await?) };
    let report = block_on_one_thread(beside_bar("comparing", shown, comparing))?;
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
