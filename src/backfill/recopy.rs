//! Working off the dirty keys.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::copier::{Copier, Open, Route};
use crate::engine::Engine;
use crate::server::{Broken, RECONNECT_AFTER};
use crate::value::Fault;

/// Keys copied in one pipeline.
const BATCH: usize = 64;
/// Keys tried once more in one pipeline: each that fails makes copies pause.
const RETRY_BATCH: usize = 4096;
/// After so many copies in vain a key is read in position, if it is small.
const PATIENCE: u8 = 2;

/// Copies dirty keys until `stop`. Several may run at once.
pub(crate) async fn recopy(route: Arc<Route>, stop: CancellationToken) {
    let serving = async {
        loop {
            let reason = serve(&route).await;
            debug!(%reason, "recopier starts over");
            sleep(RECONNECT_AFTER).await;
        }
    };
    stop.run_until_cancelled(serving).await;
}

/// Tries every key that is dirty now once more.
///
/// # Errors
/// The primary can't be reached or went away; the keys are dirty still.
pub(crate) async fn retry(route: &Arc<Route>) -> Result<(), Fault> {
    let mut copier = Copier::open(route).await?;
    let mut left = route.engine.look(Engine::dirty_keys);
    while left > 0 {
        copier.wait_for_room().await;
        let tickets = route.engine.with(|engine| engine.claim_dirty(left.min(RETRY_BATCH)));
        if tickets.is_empty() {
            return Ok(());
        }
        left -= tickets.len();
        copier.copy(tickets).await?;
    }
    Ok(())
}

/// Works until the connection breaks; why it did.
async fn serve(route: &Arc<Route>) -> Fault {
    let mut copier = match Copier::open(route).await {
        Ok(copier) => copier,
        Err(error) => return error.into(),
    };
    loop {
        if let Err(error) = round(route, &mut copier).await {
            return error.into();
        }
    }
}

async fn round(route: &Arc<Route>, copier: &mut Copier) -> Result<(), Broken> {
    let tickets = route
        .engine
        .with(|engine| if engine.wants_copies() { engine.claim_dirty(BATCH) } else { Vec::new() });
    if tickets.is_empty() {
        // A timeout, because pauses end without a word.
        let _ = timeout(Duration::from_millis(20), route.engine.copies.notified()).await;
        return Ok(());
    }
    let (hot, cold) = tickets.into_iter().partition(|ticket| ticket.attempts >= PATIENCE);
    let mut hot = Open::new(route, hot);
    copier.copy(cold).await?;
    while let Some(ticket) = hot.next() {
        copier.copy_in_position(ticket).await?;
    }
    Ok(())
}
