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

/// The engine's entry.
fn start(_config: RunConfig) -> Result<(), Failure> {
    Err(Failure::no("run is not there yet"))
}
