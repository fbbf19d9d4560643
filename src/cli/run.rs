//! `crossfade run`.

use tokio::sync::watch;

use super::logging;
use super::options::Given;
use super::progress::beside_backfill;
use super::runtime::block_on;
use crate::config::RunConfig;
use crate::control;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  Two servers, and state that survives a restart:
    crossfade run --source redis://old:6379 --target redis://new:6379 --state-dir /var/lib/crossfade

  One database into another of a managed server, over TLS:
    CROSSFADE_TARGET_PASSWORD=… crossfade run \\
      --source unix:///run/redis/redis.sock?db=2 --target rediss://app@new.example:6380/0

  Gently, and with every write on both servers before it is answered:
    crossfade run --config /etc/crossfade.toml --backfill-rate 5000 --ack both";

#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) options: Given<RunConfig>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.options.settings()?;
    logging::init(config.log_format).map_err(|error| Failure::no(error.to_string()))?;
    let news = watch::Sender::default();
    let shown = news.subscribe();
    block_on(beside_backfill(shown, control::start(config, news)))
}
