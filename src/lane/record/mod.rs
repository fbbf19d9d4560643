//! The write-intent record on disk: which groups of keys a crash would leave in doubt.
//!
//! *What it is:* a file that says what the engine's [intent](crate::engine::Engine::intent) says, so
//! that it outlives the process.
//!
//! *Guarantees:* what has been written is there after the process was killed, because it is the
//! kernel's; after a crash of the machine, or with other servers than it was written for, it is not
//! believed. What can't be written makes the file go away, and no record means everything.
//!
//! *Must not know:* what a group stands for, when one is let go.
//!
//! # What a crash costs
//!
//! Keys fall into 65,536 groups by a hash of their name. Before a write is sent to the primary, its group is marked in a file of 20 KiB in
//! the state directory, the *write-intent record*; some 0.2 to 0.4 s after everything done to the group has arrived on the secondary, the
//! mark goes again. So whatever is not marked when the process dies, by `kill -9` or otherwise, is equal on both servers. A restart scans
//! both sides, copies the marked groups, in the direction of the phase, and removes from the follower what the primary no longer has;
//! `status` shows lag and dirty keys until that is done, and the log says how many groups it were.
//!
//! - **What it covers.** A killed process. The marks are in the kernel's page cache, not synced, so after a crash of the *machine* (it has
//!   another boot id) the record is not believed and every key is copied again; nor is it when one of the servers is another process than
//!   it was or has another replication ID, or when the file is missing or damaged. Each of these is a warning in the log and `backfill.cause` in the status. The
//!   phase itself is synced. After a clean stop the record is, too, and holds across a reboot.
//! - **What leaves everything in doubt** until it has arrived: `FLUSHALL`, `FLUSHDB`, `SWAPDB`, and with `--scripts exact` each script, because
//!   what it writes is told only afterwards. An application that runs scripts without a pause has everything copied again after a crash;
//!   `--scripts declared` marks only a script's `KEYS`.
//! - **Its cost.** A mark that is set costs two bit operations, new ones one write to the page cache for each batch of commands. It drowns
//!   in the noise: `SET` of 64 bytes to a million random keys by 50 clients took 15.9 and 18.2 µs of crossfade's CPU a command without a
//!   state directory and 13.7 and 15.7 with one (two pairs), with pipelines of 16 it took 3.4 without and 3.4 with (one pair), on two busy
//!   shared cores on 2026-11-22. Keep the directory on a local disk.
//! - **A disk that takes no more** stops no client. The record is removed, so that nobody believes it, begun anew as soon as possible, and
//!   until then it is a blocker in `status` and `record_failing` in the metrics. If not even the removal succeeds (a file system that
//!   turned read-only), the log names the file to remove before the next start.
//! - **Half a value.** Big values are built under a name that begins with `crossfade:tmp:` and are moved into their place whole. What a
//!   killed process was building on the follower is removed by the next start that copies anything there, and ends by itself ten
//!   minutes after its last part; neither verify nor `crossfade compare` counts it. Two migrations into the same database of one
//!   server remove each other's: then the value is copied again.
//! - **Not covered:** with `--target-policy overwrite`, a key deleted in the last moments before a crash may stay on the target, because
//!   nobody can tell it from the target's own (verify reports it as `extra`); a script that was loaded in those moments may be
//!   unknown to the follower.
//!
//! A start is refused with status 1, and changes nothing on either server, when the state directory belongs to other servers, is in use by
//! another process, was written by a newer crossfade, or when `state.json` is damaged; and, without any state, when the source bears the
//! marker of a cut-over.

mod image;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::{error, warn};

use crate::engine::ledger::{Groups, WORDS};
use image::{CELL, CELLS, HEADER};

const FILE: &str = "record";
const FRESH: &str = "record.new";

/// What a record is worth something for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The migration.
    pub tag: String,
    /// The process that the source was, and whose data it held.
    pub source: String,
    /// The process that the target was, and whose data it held.
    pub target: String,
}

/// Why there is no record to go by: everything may differ.
#[derive(Debug, Error)]
pub(crate) enum Unusable {
    /// There is none.
    #[error("there is no write-intent record")]
    Missing,
    /// The system says no.
    #[error("the write-intent record can't be read: {0}")]
    Io(io::Error),
    /// It is not what we wrote.
    #[error("the write-intent record is damaged")]
    Damaged,
    /// What the kernel had not put on the disk is lost.
    #[error("the machine was restarted without a clean stop of crossfade")]
    Rebooted,
    /// One of the servers may hold something else than it did.
    #[error("the {0} was restarted or replaced meanwhile")]
    Replaced(&'static str),
}

/// The file, open for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Record {
    directory: PathBuf,
    file: File,
    identity: Identity,
    /// What the file says.
    written: Groups,
    /// Reused for the bytes of each change.
    cells: Vec<u8>,
    fault: Option<String>,
}

impl Record {
    /// A new record that says everything, in place of what there was.
    ///
    /// # Errors
    /// The system's; then there is none.
    pub(crate) fn create(directory: &Path, identity: Identity) -> io::Result<Self> {
        let fresh = directory.join(FRESH);
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&fresh)?;
        let written = Groups::full();
        let mut cells = Vec::with_capacity(CELLS);
        image::push_cells(&mut cells, written.words());
        let header = image::header(&identity, boot().as_deref());
        file.write_all_at(&header, 0)?;
        file.write_all_at(&cells, HEADER as u64)?;
        file.sync_all()?;
        fs::rename(&fresh, directory.join(FILE))?;
        File::open(directory)?.sync_all()?;
        let directory = directory.to_owned();
        Ok(Self { directory, file, identity, written, cells, fault: None })
    }

    /// The record that another process has left, and that this one goes on with.
    ///
    /// # Errors
    /// It can't be believed.
    pub(crate) fn open(directory: &Path, identity: Identity) -> Result<Self, Unusable> {
        let path = directory.join(FILE);
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
            Err(error) => return Err(Unusable::Io(error)),
        };
        // One byte more than there may be, or whatever the path leads to might have no end.
        let mut bytes = vec![0; HEADER + CELLS + 1];
        let length = read_at_most(&file, &mut bytes).map_err(Unusable::Io)?;
        let bytes = bytes.get(..length).unwrap_or_default();
        let (header, cells) = bytes.split_at_checked(HEADER).ok_or(Unusable::Damaged)?;
        let boot = boot();
        image::believe(header, &identity, boot.as_deref())?;
        let written = image::groups(cells).ok_or(Unusable::Damaged)?;
        let cells = Vec::with_capacity(CELLS);
        let directory = directory.to_owned();
        let record = Self { directory, file, identity, written, cells, fault: None };
        // From here on it may say less than it should after a crash of the machine: that must not
        // be believed, so it must be on the disk first.
        record.write_header(boot.as_deref()).map_err(Unusable::Io)?;
        Ok(record)
    }

    /// What the record says.
    pub(crate) fn groups(&self) -> &Groups {
        &self.written
    }

    /// Why the record can't be written; until there is another one, a crash leaves everything in
    /// doubt.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Makes the record say `groups`. If it can't, there is none any more.
    pub(crate) fn write(&mut self, groups: &Groups) {
        if self.fault.is_none()
            && let Err(error) = self.try_write(groups)
        {
            let reason = error.to_string();
            warn!(%reason, "the write-intent record can't be written: a crash would now mean that \
                            everything is copied again");
            self.fault = Some(reason);
            self.discard();
        }
    }

    /// Takes the file away, so that nobody believes it.
    pub(crate) fn discard(&self) {
        let path = self.directory.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = path.display();
                error!(%error, "remove {path} before the next start: it no longer says what differs");
            }
            _ => {}
        }
    }

    /// What it is worth something for.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Notes that another process is one of the servers now, and that everything has been copied.
    pub(crate) fn identify(&mut self, identity: Identity) {
        if self.identity != identity {
            self.identity = identity;
            let header = image::header(&self.identity, boot().as_deref());
            // If it can't be written, the next start copies everything once more.
            let _ = self.file.write_all_at(&header, 0);
        }
    }

    /// The process ends, and nothing is written any more: from now on the record holds for whatever
    /// happens to the machine.
    ///
    /// # Errors
    /// The system's; then it holds as before.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.file.sync_all()?;
        self.write_header(Some(image::CLOSED))
    }

    /// The changed words and those between them in one write. It overwrites what is there, so it
    /// needs no room on the disk.
    fn try_write(&mut self, groups: &Groups) -> io::Result<()> {
        let (old, new) = (self.written.words(), groups.words());
        let differs = |word: &usize| old.get(*word) != new.get(*word);
        let Some(first) = (0..WORDS).find(differs) else { return Ok(()) };
        let last = (first..WORDS).rfind(differs).unwrap_or(first);
        self.cells.clear();
        image::push_cells(&mut self.cells, new.get(first..=last).unwrap_or_default());
        self.file.write_all_at(&self.cells, (HEADER + first * CELL) as u64)?;
        self.written.clone_from(groups);
        Ok(())
    }

    fn write_header(&self, boot: Option<&str>) -> io::Result<()> {
        self.file.write_all_at(&image::header(&self.identity, boot), 0)?;
        self.file.sync_all()
    }
}

fn read_at_most(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

/// Changes whenever the machine starts; `None` where the system does not tell.
fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ledger::Group;

    fn identity() -> Identity {
        Identity { tag: "ab".into(), source: "s".into(), target: "t".into() }
    }

    fn some(ids: &[u16]) -> Groups {
        let mut groups = Groups::default();
        for id in ids {
            groups.insert(Group(*id));
        }
        groups
    }

    fn open(directory: &Path) -> Result<Groups, Unusable> {
        Record::open(directory, identity()).map(|record| record.groups().clone())
    }

    #[test]
    fn a_new_record_says_everything_and_later_what_it_was_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(open(dir.path()), Err(Unusable::Missing)));
        let mut record = Record::create(dir.path(), identity()).unwrap();
        assert!(open(dir.path()).unwrap().is_full());
        for groups in [some(&[0, 700, 65_535]), some(&[700]), some(&[]), some(&[64, 65])] {
            record.write(&groups);
            assert_eq!(open(dir.path()).unwrap(), groups);
        }
        assert_eq!(record.fault(), None);
    }

    #[test]
    fn a_record_of_other_servers_or_another_migration_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        Record::create(dir.path(), Identity { target: "u".into(), ..identity() }).unwrap();
        assert!(matches!(open(dir.path()), Err(Unusable::Replaced("target"))));
        Record::create(dir.path(), Identity { source: "u".into(), ..identity() }).unwrap();
        assert!(matches!(open(dir.path()), Err(Unusable::Replaced("source"))));
        let mut record =
            Record::create(dir.path(), Identity { tag: "cd".into(), ..identity() }).unwrap();
        assert!(matches!(open(dir.path()), Err(Unusable::Damaged)));
        record.identify(identity());
        assert!(open(dir.path()).is_ok());
    }

    #[test]
    fn after_a_crash_of_the_machine_only_a_closed_record_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::create(dir.path(), identity()).unwrap();
        record.write(&some(&[5]));
        record.write_header(Some("another boot")).unwrap();
        assert!(matches!(open(dir.path()), Err(Unusable::Rebooted)));
        record.close().unwrap();
        assert_eq!(open(dir.path()).unwrap(), some(&[5]));
        // Whoever opened it has gone on with it, so it is not closed any more.
        let header = fs::read(dir.path().join(FILE)).unwrap();
        assert!(!header.windows(7).any(|text| text == b" closed"));
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::create(dir.path(), identity()).unwrap();
        record.write(&some(&[5]));
        let path = dir.path().join(FILE);
        let good = fs::read(&path).unwrap();
        for place in [0, 30, HEADER - 1, HEADER, HEADER + 9, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 4;
            fs::write(&path, &bad).unwrap();
            assert!(open(dir.path()).is_err(), "byte {place}");
        }
        for length in [0, HEADER, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            assert!(matches!(open(dir.path()), Err(Unusable::Damaged)), "{length} bytes");
        }
        fs::write(&path, [good.as_slice(), &[0]].concat()).unwrap();
        assert!(matches!(open(dir.path()), Err(Unusable::Damaged)), "a byte too many");
    }

    #[test]
    fn what_cannot_be_written_leaves_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::create(dir.path(), identity()).unwrap();
        record.file = File::open(dir.path().join(FILE)).unwrap();
        record.write(&some(&[5]));
        assert!(record.fault().is_some());
        assert!(matches!(open(dir.path()), Err(Unusable::Missing)));
    }
}
