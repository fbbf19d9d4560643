//! `crossfade copy`.

use tokio::sync::watch;

use super::logging;
use super::options::Given;
use super::output::print_verdict;
use super::progress::beside_bar;
use super::runtime::block_on_one_thread;
use crate::config::{Copying, Servers};
use crate::copy;
use crate::failure::Failure;
use crate::status::Progress;

#[derive(clap::Args)]
#[command(after_long_help = "Example:
  crossfade copy --source redis://old:6379/2 --target redis://new:6379 --rate 10000

Exit status: 0 all copied, 1 some key failed")]
pub(super) struct Args {
    #[command(flatten)]
    servers: Given<Servers>,
    #[command(flatten)]
    copying: Given<Copying>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.servers.settings_with(&args.copying)?;
    logging::init_quiet().map_err(|error| Failure::no(error.to_string()))?;
    let (progress, shown) = watch::channel(Progress::default());
    let copying = beside_bar("copying", shown, copy::run(config, progress));
    let summary = block_on_one_thread(copying)?;
    print_verdict(args.json, &summary, summary.failed == 0)
}
