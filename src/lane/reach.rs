//! Whether a server can be reached: while it can't, one lane tries for all of them.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Upstream;
use crate::server::{ConnectError, Setup, Wire};

/// How soon a server that is away is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(50);
/// How soon beside an attempt that nobody answers: the way may be open again, and the attempt lost.
const BESIDE: Duration = Duration::from_millis(500);

/// What is known of the way to a server.
#[derive(Debug, Default)]
pub(crate) struct Reach(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Why nobody got there last; `None` while the server can be reached.
    failure: Option<String>,
    /// When the last attempt began.
    tried: Option<Instant>,
    /// Attempts under way since it went away.
    trying: usize,
}

/// An attempt to get there.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    reach: &'a Reach,
    /// Whether it counts as one of those to a server that is away.
    counts: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.counts {
            self.reach.0.lock().trying -= 1;
        }
    }
}

impl Reach {
    /// Begins an attempt; while the server is away and others try, only tells why.
    pub(super) fn attempt(&self) -> Result<Attempt<'_>, String> {
        let mut state = self.0.lock();
        let Some(failure) = &state.failure else {
            return Ok(Attempt { reach: self, counts: false });
        };
        let pause = if state.trying == 0 { RETRY } else { BESIDE };
        if state.tried.is_some_and(|tried| tried.elapsed() < pause) {
            return Err(failure.clone());
        }
        state.tried = Some(Instant::now());
        state.trying += 1;
        Ok(Attempt { reach: self, counts: true })
    }

    /// How an attempt ended.
    pub(super) fn learn(&self, failure: Option<&ConnectError>) {
        let failure = failure.filter(|error| error.may_pass());
        let mut state = self.0.lock();
        if state.failure.is_none() && failure.is_some() {
            state.tried = Some(Instant::now());
        }
        state.failure = failure.map(|error| error.reason().to_owned());
    }
}

impl Upstream {
    /// Connects and logs in, unless the server is away and others try already.
    pub(super) async fn connect(&self, setup: &Setup) -> Result<Wire, ConnectError> {
        let away = |reason| ConnectError::Unreachable { address: self.endpoint.address(), reason };
        let attempt = self.reach.attempt().map_err(away)?;
        let connected = self.endpoint.connect(setup).await;
        self.reach.learn(connected.as_ref().err());
        drop(attempt);
        connected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reply: &str) -> ConnectError {
        let address = "/s".to_owned();
        ConnectError::Refused { address, reply: reply.to_owned() }
    }

    #[test]
    fn while_a_server_is_away_one_tries_for_all() {
        let reach = Reach::default();
        let many = [reach.attempt(), reach.attempt()];
        assert!(many.iter().all(Result::is_ok), "nobody knows yet");
        reach.learn(Some(&failure("LOADING")));
        assert_eq!(reach.attempt().unwrap_err(), "LOADING");
        std::thread::sleep(RETRY);
        let first = reach.attempt().unwrap();
        std::thread::sleep(RETRY);
        assert!(reach.attempt().is_err(), "the first has not ended");
        drop(first);
        assert!(reach.attempt().is_ok());
        reach.learn(None);
        assert!(reach.attempt().is_ok() && reach.attempt().is_ok());
    }

    #[test]
    fn a_server_that_refuses_a_user_is_there() {
        let reach = Reach::default();
        reach.learn(Some(&failure("WRONGPASS")));
        assert!(reach.attempt().is_ok());
    }
}
