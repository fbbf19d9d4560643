//! What belongs to a connection for good: `CLIENT TRACKING`, `CLIENT NO-TOUCH`.

use crate::protocol::resp::{Request, parse_integer};

/// How many requests are repeated on another connection; a client that gave more of them is
/// disconnected, as by a server that restarts.
const LIMIT: usize = 256;

/// What a client's own connection has been told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Standing {
    /// `CLIENT TRACKING ON …`, as the client sent them: prefixes add up.
    tracking: Vec<Request>,
    /// The client that is told of invalidations instead.
    redirect: Option<u64>,
    no_touch: bool,
}

/// The `REDIRECT` of a `CLIENT TRACKING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Redirection {
    /// Which argument names the client.
    pub(in crate::proxy) place: usize,
    pub(in crate::proxy) receiver: u64,
}

impl Standing {
    pub(super) fn is_empty(&self) -> bool {
        self.tracking.is_empty() && !self.no_touch
    }

    /// Whether there is no room for another request.
    pub(in crate::proxy) fn is_full(&self) -> bool {
        self.tracking.len() >= LIMIT
    }

    pub(in crate::proxy) fn redirect(&self) -> Option<u64> {
        self.redirect
    }

    pub(in crate::proxy) fn has_tracking(&self) -> bool {
        !self.tracking.is_empty()
    }

    pub(in crate::proxy) fn broadcasts(&self) -> bool {
        self.tracking.iter().any(|request| (3..request.len()).any(|at| request.is(at, "BCAST")))
    }

    pub(in crate::proxy) fn avoids_touch(&self) -> bool {
        self.no_touch
    }

    pub(super) fn track(&mut self, request: &Request) {
        self.redirect = Redirection::of(request).map(|redirection| redirection.receiver);
        if request.is(2, "ON") {
            self.tracking.push(request.clone());
        } else {
            self.tracking.clear();
        }
    }

    pub(super) fn touch(&mut self, request: &Request) {
        self.no_touch = request.is(2, "ON");
    }

    /// What another connection has to be told.
    pub(super) fn told_again(&self) -> Vec<Request> {
        let no_touch = self.no_touch.then(|| Request::new(["CLIENT", "NO-TOUCH", "ON"]));
        self.tracking.iter().cloned().chain(no_touch).collect()
    }
}

impl Redirection {
    /// Where a request redirects to, if it does.
    pub(in crate::proxy) fn of(request: &Request) -> Option<Self> {
        let mut options = (3..request.len()).filter(|_| request.is(1, "TRACKING"));
        let place = options.find(|place| request.is(*place, "REDIRECT"))? + 1;
        let receiver = parse_integer(request.arg(place)?)?;
        Some(Self { place, receiver: u64::try_from(receiver).unwrap_or_default() })
    }

    /// The request with another number in the client's place.
    pub(in crate::proxy) fn to(self, request: &Request, other: i64) -> Request {
        let other = other.to_string();
        let args = request.args().enumerate();
        Request::new(args.map(|(at, arg)| if at == self.place { other.as_bytes() } else { arg }))
    }
}
