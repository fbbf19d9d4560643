//! What happened in a migration, for the change ticket: who did what when, what was counted, what
//! was found, how long anybody was held.
//!
//! *Guarantees:* it spans every process that had the state directory; it holds no key, no value and
//! no secret; it does not grow without end.
//!
//! *Must not know:* where the numbers come from.

mod html;
mod text;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::admin::audit::Deed;
use crate::status::{Cutover, Server, Side, Status, Verify, VerifyState};

const FILE: &str = "report.json";
/// Starts, flips and comparisons that are told, each.
const KEPT: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    /// Which migration: the word in the names of its connections.
    pub migration: String,
    /// SHA-256 of the configuration without its secrets.
    pub configuration: String,
    /// When the first process started, in Unix seconds.
    pub began_at: f64,
    /// Of when this is.
    pub at: f64,
    /// How everything stood then.
    #[serde(flatten)]
    pub status: Status,
    /// Each process.
    pub starts: Vec<Start>,
    /// Each flip.
    pub flips: Vec<Cutover>,
    /// Each comparison that ended.
    pub verifies: Vec<Verify>,
    /// In all processes.
    pub counts: Counts,
    /// The longest that a command of a client took, in seconds.
    pub longest_wait_seconds: f64,
    /// What was done.
    pub audit: Vec<Deed>,
}

/// A process of the migration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Start {
    /// When it started, in Unix seconds.
    pub at: f64,
    /// The version of crossfade.
    pub version: String,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    /// Commands of clients.
    pub commands: u64,
    /// Keys copied first.
    pub copied: u64,
    /// Keys in doubt that were copied again, by the reason.
    pub recopies: BTreeMap<String, u64>,
    /// Mirrored commands that were answered as expected.
    pub applied: u64,
    /// … with another answer; their keys were copied again.
    pub mismatched: u64,
    /// … with a refusal; their keys were copied again.
    pub failed: u64,
}

impl Counts {
    /// What came after `before`; commands are counted apart.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let recopies = self.recopies.iter().map(|(cause, count)| {
            let before = before.recopies.get(cause).copied().unwrap_or(0);
            (cause.clone(), count.saturating_sub(before))
        });
        Self {
            commands: 0,
            copied: self.copied - before.copied,
            recopies: recopies.collect(),
            applied: self.applied - before.applied,
            mismatched: self.mismatched - before.mismatched,
            failed: self.failed - before.failed,
        }
    }

    /// Adds what came since.
    pub(crate) fn add(&mut self, since: &Self) {
        self.commands += since.commands;
        self.copied += since.copied;
        self.applied += since.applied;
        self.mismatched += since.mismatched;
        self.failed += since.failed;
        for (cause, count) in &since.recopies {
            *self.recopies.entry(cause.clone()).or_default() += count;
        }
    }
}

impl Report {
    /// Takes up what an earlier process of the same migration has left in the directory.
    pub(crate) fn open(directory: Option<&Path>, migration: &str) -> Self {
        let text = directory.and_then(|directory| fs::read(directory.join(FILE)).ok());
        let kept = text.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        let kept = kept.filter(|report| report.migration == migration);
        kept.unwrap_or_else(|| Self { migration: migration.to_owned(), ..Self::default() })
    }

    /// Reads what is in a directory.
    ///
    /// # Errors
    /// There is none, or it is not one.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(directory.join(FILE))?)?)
    }

    /// Keeps it in the directory.
    pub(crate) fn save(&self, directory: &Path) -> io::Result<()> {
        let fresh = directory.join("report.json.new");
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        fs::rename(fresh, directory.join(FILE))
    }

    /// A process of this migration has started.
    pub(crate) fn started(&mut self, at: f64, version: &str) {
        if self.starts.is_empty() {
            self.began_at = at;
        }
        push(&mut self.starts, Start { at, version: version.to_owned() });
    }

    /// How it stands.
    pub(crate) fn look(&mut self, at: f64, status: &Status) {
        self.at = at;
        self.flipped(&status.cutover);
        let verify = status.verify.clone().without_keys();
        self.verified(&verify);
        self.status = Status { verify, ..status.clone() };
    }

    /// Clients have moved. Told twice, or late, it is one flip at its time.
    pub(crate) fn flipped(&mut self, flip: &Cutover) {
        if flip.at.is_none() || self.flips.iter().any(|known| known.at == flip.at) {
            return;
        }
        push(&mut self.flips, Cutover { last_error: None, ..flip.clone() });
        self.flips.sort_by(|one, other| one.at.partial_cmp(&other.at).unwrap_or(Ordering::Equal));
    }

    fn verified(&mut self, verify: &Verify) {
        let known = self.verifies.last().is_some_and(|last| last.finished_at >= verify.finished_at);
        if verify.finished_at.is_some() && !known && verify.state != VerifyState::Running {
            push(&mut self.verifies, verify.clone());
        }
    }

    pub(crate) fn text(&self) -> String {
        let title = format!("Report of a migration, {}\n", moment(self.at));
        title + &as_text(&parts(self))
    }

    /// For a printer: two pages.
    pub(crate) fn html(&self) -> String {
        as_page("Report of a migration", &moment(self.at), &parts(self))
    }

    /// The longest that a flip held clients.
    fn longest_hold(&self) -> Option<u64> {
        self.flips.iter().filter_map(|flip| flip.hold_ms).max()
    }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == KEPT {
        list.remove(0);
    }
    list.push(item);
}

/// A title, and rows below it.
pub(crate) type Part = (&'static str, Vec<Vec<String>>);

/// Parts in columns.
pub(crate) fn as_text(parts: &[Part]) -> String {
    text::columns_of(parts)
}

/// Parts as one file that a browser shows and prints.
pub(crate) fn as_page(title: &str, note: &str, parts: &[Part]) -> String {
    html::page(title, note, parts)
}

/// A moment as tickets have it: `2026-11-25 13:05:00 UTC`.
pub(crate) fn moment(unix: f64) -> String {
    // After a civil calendar whose year begins in March, so that a leap day is the last.
    let seconds = unix.max(0.0).trunc() as i64;
    let (days, of_day) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The parts of every form of the report: a title, and its rows.
fn parts(report: &Report) -> Vec<Part> {
    let status = &report.status;
    let pair = |name: &str, value: String| vec![name.to_owned(), value];
    let server = |server: &Server| format!("{} (version {})", server.address, server.version);
    let hold = report.longest_hold().map_or("no flip yet".to_owned(), |hold| format!("{hold} ms"));
    let last = report.starts.last().map_or("", |start| start.version.as_str());
    let summary = vec![
        pair("migration", report.migration.clone()),
        pair("phase", format!("{}, the {} serves", status.phase, status.primary)),
        pair("began", moment(report.began_at)),
        pair("source", server(&status.source)),
        pair("target", server(&status.target)),
        pair("crossfade", last.to_owned()),
        pair("processes", report.starts.len().to_string()),
        pair("configuration", format!("SHA-256 {}", report.configuration)),
        pair("longest hold of a flip", hold),
        pair("longest wait of a client", format!("{:.1} ms", report.longest_wait_seconds * 1e3)),
    ];
    let counts = &report.counts;
    let mut counted = vec![
        pair("commands of clients", counts.commands.to_string()),
        pair("keys copied first", counts.copied.to_string()),
        pair("mirrored, answered as expected", counts.applied.to_string()),
        pair("mirrored, another answer: copied again", counts.mismatched.to_string()),
        pair("mirrored, refused: copied again", counts.failed.to_string()),
    ];
    let doubts = counts.recopies.iter().filter(|(_, count)| **count > 0);
    let doubts = doubts.map(|(cause, count)| pair(cause, format!("{count} keys copied again")));
    // After the flip there is nothing that they could stand in the way of.
    let blockers = status.blockers.iter().filter(|_| status.primary == Side::Source);
    counted.extend(blockers.map(|blocker| pair("in the way now", blocker.clone())));
    let told = |at: Option<f64>| at.map(moment).unwrap_or_default();
    let flips = report.flips.iter().map(|flip| {
        let (to, hold) = (flip.to.unwrap_or_default(), flip.hold_ms.unwrap_or_default());
        vec![told(flip.at), format!("to the {to}"), format!("held {hold} ms")]
    });
    let verifies = report.verifies.iter().map(|found| {
        let Verify { checked, missing, extra, different, repaired, .. } = found;
        let counts = format!(
            "{checked} checked, {missing} missing, {extra} extra, {different} different, \
             {repaired} repaired"
        );
        vec![told(found.finished_at), found.state.name().to_owned(), counts]
    });
    let deeds = report.audit.iter();
    let deeds = deeds.map(|deed| {
        vec![moment(deed.at), deed.actor.clone(), deed.action.clone(), deed.outcome.clone()]
    });
    vec![
        ("Summary", summary),
        ("Counted", counted),
        ("Doubts, and how they were mended", doubts.collect()),
        ("Flips", flips.collect()),
        ("Comparisons", verifies.collect()),
        ("Who did what", deeds.collect()),
    ]
}

/// The last of many rows, and how many come before them.
fn last(rows: &[Vec<String>], count: usize) -> (usize, &[Vec<String>]) {
    let skipped = rows.len().saturating_sub(count);
    (skipped, rows.get(skipped..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Sample;

    fn flip(at: f64, to: Side) -> Cutover {
        Cutover { at: Some(at), to: Some(to), hold_ms: Some(7), last_error: None }
    }

    fn report() -> Report {
        let mut report = Report { migration: "ab".to_owned(), ..Report::default() };
        report.started(1_700_000_000.0, "0.1.0");
        let cutover = flip(5.0, Side::Target);
        let mut status = Status { primary: Side::Target, cutover, ..Status::default() };
        status.verify.state = VerifyState::Clean;
        status.verify.finished_at = Some(3.0);
        report.look(1_700_000_009.0, &status);
        report.look(1_700_000_010.0, &status);
        let deed = |number: usize| Deed {
            at: number as f64,
            actor: "<b>&\"".to_owned(),
            action: format!("deed {number}"),
            outcome: String::new(),
        };
        report.audit = (0..300).map(deed).collect();
        report
    }

    #[test]
    fn it_survives_the_process_and_belongs_to_one_migration() {
        let dir = tempfile::tempdir().unwrap();
        report().save(dir.path()).unwrap();
        assert_eq!(Report::open(Some(dir.path()), "ab"), report());
        assert_eq!(Report::open(Some(dir.path()), "cd").starts, []);
        assert_eq!(Report::read(dir.path()).unwrap(), report());
    }

    #[test]
    fn each_flip_and_each_comparison_is_told_once() {
        let report = report();
        assert_eq!((report.flips.len(), report.verifies.len()), (1, 1));
        assert_eq!(report.flips[0], flip(5.0, Side::Target));
    }

    #[test]
    fn a_flip_that_is_told_after_the_next_one_comes_before_it() {
        let mut report = report();
        for at in [4.0, 5.0, 4.0] {
            report.flipped(&flip(at, Side::Target));
        }
        let times: Vec<_> = report.flips.iter().filter_map(|flip| flip.at).collect();
        assert_eq!(times, [4.0, 5.0]);
    }

    #[test]
    fn no_name_of_a_key_is_in_it() {
        let mut status = Status::default();
        let sample = Sample { key: "card:4711".to_owned(), ..Sample::default() };
        status.verify = Verify { finished_at: Some(9.0), samples: vec![sample], ..status.verify };
        let mut report = report();
        report.look(2.0, &status);
        assert!(!serde_json::to_string(&report).unwrap().contains("4711"));
    }

    #[test]
    fn a_moment_is_told_in_words_that_everybody_reads_alike() {
        assert_eq!(moment(1_709_210_096.7), "2024-02-29 12:34:56 UTC");
        assert_eq!(moment(0.0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(1_767_225_599.0), "2025-12-31 23:59:59 UTC");
    }

    #[test]
    fn no_name_is_taken_for_markup_and_the_last_deeds_are_told() {
        let html = report().html();
        assert!(html.contains("&lt;b&gt;&amp;&quot;") && !html.contains("<b>"));
        for text in [html, report().text()] {
            assert!(text.contains("deed 299") && !text.contains("deed 100\u{0}"));
            assert!(text.contains("earlier"), "{text}");
        }
    }
}
