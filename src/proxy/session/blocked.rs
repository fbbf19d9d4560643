//! A command that waits for data: how long, and what of it is asked again.

use std::time::Duration;

use bytes::BytesMut;

use super::Session;
use crate::protocol::resp::{self, Protocol, Request};

/// What a command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Wait {
    /// Data.
    Endless,
    /// Data, for so long and no longer.
    Timed,
    /// The end of a pause, or replicas.
    Other,
}

/// The command of a client that waits for data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    request: Request,
    /// How long, and the argument that says so. `None`: until there is some.
    timeout: Option<(Duration, usize)>,
}

impl Blocked {
    fn of(request: Request) -> Self {
        let timeout = place_of_timeout(&request).and_then(|at| Some((duration(&request, at)?, at)));
        Self { request, timeout }
    }

    /// What is asked of another server after so long; `None` when nothing is left of the time.
    fn again(&self, waited: Duration) -> Option<Request> {
        let Some((timeout, place)) = self.timeout else { return Some(self.request.clone()) };
        let left = timeout.checked_sub(waited)?.as_millis().max(1);
        let text = if in_milliseconds(&self.request) {
            left.to_string()
        } else {
            format!("{}.{:03}", left / 1000, left % 1000)
        };
        let args = self.request.args().enumerate();
        Some(Request::new(args.map(|(at, arg)| if at == place { text.as_bytes() } else { arg })))
    }
}

fn in_milliseconds(request: &Request) -> bool {
    request.is(0, "XREAD") || request.is(0, "XREADGROUP")
}

fn place_of_timeout(request: &Request) -> Option<usize> {
    if in_milliseconds(request) {
        return Some((1..request.len()).find(|at| request.is(*at, "BLOCK"))? + 1);
    }
    let is_first = request.is(0, "BLMPOP") || request.is(0, "BZMPOP");
    if is_first { Some(1) } else { request.len().checked_sub(1) }
}

fn duration(request: &Request, place: usize) -> Option<Duration> {
    let number: f64 = std::str::from_utf8(request.arg(place)?).ok()?.parse().ok()?;
    let unit = if in_milliseconds(request) { 0.001 } else { 1.0 };
    // 0 is without end.
    let timeout = Duration::try_from_secs_f64(number * unit).ok();
    timeout.filter(|timeout| !timeout.is_zero())
}

impl Session {
    /// The client's command waits for data, from now on.
    pub(in crate::proxy) fn block(&mut self, request: Request) {
        self.blocked = Some(Blocked::of(request));
    }

    /// It has been answered.
    pub(in crate::proxy) fn unblock(&mut self) {
        self.blocked = None;
    }

    /// What the client waits for.
    pub(in crate::proxy) fn wait(&self) -> Option<Wait> {
        let blocked = self.blocked.as_ref()?;
        Some(if blocked.timeout.is_some() { Wait::Timed } else { Wait::Endless })
    }

    /// What a client that has waited for so long asks on another connection; `None` when its time is
    /// over.
    pub(in crate::proxy) fn blocked_again(&self, waited: Duration) -> Option<Request> {
        self.blocked.as_ref()?.again(waited)
    }

    /// The answer to a wait that has brought nothing.
    pub(in crate::proxy) fn answer_nothing(&self, out: &mut BytesMut) {
        let protocol = self.context.protocol;
        let is_bulk = self.blocked.as_ref().is_some_and(|Blocked { request, .. }| {
            request.is(0, "BLMOVE") || request.is(0, "BRPOPLPUSH")
        });
        match protocol {
            Protocol::Resp2 if is_bulk => resp::null(out, protocol),
            _ => resp::null_array(out, protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_goes_on_with_what_is_left_of_its_timeout() {
        for (line, waited, expected) in [
            ("BLPOP k 100", 250, Some("BLPOP k 99.750")),
            ("BZMPOP 1 2 a b MIN", 100, Some("BZMPOP 0.900 2 a b MIN")),
            ("XREAD BLOCK 60000 STREAMS s 7", 1, Some("XREAD BLOCK 59999 STREAMS s 7")),
            ("XREAD STREAMS s 7", 1, Some("XREAD STREAMS s 7")),
            ("BLMOVE a b LEFT LEFT 0", 99_000, Some("BLMOVE a b LEFT LEFT 0")),
            ("BLPOP k 1", 1000, Some("BLPOP k 0.001")),
            ("BLPOP k 1", 1001, None),
            ("BLPOP k nonsense", 1, Some("BLPOP k nonsense")),
        ] {
            let mut session = Session::default();
            session.block(Request::new(line.split(' ')));
            let again = session.blocked_again(Duration::from_millis(waited));
            assert_eq!(again, expected.map(|line| Request::new(line.split(' '))), "{line}");
        }
    }

    #[test]
    fn nothing_is_said_as_the_command_and_the_protocol_have_it() {
        for (line, protocol, expected) in [
            ("BLPOP k 1", Protocol::Resp2, "*-1\r\n"),
            ("BLMOVE a b LEFT LEFT 1", Protocol::Resp2, "$-1\r\n"),
            ("BLMOVE a b LEFT LEFT 1", Protocol::Resp3, "_\r\n"),
        ] {
            let mut session = Session::default();
            session.context.protocol = protocol;
            session.block(Request::new(line.split(' ')));
            let mut out = BytesMut::new();
            session.answer_nothing(&mut out);
            assert_eq!(out, expected, "{line}");
        }
    }

    #[test]
    fn a_client_waits_until_it_is_answered() {
        let mut session = Session::default();
        session.block(Request::new(["BLPOP", "k", "0"]));
        assert_eq!(session.wait(), Some(Wait::Endless));
        session.block(Request::new(["BLPOP", "k", "0.5"]));
        assert_eq!(session.wait(), Some(Wait::Timed));
        session.unblock();
        assert_eq!((session.wait(), session.blocked_again(Duration::ZERO)), (None, None));
    }
}
