//! What a restart needs, on disk: the phase, and whose migration it is. Which keys may differ is in
//! the [record](crate::lane::record) beside it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::error;
use xxhash_rust::xxh3::xxh3_64;

use super::remembered::Remembered;
use crate::proxy::DefaultUser;
use crate::status::{Phase, Side};

const VERSION: u32 = 1;
const FILE: &str = "state.json";
const LOCK: &str = "lock";

/// The durable part of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Of this format.
    pub version: u32,
    /// Which phase to come back in.
    pub phase: Phase,
    /// The source's address: whose state this is.
    pub source: String,
    /// The target's address.
    pub target: String,
    /// Which databases, in words.
    pub databases: String,
    /// The secret of the fingerprints.
    pub seed: [u8; 8],
    /// Whether the source lets in clients that do not log in.
    pub admits_anonymous: bool,
    /// Digests of the passwords that the source takes from its default user.
    pub passwords: Vec<String>,
    /// Whether the side that serves has come back (nearly) empty, and the operator has not decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emptied: bool,
    /// Function libraries on the target that are somebody else's, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spared_libraries: Option<BTreeSet<String>>,
    /// The servers, for a start that finds one of them away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered: Option<Remembered>,
}

/// The state as it is written.
#[derive(Serialize)]
struct Sealed<'a> {
    #[serde(flatten)]
    state: &'a State,
    /// Over the rest.
    checksum: String,
}

/// Why a state directory can't be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process has it.
    #[error("{}: in use by another crossfade", .0.display())]
    InUse(PathBuf),
    /// It is not what we wrote.
    #[error("{}: damaged ({reason}); move it away to start anew", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is of a newer crossfade.
    #[error("{}: written by a newer crossfade (format {version})", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// It belongs to a migration of other servers.
    #[error("{}: belongs to the migration of {source_address} to {target}", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// The source that it names.
        source_address: String,
        /// The target that it names.
        target: String,
    },
}

/// A directory that this process has for itself.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl State {
    /// A new migration.
    pub fn new(source: String, target: String, databases: String, seed: [u8; 8]) -> Self {
        Self {
            version: VERSION,
            phase: Phase::Backfilling,
            source,
            target,
            databases,
            seed,
            admits_anonymous: false,
            passwords: Vec::new(),
            emptied: false,
            spared_libraries: None,
            remembered: None,
        }
    }

    /// The side that serves.
    pub(super) fn primary(&self) -> Side {
        self.phase.primary()
    }

    /// What is asked of the default user.
    pub fn default_user(&self) -> DefaultUser {
        let (anonymous, passwords) = (self.admits_anonymous, self.passwords.clone());
        DefaultUser { anonymous, passwords }
    }

    /// Stands for the migration in the names of connections and in the record.
    pub fn tag(&self) -> String {
        format!("{:08x}", xxh3_64(&self.seed) >> 32)
    }

    fn checksum(&self) -> serde_json::Result<String> {
        Ok(format!("{:016x}", xxh3_64(&serde_json::to_vec(self)?)))
    }
}

impl StateDir {
    /// Creates the directory when it is missing, and locks it.
    ///
    /// # Errors
    /// It can't be written, or another process has it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let fault = |error| StateError::Io { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(fault)?;
        let lock = File::create(path.join(LOCK)).map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(error)) => Err(fault(error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was kept, if anything was.
    ///
    /// # Errors
    /// It is not readable, damaged, newer, or of another migration than `mine`.
    pub fn load(&self, mine: &State) -> Result<Option<State>, StateError> {
        let path = self.path.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::Io { path, error }),
        };
        let damaged = |reason: &dyn std::fmt::Display| StateError::Damaged {
            path: path.clone(),
            reason: reason.to_string(),
        };
        let raw: serde_json::Value = serde_json::from_str(&text).map_err(|e| damaged(&e))?;
        let version = raw.get("version").and_then(serde_json::Value::as_u64);
        let version = version.ok_or_else(|| damaged(&"no version"))?;
        if version > u64::from(VERSION) {
            let version = u32::try_from(version).unwrap_or(u32::MAX);
            return Err(StateError::Newer { path, version });
        }
        let checksum = raw.get("checksum").and_then(serde_json::Value::as_str).map(str::to_owned);
        let state: State = serde_json::from_value(raw).map_err(|e| damaged(&e))?;
        if checksum != Some(state.checksum().map_err(|e| damaged(&e))?) {
            return Err(damaged(&"the checksum does not fit"));
        }
        let other =
            |state: &State| (state.source.clone(), state.target.clone(), state.databases.clone());
        if other(&state) != other(mine) {
            let (source_address, target) = (state.source, state.target);
            return Err(StateError::Foreign { path, source_address, target });
        }
        Ok(Some(state))
    }

    /// Writes `state` beside the one that counts: whoever is about to do what can't be undone finds
    /// out first whether the disk takes it.
    ///
    /// # Errors
    /// The system's.
    pub fn rehearse(&self, state: &State) -> Result<(), StateError> {
        let fresh = self.fresh();
        let fault = |error| StateError::Io { path: fresh.clone(), error };
        let sealed = state.checksum().map(|checksum| Sealed { state, checksum });
        let text = sealed.and_then(|sealed| serde_json::to_vec_pretty(&sealed));
        let text = text.map_err(|error| fault(error.into()))?;
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh).map_err(fault)?;
        file.write_all(&text).map_err(fault)?;
        file.sync_all().map_err(fault)
    }

    fn fresh(&self) -> PathBuf {
        self.path.join("state.json.new")
    }

    /// Keeps `state`: after this returns it survives the loss of power.
    ///
    /// # Errors
    /// The system's; then the old state stands.
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        self.replace(state, |directory| File::open(directory)?.sync_all())
    }

    /// Puts `state` into the place of what there was, which comes back when `sync` fails: whoever is
    /// told that nothing has changed must find it so after a crash, too.
    fn replace(
        &self,
        state: &State,
        sync: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), StateError> {
        self.rehearse(state)?;
        let (file, fresh) = (self.path.join(FILE), self.fresh());
        let before = fs::read(&file);
        fs::rename(&fresh, &file)
            .and_then(|()| sync(&self.path).inspect_err(|_| self.put_back(before)))
            .map_err(|error| StateError::Io { path: fresh, error })
    }

    fn put_back(&self, before: io::Result<Vec<u8>>) {
        let file = self.path.join(FILE);
        let done = match before {
            Ok(text) => {
                fs::write(self.fresh(), text).and_then(|()| fs::rename(self.fresh(), &file))
            }
            Err(_) => fs::remove_file(&file),
        };
        if let Err(error) = done {
            let path = file.display();
            error!(%error, "{path} may say what is not so: mend the disk before the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::new("a:1".into(), "b:2".into(), "all".into(), [1; 8])
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateDir::open(&dir.path().join("made/when/missing")).unwrap();
        assert_eq!(store.load(&state()).unwrap(), None);
        let cut_over = State { phase: Phase::CutOver, ..state() };
        store.save(&cut_over).unwrap();
        assert_eq!(store.load(&state()).unwrap(), Some(cut_over));
    }

    #[test]
    fn a_state_that_could_not_be_made_durable_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateDir::open(dir.path()).unwrap();
        let fails = |_: &Path| Err(io::Error::other("no"));
        let cut_over = State { phase: Phase::CutOver, ..state() };
        assert!(store.replace(&cut_over, fails).is_err());
        assert_eq!(store.load(&state()).unwrap(), None);
        store.save(&state()).unwrap();
        assert!(store.replace(&cut_over, fails).is_err());
        assert_eq!(store.load(&state()).unwrap(), Some(state()));
    }

    #[test]
    fn a_directory_that_is_not_ours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateDir::open(dir.path()).unwrap();
        assert!(matches!(StateDir::open(dir.path()), Err(StateError::InUse(_))));
        store.save(&State { source: "c:3".into(), ..state() }).unwrap();
        assert!(matches!(store.load(&state()), Err(StateError::Foreign { .. })));
        store.save(&State { version: 99, ..state() }).unwrap();
        assert!(matches!(store.load(&state()), Err(StateError::Newer { version: 99, .. })));
        store.save(&state()).unwrap();
        let file = dir.path().join(FILE);
        let good = fs::read_to_string(&file).unwrap();
        for bad in ["{".to_owned(), good.replace("backfilling", "cut_over")] {
            fs::write(&file, bad).unwrap();
            assert!(matches!(store.load(&state()), Err(StateError::Damaged { .. })));
        }
    }
}
