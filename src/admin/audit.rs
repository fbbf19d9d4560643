//! What was done to a migration, by whom, and what came of it: for whoever asks afterwards.
//!
//! *Guarantees:* the last [`KEPT`] deeds are there, across restarts too where there is a directory to
//! keep them in; neither memory nor file grows without end; a disk that takes no more keeps nobody
//! from doing anything.
//!
//! *Must not know:* what can be done.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::warn;

const FILE: &str = "audit.jsonl";
/// Deeds that are remembered.
const KEPT: usize = 1000;
/// The file is written anew when it has so many lines.
const LINES: usize = 2 * KEPT;
/// Letters of each word of a deed.
const LETTERS: usize = 1000;

/// Who does what nobody has asked for.
pub(crate) const SELF: &str = "crossfade";

/// Something that was done, or tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deed {
    /// When, in Unix seconds.
    pub at: f64,
    /// By whom; [`SELF`] when nobody asked for it.
    pub actor: String,
    /// What.
    pub action: String,
    /// What came of it.
    pub outcome: String,
}

#[derive(Debug, Default)]
pub(crate) struct Audit(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    deeds: VecDeque<Deed>,
    /// Where they are kept, and how many lines it has.
    file: Option<(PathBuf, usize)>,
    failing: bool,
}

impl Audit {
    /// Takes up what an earlier process has left in the directory, and keeps what comes there.
    pub(crate) fn open(directory: Option<&Path>) -> Self {
        let Some(directory) = directory else { return Self::default() };
        let path = directory.join(FILE);
        let text = fs::read(&path).unwrap_or_default();
        // The last line of a process that was killed may be torn.
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let deeds: Vec<Deed> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let skipped = deeds.len().saturating_sub(KEPT);
        let deeds = deeds.into_iter().skip(skipped).collect();
        // Written anew at once: whatever was torn must not have a line joined to it.
        Self(Mutex::new(Inner { deeds, file: Some((path, LINES)), failing: false }))
    }

    /// Notes that something was done.
    pub(crate) fn note(&self, actor: &str, action: &str, outcome: &str) {
        let [actor, action, outcome] = [actor, action, outcome].map(shortened);
        self.0.lock().add(Deed { at: unix_now(), actor, action, outcome });
    }

    /// All that are remembered, the oldest first.
    pub(crate) fn deeds(&self) -> Vec<Deed> {
        self.0.lock().deeds.iter().cloned().collect()
    }
}

impl Inner {
    fn add(&mut self, deed: Deed) {
        if self.deeds.len() == KEPT {
            self.deeds.pop_front();
        }
        self.deeds.push_back(deed);
        let result = self.keep();
        if let Err(error) = &result
            && !self.failing
        {
            warn!(%error, "what is done can't be kept in the state directory");
        }
        self.failing = result.is_err();
    }

    fn keep(&mut self) -> io::Result<()> {
        let (deeds, failing) = (&self.deeds, self.failing);
        let Some((path, lines)) = &mut self.file else { return Ok(()) };
        if *lines >= LINES || failing {
            rewrite(path, deeds)?;
            *lines = deeds.len();
            return Ok(());
        }
        *lines += 1;
        let last: Vec<u8> = deeds.back().map(line).transpose()?.unwrap_or_default();
        options().append(true).open(path)?.write_all(&last)
    }
}

/// In seconds, for people: that clock may be set.
pub(crate) fn unix_now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn rewrite(path: &Path, deeds: &VecDeque<Deed>) -> io::Result<()> {
    let fresh = path.with_extension("jsonl.new");
    let text: Vec<Vec<u8>> = deeds.iter().map(line).collect::<io::Result<_>>()?;
    options().write(true).truncate(true).open(&fresh)?.write_all(&text.concat())?;
    fs::rename(fresh, path)
}

fn options() -> fs::OpenOptions {
    let mut options = File::options();
    options.create(true).mode(0o600);
    options
}

fn line(deed: &Deed) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(deed)?;
    line.push(b'\n');
    Ok(line)
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(LETTERS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(audit: &Audit) -> Vec<String> {
        audit.deeds().into_iter().map(|deed| deed.action).collect()
    }

    #[test]
    fn what_was_done_survives_the_process_and_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(Some(dir.path()));
        audit.note("alice", "cutover", "409 verify has not run");
        audit.note(SELF, "phase", "mirroring");
        drop(audit);
        let file = dir.path().join(FILE);
        let mut text = fs::read(&file).unwrap();
        text.extend(b"{\"at\":1.0,\"act");
        fs::write(&file, text).unwrap();
        let audit = Audit::open(Some(dir.path()));
        assert_eq!(actions(&audit), ["cutover", "phase"]);
        audit.note("bob", "verify", "started");
        assert_eq!(actions(&Audit::open(Some(dir.path()))), ["cutover", "phase", "verify"]);
    }

    #[test]
    fn neither_memory_nor_file_grows_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(Some(dir.path()));
        for number in 0..=3 * KEPT {
            audit.note("a", &number.to_string(), &"x".repeat(3 * LETTERS));
        }
        assert_eq!(audit.deeds().len(), KEPT);
        assert_eq!(actions(&audit).last(), Some(&(3 * KEPT).to_string()));
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(text.lines().count() <= LINES);
        assert!(text.len() < LINES * (LETTERS + 200));
        assert_eq!(actions(&Audit::open(Some(dir.path()))), actions(&audit));
    }

    #[test]
    fn a_disk_that_takes_nothing_keeps_nobody_from_doing_anything() {
        let audit = Audit::open(Some(Path::new("/nowhere/at/all")));
        audit.note("a", "verify", "started");
        assert_eq!(actions(&audit), ["verify"]);
    }
}
