//! `crossfade run`.

use super::options::{self, Run};
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::telemetry;

pub(super) fn run(options: &Run) -> Result<(), Failure> {
    let config = options::resolve(options)?;
    telemetry::init(config.log_format).map_err(|error| Failure::no(error.to_string()))?;
    start(config)
}

fn start(config: RunConfig) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::no(format!("no threads: {error}")))?;
    let result = runtime.block_on(crate::control::start(config));
    // What still waits for a server waits in vain.
    runtime.shutdown_background();
    result
}
