//! One line of the report.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The migration works, but somebody should know.
    Warning,
    /// The migration can't work.
    Blocker,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about, in one word.
    pub topic: &'static str,
    /// What was found, and what to do about it.
    pub text: String,
}

impl Finding {
    pub(super) fn ok(topic: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, topic, text: text.into() }
    }

    pub(super) fn warning(topic: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Warning, topic, text: text.into() }
    }

    pub(super) fn blocker(topic: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Blocker, topic, text: text.into() }
    }
}

impl Finding {
    fn is_about_keys(&self) -> bool {
        self.topic == "target" && (self.text.contains(" keys already") || self.text == "is empty")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Blocker => "blocker",
        };
        write!(f, "{level:<8} {:<12} {}", self.topic, self.text)
    }
}

/// All findings, in the order of the questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether a migration may begin: there is no blocker.
    pub ready: bool,
    /// One entry a line.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The same without what it says of the target's keys: in a running migration they are the
    /// source's.
    pub(crate) fn without_keys(self) -> Self {
        let others = self.findings.into_iter().filter(|finding| !finding.is_about_keys());
        Self::new(others.collect())
    }

    /// The report of these findings.
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        let ready = findings.iter().all(|finding| finding.level < Level::Blocker);
        Self { ready, findings }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        f.write_str(if self.ready { "ready" } else { "not ready" })
    }
}
