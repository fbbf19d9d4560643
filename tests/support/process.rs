//! A child process that is stopped by signals and never outlives the test.

use std::process::{Child, Command, ExitStatus, Stdio};

use super::wait_for;

/// A running child, killed on drop.
pub struct Process(Child);

impl Process {
    /// Takes charge of a child.
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// Sends a signal by its name. `unsafe` is forbidden here, so `kill` does it.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.0.id().to_string()])
            .stderr(Stdio::null())
            .status()
            .expect("kill runs");
        assert!(status.success(), "cannot send {name} to process {}", self.0.id());
    }

    /// Changes a limit of the system on the process, by `prlimit`.
    pub fn limit(&self, limit: &str) {
        let status = Command::new("prlimit")
            .args([&format!("--pid={}", self.0.id()), limit])
            .status()
            .expect("prlimit runs");
        assert!(status.success(), "cannot set {limit} on process {}", self.0.id());
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }

    /// Waits for the end.
    pub fn wait(&mut self, what: &str) -> ExitStatus {
        wait_for(what, || self.ended())
    }

    /// Kills at once, without a word to the process.
    pub fn kill(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }

    /// The process' resident memory in bytes, from `/proc`.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
