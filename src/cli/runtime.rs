//! What the commands that speak to the two servers run on.

use std::future::Future;

use tokio::runtime::Builder;

use crate::failure::Failure;

/// Waits for `work` on as many threads as there are cores.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    wait(Builder::new_multi_thread(), work)
}

/// Waits for `work` on one thread: where only the servers have much to do, threads that wake one
/// another would take their cores.
pub(super) fn block_on_one_thread<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    wait(Builder::new_current_thread(), work)
}

fn wait<T>(
    mut runtime: Builder,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::no(format!("no threads: {error}")))?;
    let result = runtime.block_on(work);
    // What still waits for a server waits in vain.
    runtime.shutdown_background();
    result
}
