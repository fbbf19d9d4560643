//! `CLIENT PAUSE`: commands wait in the proxy, where all of its clients pass.
//!
//! On the server it would stop the lanes, and with them copies and the answers that a flip needs.
//! Here nothing is in flight for a client that waits, so a pause never stands in a flip's way, and
//! it goes on after one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::client::{Client, Close, Until};
use super::session::{Needs, Wait};
use crate::protocol::resp::{Request, parse_integer};

/// The longest pause, so that the end is a moment that exists: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Whether clients are paused.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// Whether there is a pause at all: what every command asks.
    is_on: AtomicBool,
    paused: watch::Sender<Option<Paused>>,
}

#[derive(Clone, Copy, Debug)]
struct Paused {
    until: Instant,
    /// Reads go on.
    writes_only: bool,
}

impl Pause {
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// As `CLIENT PAUSE milliseconds [mode]`: a pause that is on can grow, in time and in scope.
    pub(super) fn begin(&self, milliseconds: u64, writes_only: bool) {
        let until = Instant::now() + Duration::from_millis(milliseconds).min(LONGEST);
        self.paused.send_modify(|paused| {
            let before = paused.filter(|before| before.until > Instant::now());
            *paused = Some(Paused {
                until: before.map_or(until, |before| before.until.max(until)),
                writes_only: writes_only && before.is_none_or(|before| before.writes_only),
            });
        });
        self.is_on.store(true, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        self.paused.send_replace(None);
    }

    /// Until when a command waits; `None` when it need not.
    fn holds(paused: Option<Paused>, writes: bool) -> Option<Instant> {
        let paused = paused.filter(|paused| paused.until > Instant::now())?;
        (writes || !paused.writes_only).then_some(paused.until)
    }
}

impl Client {
    /// Waits while such a command is paused. Kept off the path of commands by [`Pause::is_on`].
    pub(super) async fn wait_out_pause(&mut self, writes: bool) -> Result<(), Close> {
        let (shared, stop) = (self.shared.clone(), self.stop.clone());
        let mut paused = shared.pause.paused.subscribe();
        loop {
            let now = *paused.borrow_and_update();
            let Some(end) = Pause::holds(now, writes) else { return Ok(()) };
            self.prepare(Needs::Answers).await?;
            self.show_wait(Some(Wait::Other));
            let end = tokio::select! {
                biased;
                gone = self.pump(Until::Gone) => Some(gone),
                () = stop.cancelled() => Some(Err(Close::Gracefully)),
                _ = paused.changed() => None,
                () = sleep_until(end) => None,
            };
            self.show_wait(None);
            if let Some(end) = end {
                return end;
            }
        }
    }

    pub(super) fn client_pause(&mut self, request: &Request) {
        let milliseconds = request.arg(2).and_then(parse_integer).unwrap_or_default();
        let writes_only = request.is(3, "WRITE");
        self.shared.pause.begin(u64::try_from(milliseconds).unwrap_or_default(), writes_only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_grows_and_ends_by_itself() {
        let pause = Pause::default();
        let holds = |writes| Pause::holds(*pause.paused.borrow(), writes).is_some();
        pause.begin(100, true);
        assert!(holds(true) && !holds(false));
        pause.begin(50, false);
        assert!(holds(true) && holds(false));
        tokio::time::advance(Duration::from_millis(99)).await;
        assert!(holds(false));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!holds(true));
        pause.begin(50, true);
        assert!(!holds(false), "a pause that is over leaves nothing behind");
        pause.end();
        assert!(!pause.is_on() && !holds(true));
    }
}
