//! Clients that have closed their end of the connection: they send nothing more, and may still read
//! what they have asked for, as `printf 'PING\r\n' | nc` does.
//!
//! Nobody can tell such a client from one that has left altogether before something has been sent to
//! it. So few are served at a time, and none for long; all others count as gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// So many are served at a time: what they ask may be for nobody.
const SEATS: usize = 16;
/// For so long at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Room for them.
#[derive(Clone, Debug)]
pub(crate) struct Partings(Arc<Semaphore>);

impl Default for Partings {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SEATS)))
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Parting {
    _seat: OwnedSemaphorePermit,
    end: Pin<Box<Sleep>>,
}

impl Partings {
    /// `None`: there is no room.
    pub(super) fn begin(&self) -> Option<Parting> {
        let seat = self.0.clone().try_acquire_owned().ok()?;
        Some(Parting { _seat: seat, end: Box::pin(sleep(PATIENCE)) })
    }
}

impl Parting {
    /// Whether it has had its time; the task that asks is woken when it has.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.end.as_mut().poll(cx).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn few_are_served_and_none_for_long() {
        let partings = Partings::default();
        let mut all: Vec<Parting> = (0..SEATS).filter_map(|_| partings.begin()).collect();
        assert_eq!(all.len(), SEATS);
        assert!(partings.begin().is_none());
        let mut last = all.pop().unwrap();
        assert!(!last.is_over(&mut Context::from_waker(Waker::noop())));
        drop(all);
        assert!(partings.begin().is_some());
        tokio::time::advance(PATIENCE).await;
        assert!(last.is_over(&mut Context::from_waker(Waker::noop())));
    }
}
