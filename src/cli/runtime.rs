//! What the commands that speak to the two servers run on.

use std::future::Future;

use crate::failure::Failure;

/// Waits for `work` on as many threads as there are cores.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::no(format!("no threads: {error}")))?;
    let result = runtime.block_on(work);
    // What still waits for a server waits in vain.
    runtime.shutdown_background();
    result
}
