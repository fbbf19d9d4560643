//! A command that waits for data: how long, and what of it is asked again.

use std::time::Duration;

use crate::protocol::resp::Request;

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
    pub(super) fn of(request: Request) -> Self {
        let timeout = place_of_timeout(&request).and_then(|at| Some((duration(&request, at)?, at)));
        Self { request, timeout }
    }

    /// What is asked of another server after so long; `None` when nothing is left of the time.
    pub(super) fn again(&self, waited: Duration) -> Option<Request> {
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

    pub(super) fn wait(&self) -> Wait {
        if self.timeout.is_some() { Wait::Timed } else { Wait::Endless }
    }

    /// Whether it is answered with a string, not with an array.
    pub(super) fn takes_one(&self) -> bool {
        self.request.is(0, "BLMOVE") || self.request.is(0, "BRPOPLPUSH")
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
            let blocked = Blocked::of(Request::new(line.split(' ')));
            let again = blocked.again(Duration::from_millis(waited));
            assert_eq!(again, expected.map(|line| Request::new(line.split(' '))), "{line}");
        }
    }
}
