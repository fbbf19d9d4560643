//! What a process says on stderr, line by line, and which lines nobody announced.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How much of a log a failed test prints.
const TAIL: usize = 80;

/// The lines so far; a thread goes on collecting until the process closes its end.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    complete: Arc<AtomicBool>,
}

impl Log {
    /// Collects from now on.
    pub fn collect(from: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let collected = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                collected.lines.lock().unwrap().push(line);
            }
            collected.complete.store(true, Ordering::Release);
        });
        log
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Whether the process has closed its end, so that no line can follow.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Whether some line holds the text.
    pub fn contains(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }

    /// The warnings and errors that hold none of the expected texts.
    pub fn unexpected(&self, expected: &[String]) -> Vec<String> {
        let announced = |line: &String| expected.iter().any(|text| line.contains(text.as_str()));
        self.lines().into_iter().filter(|line| is_alarming(line) && !announced(line)).collect()
    }

    /// Prints the last lines, for the reader of a failed test.
    pub fn print_tail(&self) {
        let lines = self.lines();
        eprintln!("--- the last lines of crossfade's log ---");
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            eprintln!("{line}");
        }
    }
}

/// A line of level WARN or ERROR, in either format, or the start of a panic.
fn is_alarming(line: &str) -> bool {
    let level = serde_json::from_str::<serde_json::Value>(line)
        .ok()
        .and_then(|event| event.get("level").and_then(|level| level.as_str()).map(str::to_owned));
    match level {
        Some(level) => level == "WARN" || level == "ERROR",
        None => [" WARN ", " ERROR ", "panicked at"].iter().any(|mark| line.contains(mark)),
    }
}
