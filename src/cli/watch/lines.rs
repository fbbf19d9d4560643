//! A migration where nothing can be drawn: a line at each change that matters, or every event as it
//! came.

use std::io::{Write, stdout};
use std::time::{Duration, Instant, SystemTime};

use super::super::paint::tame;
use super::super::status::{backfilling, lag, phase};
use super::feed::Heard;
use crate::admin::report::moment;
use crate::failure::Failure;
use crate::status::{BackfillState, Phase, Status, VerifyState};

/// How often a line is printed though nothing has changed.
const PULSE: Duration = Duration::from_secs(10);
/// How long nothing may be heard.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a line is printed for at once.
#[derive(PartialEq, Eq)]
struct Sight {
    phase: Phase,
    backfill: BackfillState,
    verify: VerifyState,
    ready: bool,
    connected: (bool, bool),
}

impl Sight {
    fn of(status: &Status) -> Self {
        Self {
            phase: status.phase,
            backfill: status.backfill.state,
            verify: status.verify.state,
            ready: status.ready,
            connected: (status.source.connected, status.target.connected),
        }
    }
}

/// Whether anybody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    Gone,
}

pub(super) struct Lines {
    json: bool,
    heard: Instant,
    printed: Option<(Instant, Sight)>,
}

impl Lines {
    pub(super) fn new(json: bool) -> Self {
        Self { json, heard: Instant::now(), printed: None }
    }

    /// Prints what there is to print; an error when nothing has been heard for long.
    pub(super) fn take(&mut self, heard: Heard) -> Result<Reader, Failure> {
        match heard {
            Heard::Nothing(why) if self.heard.elapsed() > PATIENCE => Err(why),
            Heard::Nothing(_) | Heard::Points(_) => Ok(Reader::There),
            Heard::Status(text) => {
                self.heard = Instant::now();
                let line = if self.json { Some(text) } else { self.line(&text) };
                Ok(line.map_or(Reader::There, |line| print(&line)))
            }
        }
    }

    fn line(&mut self, text: &str) -> Option<String> {
        let status: Status = serde_json::from_str(text).unwrap_or_default();
        let sight = Sight::of(&status);
        let old =
            self.printed.as_ref().is_none_or(|(at, seen)| at.elapsed() >= PULSE || *seen != sight);
        old.then(|| {
            self.printed = Some((self.heard, sight));
            format!("{} {}", moment(unix_now()), told(&status))
        })
    }
}

fn unix_now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// A status in one line.
fn told(status: &Status) -> String {
    let copied = status.backfill.state == BackfillState::Done;
    let parts = [
        phase(status).text(),
        if copied { "every key copied".to_owned() } else { backfilling(status).text() },
        lag(&status.mirror).text(),
        format!("verify {}", status.verify.state.name()),
        reached("source", status.source.connected),
        reached("target", status.target.connected),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn reached(side: &str, connected: bool) -> String {
    if connected { String::new() } else { format!("{side} NOT REACHED") }
}

fn print(line: &str) -> Reader {
    let mut stdout = stdout().lock();
    let printed = writeln!(stdout, "{}", tame(line)).and_then(|()| stdout.flush());
    if printed.is_ok() { Reader::There } else { Reader::Gone }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(change: impl FnOnce(&mut Status)) -> String {
        let mut status = Status::default();
        change(&mut status);
        serde_json::to_string(&status).unwrap()
    }

    #[test]
    fn a_line_is_printed_for_what_matters_and_not_for_every_number() {
        let mut lines = Lines::new(false);
        assert!(lines.line(&status(|_| {})).is_some());
        assert_eq!(lines.line(&status(|status| status.backfill.copied = 7)), None);
        let line = lines.line(&status(|status| status.phase = Phase::Mirroring)).unwrap();
        assert!(line.contains(" UTC mirroring: every key"), "{line}");
        assert!(line.ends_with("verify never; source NOT REACHED; target NOT REACHED"), "{line}");
    }

    #[test]
    fn a_silence_is_waited_for_and_then_the_end() {
        let mut lines = Lines::new(true);
        let nothing = || Heard::Nothing(Failure::unreachable("away"));
        assert_eq!(lines.take(nothing()), Ok(Reader::There));
        lines.heard -= PATIENCE + Duration::from_secs(1);
        assert_eq!(lines.take(nothing()), Err(Failure::unreachable("away")));
    }
}
