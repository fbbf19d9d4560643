//! `crossfade check`.

use super::options;
use super::output::print_verdict;
use super::runtime::block_on;
use crate::check;
use crate::config::Servers;
use crate::failure::Failure;

#[derive(clap::Args)]
#[command(
    after_long_help = "Example:\n  crossfade check --source redis://old:6379 --target redis://new:6379\n\nExit status: 0 ready, 1 a blocker"
)]
pub(super) struct Args {
    #[command(flatten)]
    question: options::Question,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.question.settings()?;
    let Servers { source, target, databases, .. } = config.servers;
    let target_policy = config.copying.target_policy;
    let options = check::Options { source, target, databases, target_policy };
    let report = block_on(async { Ok(check::run(options).await?) })?;
    print_verdict(args.question.json, &report, report.ready)
}
