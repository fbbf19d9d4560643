//! `crossfade run`.

use super::options::{self, Run};
use super::runtime::block_on;
use crate::control;
use crate::failure::Failure;
use crate::telemetry;

pub(super) fn run(options: &Run) -> Result<(), Failure> {
    let config = options::resolve(options)?;
    telemetry::init(config.log_format).map_err(|error| Failure::no(error.to_string()))?;
    block_on(control::start(config))
}
