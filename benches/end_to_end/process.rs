//! Children that are pinned to a core, whose CPU time can be read, and that die with their handle.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;

/// Where servers and load run.
pub(crate) const SERVER_CORE: &str = "0";
/// Where a proxy runs, alone: what it could get done there is what it is measured by.
pub(crate) const PROXY_CORE: &str = "1";

/// Linux tells CPU time in ticks of 10 ms, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A command that will run on one core only. taskset replaces itself with the program, so the
/// child's process id is the program's.
pub(crate) fn pinned(core: &str, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core, program]).stdin(Stdio::null());
    command
}

pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Result<Self> {
        let sink = File::create(&log)?;
        let child = command.stdout(sink.try_clone()?).stderr(sink).spawn()?;
        Ok(Self { child, log })
    }

    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// The seconds of CPU that it has used so far, user and system.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        cpu_seconds(&stat, 11)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Polls until there is an answer, the process ends, or the time is up.
    pub(crate) fn wait_for<T>(&mut self, mut answer: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline && self.child.try_wait()?.is_none() {
            if let Some(found) = answer(self) {
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("a process did not start:\n{}", self.output()).into())
    }

    pub(crate) fn wait_for_port(&mut self, port: u16) -> Result<()> {
        self.wait_for(|_| TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time, of which `first` is the position after the name in a `stat` line.
fn cpu_seconds(stat: &str, first: usize) -> Result<f64> {
    let (_, fields) = stat.rsplit_once(") ").ok_or("malformed stat")?;
    let times = fields.split(' ').skip(first).take(2);
    Ok(times.flat_map(str::parse::<f64>).sum::<f64>() / TICKS_PER_SECOND)
}

/// The seconds of CPU of all children that have ended and been waited for.
pub(crate) fn children_cpu() -> Result<f64> {
    cpu_seconds(&std::fs::read_to_string("/proc/self/stat")?, 13)
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A redis-server that keeps nothing on disk.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    _home: TempDir,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        Self::start_on(SERVER_CORE)
    }

    pub(crate) fn start_on(core: &str) -> Result<Self> {
        let (port, home) = (free_port()?, tempfile::tempdir()?);
        let mut command = pinned(core, "redis-server");
        command.args(["--save", "", "--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]);
        command.arg(home.path());
        let mut process = Process::start(command, log_in(home.path()))?;
        process.wait_for_port(port)?;
        Ok(Self { process, port, _home: home })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> Result<redis::Connection> {
        Ok(redis::Client::open(self.url())?.get_connection()?)
    }
}

pub(crate) fn log_in(home: &Path) -> PathBuf {
    home.join("log")
}

pub(crate) fn server_version() -> String {
    let output = Command::new("redis-server").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    format!("Redis {}", version.unwrap_or("unknown"))
}
