//! A time of day of one's own for a process, that a test sets as an operator or NTP would.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

use super::crossfade::Launch;
use super::server::Server;
use super::snapshot::now;

/// The library that is preloaded, made by the compiler that links the tests too.
const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c");

/// A clock for as many processes as shall go by it.
pub struct Clock(TempDir);

impl Clock {
    /// One that is so many seconds ahead of the machine's.
    pub fn ahead(seconds: i64) -> Self {
        let clock = Self(tempfile::tempdir().unwrap());
        let library = clock.path("clock.so");
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O", "-o"])
            .args([library.as_os_str(), LIBRARY.as_ref()])
            .status()
            .expect("cc runs");
        assert!(compiler.success(), "cc makes no library of {LIBRARY}");
        clock.set(seconds);
        clock
    }

    /// A step to so many seconds ahead of the machine's clock.
    pub fn set(&self, seconds: i64) {
        // In place: whoever goes by it has mapped the file.
        let file = File::options().create(true).truncate(false).write(true).open(self.file());
        file.unwrap().write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    fn seconds(&self) -> i64 {
        i64::from_ne_bytes(fs::read(self.file()).unwrap().try_into().unwrap())
    }

    /// An empty server that goes by this clock.
    pub fn server(&self) -> Server {
        let words: Vec<String> =
            self.variables().iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        let program = self.path("server");
        let script = format!("#!/bin/sh\n{} exec redis-server \"$@\"\n", words.join(" "));
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let server = Server::start(&program, &[]);
        let time = server.ok("TIME").elements()[0].integer();
        assert!((time - now() / 1000 - self.seconds()).abs() < 60, "it goes by another clock");
        server
    }

    /// A crossfade that goes by this clock.
    pub fn launch(&self, launch: Launch) -> Launch {
        self.variables().iter().fold(launch, |launch, (name, value)| launch.variable(name, value))
    }

    fn variables(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        [("LD_PRELOAD", text(self.path("clock.so"))), ("TEST_CLOCK", text(self.file()))]
    }

    fn file(&self) -> PathBuf {
        self.path("ahead")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
