//! A migration as a picture: the rows of `crossfade status`, with the steps above them, and how fast
//! everything is, with charts as far as there is room.
//!
//! *Must not know:* terminals.

use std::time::{Duration, Instant};

use super::super::output::{grouped, period};
use super::super::paint::{Line, Size, bars};
use super::super::status::{MARGIN, Row, rows};
use super::feed::Heard;
use crate::metrics::history::Point;
use crate::status::{BackfillState, Phase, Status, Times, VerifyState};

/// Points that are kept: an hour of them, wider than any terminal.
const KEPT: usize = 720;
/// After how long what is shown is called old; there is news once a second.
const OLD: Duration = Duration::from_secs(3);
/// A chart with fewer columns says nothing.
const NARROWEST: usize = 8;
/// The widest column that a chart follows.
const CHARTS: usize = 64;

const STEPS: [&str; 5] = ["copy", "mirror", "verify", "cut over", "finalize"];

pub(super) struct Picture {
    address: String,
    status: Option<Status>,
    points: Vec<Point>,
    heard: Instant,
    trouble: Option<String>,
}

impl Picture {
    pub(super) fn of(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            status: None,
            points: Vec::new(),
            heard: Instant::now(),
            trouble: None,
        }
    }

    pub(super) fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Status(text) => {
                self.status = serde_json::from_str(&text).ok();
                (self.heard, self.trouble) = (Instant::now(), None);
            }
            Heard::Points(points) => {
                self.points.extend(points);
                self.points.drain(..self.points.len().saturating_sub(KEPT));
            }
            Heard::Nothing(why) => self.trouble = Some(why.message),
        }
    }

    /// As much as there is room for.
    pub(super) fn lines(&self, room: Size) -> Vec<Line> {
        let head = self.head();
        let body = match &self.status {
            Some(status) => self.body(status, room, head.len() + 1),
            None => Vec::new(),
        };
        let left = room.rows.saturating_sub(head.len() + 1);
        let hidden = body.len().saturating_sub(left);
        let foot = match hidden {
            0 => Line::default().faint("q quits"),
            1 => Line::default().faint("q quits; one row more has no room"),
            _ => Line::default().faint(format!("q quits; {hidden} rows more have no room")),
        };
        let body = body.into_iter().take(left);
        let lines = head.into_iter().chain(body).chain([foot]).take(room.rows);
        lines.map(|line| line.cut(room.columns)).collect()
    }

    fn head(&self) -> Vec<Line> {
        let version = self.status.as_ref().map_or(String::new(), |status| status.version.clone());
        let title = Line::default().strong(format!("crossfade {version}"));
        let title = title.faint(format!("  {}  ", self.address)).then(self.trouble());
        let steps = self.status.as_ref().map(steps).unwrap_or_default();
        vec![title, steps, Line::default()]
    }

    /// What keeps us from hearing anything.
    fn trouble(&self) -> Line {
        let silence = self.heard.elapsed();
        if silence < OLD && self.trouble.is_none() {
            return Line::default();
        }
        let why = self.trouble.as_deref().unwrap_or("it says nothing");
        Line::default().bad(format!("NO NEWS for {} s: {why}", silence.as_secs()))
    }

    fn body(&self, status: &Status, room: Size, taken: usize) -> Vec<Line> {
        let took = if status.phase == Phase::Finalized { Vec::new() } else { self.took() };
        let room = Size { rows: room.rows.saturating_sub(taken + took.len()), ..room };
        let mut rows = rows(status, room);
        for row in &mut rows {
            self.add_to(row, status, room.columns);
        }
        let place = rows.iter().position(|row| row.label == "last flip" || row.label == "record");
        let less = rows.split_off(place.unwrap_or(rows.len()));
        let took = took.into_iter().map(|(line, chart)| charted(line, &chart, room.columns));
        let labels = ["p50 · p99", "", ""];
        let took = labels.into_iter().zip(took).map(|(label, line)| Row { label, line });
        rows.into_iter().chain(took).chain(less).map(Row::whole).collect()
    }

    /// What is seen at a glance beside some rows.
    fn add_to(&self, row: &mut Row, status: &Status, columns: usize) {
        let line = std::mem::take(&mut row.line);
        row.line = match row.label {
            "backfill" if status.backfill.state != BackfillState::Done => {
                let free = CHARTS.min(columns.saturating_sub(MARGIN + line.width() + 3));
                line.plain("  ").good(gauge(status.backfill.percent, free))
            }
            "mirror" => charted(line, &self.chart(|point| point.lag), columns),
            "clients" => {
                let line = line.plain(self.rate());
                charted(line, &self.chart(|point| point.commands), columns)
            }
            _ => line,
        };
    }

    fn rate(&self) -> String {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of a float saturates, and less than one does not matter here"
        )]
        let whole = |rate: f64| rate.round() as u64;
        let last = self.points.last();
        last.map_or(String::new(), |point| format!(", {} a second", grouped(whole(point.commands))))
    }

    fn chart(&self, value: impl Fn(&Point) -> f64) -> Vec<f64> {
        self.points.iter().map(value).collect()
    }

    /// How long everything takes: lines, and the values of their charts.
    fn took(&self) -> Vec<(Line, Vec<f64>)> {
        vec![
            self.took_by("clients", |point| point.clients),
            self.took_by("source", |point| point.source),
            self.took_by("target", |point| point.target),
        ]
    }

    fn took_by(&self, who: &str, times: impl Fn(&Point) -> Times) -> (Line, Vec<f64>) {
        let Times { p50, p99 } = self.points.last().map(&times).unwrap_or_default();
        let line = format!("{who:7}  {:>8} · {:>8}", known(p50), known(p99));
        (Line::from(line), self.chart(|point| times(point).p99.unwrap_or(0.0)))
    }
}

fn known(seconds: Option<f64>) -> String {
    seconds.map_or("–".to_owned(), period)
}

/// A line with its last hour behind it, as far as there is room.
fn charted(line: Line, values: &[f64], columns: usize) -> Line {
    let column = line.width().max(CHARTS.min(columns.saturating_sub(MARGIN + NARROWEST + 2)));
    let free = columns.saturating_sub(MARGIN + column + 2);
    if free < NARROWEST || values.is_empty() {
        return line;
    }
    line.padded(column).plain("  ").good(bars(values, free))
}

fn gauge(percent: f64, columns: usize) -> String {
    if columns < NARROWEST {
        return String::new();
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a few columns, and a cast of a float saturates"
    )]
    let full = ((percent / 100.0 * columns as f64) as usize).min(columns);
    "█".repeat(full) + &"░".repeat(columns - full)
}

/// The steps of a migration with the present one marked.
fn steps(status: &Status) -> Line {
    let now = match status.phase {
        Phase::Backfilling => 0,
        Phase::Mirroring => match status.verify.state {
            VerifyState::Never => 1,
            VerifyState::Clean => 3,
            _ => 2,
        },
        Phase::CuttingOver | Phase::RollingBack => 3,
        Phase::CutOver => 4,
        Phase::Finalized => STEPS.len(),
    };
    let mark = |line: Line, (place, step): (usize, &str)| {
        let line = if place == 0 { line } else { line.faint(" ─ ") };
        match place.cmp(&now) {
            std::cmp::Ordering::Less => line.good(format!("✓ {step}")),
            std::cmp::Ordering::Equal => line.strong(format!("▶ {step}")),
            std::cmp::Ordering::Greater => line.faint(step),
        }
    };
    STEPS.into_iter().enumerate().fold(Line::default(), mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::status::Advice;

    fn picture(change: impl FnOnce(&mut Status)) -> Picture {
        let mut status = Status::default();
        change(&mut status);
        let mut picture = Picture::of("127.0.0.1:9680");
        picture.take(Heard::Status(serde_json::to_string(&status).unwrap()));
        let times = Times { p50: Some(0.000_2), p99: Some(0.0012) };
        let point = |at| Point { at, commands: 10.0 * at, clients: times, ..Point::default() };
        picture.take(Heard::Points((0..900).map(f64::from).map(point).collect()));
        picture
    }

    fn text(picture: &Picture, columns: usize, rows: usize) -> Vec<String> {
        picture.lines(Size { columns, rows }).iter().map(Line::text).collect()
    }

    #[test]
    fn a_picture_never_outgrows_its_room() {
        let advice = Advice { blocker: "a blocker ".repeat(20), todo: "do ".repeat(90) };
        let picture = picture(|status| status.advice = vec![advice; 20]);
        for (columns, rows) in [(80, 24), (120, 40), (20, 5), (1, 1), (300, 100)] {
            let text = text(&picture, columns, rows);
            assert!(text.len() <= rows, "{columns}x{rows}: {text:#?}");
            assert!(text.iter().all(|line| line.chars().count() <= columns), "{text:#?}");
        }
    }

    #[test]
    fn the_usual_fits_into_a_small_terminal() {
        let advice = Advice { blocker: "verify has not run".into(), todo: "Verify.".into() };
        let text = text(&picture(|status| status.advice = vec![advice]), 80, 24);
        assert_eq!(text.last().unwrap(), "q quits", "{text:#?}");
        assert!(text.iter().any(|line| line.contains("clients    200 µs ·   1.2 ms")), "{text:#?}");
    }

    #[test]
    fn charts_are_drawn_where_there_is_room() {
        let picture = picture(|status| status.phase = Phase::Mirroring);
        let bars = |columns| text(&picture, columns, 40).join("").matches('█').count();
        assert_eq!(bars(40), 0);
        assert!(bars(120) > 0);
    }

    #[test]
    fn a_silence_is_told_above_what_was_heard_last() {
        let mut picture = picture(|status| status.phase = Phase::CutOver);
        picture.take(Heard::Nothing(Failure::unreachable("connection refused")));
        let text = text(&picture, 80, 24);
        assert!(text[0].contains("NO NEWS for 0 s: connection refused"), "{text:#?}");
        assert!(text.join("\n").contains("the target serves"), "{text:#?}");
    }

    #[test]
    fn the_present_step_is_marked() {
        let line = |phase, state| {
            let mut status = Status { phase, ..Status::default() };
            status.verify.state = state;
            steps(&status).text()
        };
        let verified = line(Phase::Mirroring, VerifyState::Clean);
        assert_eq!(verified, "✓ copy ─ ✓ mirror ─ ✓ verify ─ ▶ cut over ─ finalize");
        assert!(line(Phase::Backfilling, VerifyState::Never).starts_with("▶ copy ─ mirror"));
        assert!(line(Phase::Finalized, VerifyState::Clean).ends_with("✓ finalize"));
    }
}
