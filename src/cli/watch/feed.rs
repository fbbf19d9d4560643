//! What is heard of a running migration.
//!
//! *Guarantees:* it is asked again for as long as somebody listens; what nobody takes is not heaped up.

use std::io::BufRead;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::mpsc;

use super::super::client::Api;
use crate::failure::Failure;
use crate::metrics::history::{Point, STEP};

/// How long to wait before it is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// What came.
pub(super) enum Heard {
    /// A status, as it was sent.
    Status(String),
    /// More of the last hour.
    Points(Vec<Point>),
    /// Nothing, and why.
    Nothing(Failure),
}

/// The answer to a question for the last hour.
#[derive(Default, Deserialize)]
#[serde(default)]
struct History {
    points: Vec<Point>,
}

/// Listens on a thread of its own. `points`: to the last hour, too.
pub(super) fn listen(admin: Api, points: bool) -> mpsc::Receiver<Heard> {
    let (tell, heard) = mpsc::channel(1);
    let feed = Feed { admin, tell, points, told: None, last: 0.0 };
    thread::spawn(move || feed.run());
    heard
}

struct Feed {
    admin: Api,
    tell: mpsc::Sender<Heard>,
    points: bool,
    /// When points were told last.
    told: Option<Instant>,
    /// Of when the last of them was.
    last: f64,
}

/// Nobody listens any more.
struct Unheard;

impl Feed {
    fn run(mut self) {
        while let Ok(why) = self.hear() {
            if self.tell(Heard::Nothing(why)).is_err() {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Passes on what comes, until nothing does.
    fn hear(&mut self) -> Result<Failure, Unheard> {
        let lines = match self.admin.listen("/v1/events") {
            Ok(lines) => lines,
            Err(failure) => return Ok(failure),
        };
        for line in lines.lines() {
            let line = match line {
                Ok(line) => line,
                Err(error) => return Ok(self.admin.strange(&error.to_string())),
            };
            if let Some(status) = line.strip_prefix("data: ") {
                self.tell(Heard::Status(status.to_owned()))?;
                self.ask_for_points()?;
            }
        }
        Ok(self.admin.strange("it has stopped"))
    }

    fn ask_for_points(&mut self) -> Result<(), Unheard> {
        let step = Duration::from_secs(STEP);
        if !self.points || self.told.is_some_and(|told| told.elapsed() < step) {
            return Ok(());
        }
        self.told = Some(Instant::now());
        let path = format!("/v1/history?after={}", self.last);
        // If there is something wrong with it, the events tell.
        let History { points } = self.admin.get(&path).unwrap_or_default();
        self.last = points.last().map_or(self.last, |point| point.at);
        self.tell(Heard::Points(points))
    }

    fn tell(&self, heard: Heard) -> Result<(), Unheard> {
        self.tell.blocking_send(heard).map_err(|_| Unheard)
    }
}
