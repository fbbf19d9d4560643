//! `crossfade observe`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::options;
use super::output;
use super::runtime::block_on;
use crate::check;
use crate::config::{self, Servers};
use crate::failure::Failure;

/// The longest that `MONITOR` may last.
const LONGEST: Duration = Duration::from_secs(300);

#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  crossfade observe --source redis://old:6379 --target redis://new:6379
  crossfade observe … --monitor 10s --html meets.html

Exit status: 0 nothing in the way, 1 something is, or would fail on the target")]
pub(super) struct Args {
    #[command(flatten)]
    question: options::Question,
    /// Listen to the source's MONITOR for so long
    ///
    /// It shows what statistics cannot: options, keys of several slots, keys that scripts do not
    /// declare. While it lasts the source tells every command to us too, which may take it a third of
    /// its throughput; at most 500,000 commands or five minutes.
    #[arg(long, value_name = "TIME", value_parser = config::seconds)]
    monitor: Option<Duration>,
    /// Write a page that a browser shows and prints
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.question.settings()?;
    let Servers { source, target, databases, .. } = config.servers;
    let target_policy = config.copying.target_policy;
    let options = check::Options { source, target, databases, target_policy };
    let monitor = args.monitor.map(|time| time.min(LONGEST));
    if let Some(time) = monitor {
        output::complain(&format!(
            "MONITOR for {} s: the source tells us every command meanwhile, which costs it throughput",
            time.as_secs_f64()
        ));
    }
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let looking = async { Ok(check::observe::run(options, monitor, at.as_secs_f64()).await?) };
    let seen = block_on(looking)?;
    match &args.html {
        Some(file) => std::fs::write(file, seen.html())
            .map_err(|error| Failure::no(format!("--html {}: {error}", file.display())))?,
        None if args.question.json => output::print_json(&seen),
        None => output::print(&seen.text()),
    }
    if seen.ready { Ok(()) } else { Err(Failure::silent()) }
}
