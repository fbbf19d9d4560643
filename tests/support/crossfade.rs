//! The real binary: started, driven by its admin API, stopped, and its log read.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::admin::{Admin, Answer};
use super::log::Log;
use super::process::Process;
use super::resp::Resp;
use super::server::Server;
use super::{wait_for, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_crossfade");

/// What a start of `crossfade run` came to.
enum Start {
    Ready { listen: String, admin: String },
    Ended(ExitStatus),
}

/// How a command that ran to its end ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

/// The options of a `crossfade run` to be.
pub struct Launch {
    command: Command,
    expected: Vec<String>,
}

impl Launch {
    /// `run` between two servers, on free ports.
    pub fn between(source: &Server, target: &Server) -> Self {
        Self::urls(&source.url(), &target.url())
    }

    /// `run` between two URLs, on free ports.
    pub fn urls(source: &str, target: &str) -> Self {
        let mut command = command();
        command.args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--source", source, "--target", target]);
        Self { command, expected: Vec::new() }
    }

    /// An option with its value.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.command.args([name, value]);
        self
    }

    /// A flag.
    pub fn flag(mut self, name: &str) -> Self {
        self.command.arg(name);
        self
    }

    /// A variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The directory that survives the process.
    pub fn state_dir(self, directory: &Path) -> Self {
        self.option("--state-dir", directory.to_str().unwrap())
    }

    /// A text that a warning or an error of the log may hold.
    pub fn expect_log(mut self, text: &str) -> Self {
        self.expected.push(text.to_owned());
        self
    }

    /// The command line so far.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Starts and waits for the ready line.
    pub fn start(mut self) -> Crossfade {
        let (process, log, start) = self.spawn();
        match start {
            Start::Ready { listen, admin } => {
                let admin = Admin::at(&admin);
                Crossfade { process, log, listen, admin, expected: self.expected }
            }
            Start::Ended(status) => {
                log.print_tail();
                panic!("crossfade run ended with {status} before it was ready");
            }
        }
    }

    /// Starts what must refuse to run, and returns how it ended.
    pub fn refused(mut self) -> Outcome {
        let (_process, log, start) = self.spawn();
        match start {
            Start::Ready { .. } => panic!("crossfade run is ready, though it should refuse"),
            Start::Ended(status) => Outcome {
                code: status.code().expect("an exit code"),
                stdout: String::new(),
                stderr: log.lines().join("\n"),
            },
        }
    }

    fn spawn(&mut self) -> (Process, Log, Start) {
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary starts");
        let log = Log::collect(child.stderr.take().unwrap());
        let mut process = Process::new(child);
        let start = wait_for("crossfade run is ready or ends", || {
            ready_line(&log)
                .or_else(|| process.ended().filter(|_| log.is_complete()).map(Start::Ended))
        });
        (process, log, start)
    }
}

/// A running `crossfade run`; killed on drop.
pub struct Crossfade {
    process: Process,
    log: Log,
    listen: String,
    admin: Admin,
    expected: Vec<String>,
}

impl Crossfade {
    /// Where clients connect.
    pub fn address(&self) -> String {
        self.listen.clone()
    }

    /// A client of the proxy.
    pub fn client(&self) -> Resp {
        Resp::connect(&self.listen)
    }

    /// The admin API.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// What it said so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Announces warnings and errors that hold the text.
    pub fn expect_log(&mut self, text: &str) {
        self.expected.push(text.to_owned());
    }

    /// The status object.
    pub fn status(&self) -> Value {
        self.admin.status()
    }

    /// The phase.
    pub fn phase(&self) -> String {
        self.status()["phase"].as_str().expect("a phase").to_owned()
    }

    /// Waits until the status satisfies; its last sight is printed when it never does.
    pub fn wait_status(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let started = std::time::Instant::now();
        while started.elapsed() < super::PATIENCE {
            last = self.status();
            if holds(&last) {
                return last;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("waited in vain until {what}; the status is {last:#}");
    }

    /// Waits for a phase.
    pub fn wait_phase(&self, phase: &str) {
        self.wait_status(&format!("the phase is {phase}"), |status| status["phase"] == phase);
    }

    /// Waits until nothing stands between the two servers: the promise under which they are equal.
    pub fn wait_converged(&self) {
        self.wait_status("nothing stands between the servers", |status| {
            let mirror = &status["mirror"];
            let settled = status["phase"] == "mirroring" || status["phase"] == "cut_over";
            settled
                && mirror["lag_seconds"].as_f64() == Some(0.0)
                && mirror["queued"] == 0
                && mirror["dirty_keys"] == 0
        });
    }

    /// Waits until, besides, a crash would leave nothing in doubt.
    pub fn wait_settled(&self) {
        self.wait_converged();
        self.wait_status("no group is recorded", |status| status["record"]["groups"] == 0);
    }

    /// Runs a verification to its end and returns its report.
    pub fn verify(&self) -> Value {
        let answer = self.admin.post("/v1/verify", &serde_json::json!({}));
        assert_eq!(answer.code, 202, "verify: {}", answer.text);
        let done = self.wait_status("the verification ends", |status| {
            let state = status["verify"]["state"].as_str();
            state == Some("clean") || state == Some("different")
        });
        done["verify"].clone()
    }

    /// Verifies and cuts over; both must succeed.
    pub fn cut_over(&self) -> Answer {
        self.wait_converged();
        let verified = self.verify();
        assert_eq!(verified["state"], "clean", "{verified:#}");
        let answer = self.admin.cutover(5_000, false);
        assert_eq!(answer.code, 200, "cut-over: {}; status {:#}", answer.text, self.status());
        assert_eq!(answer.json()["phase"], "cut_over");
        answer
    }

    /// Rolls back; it must succeed.
    pub fn roll_back(&self) -> Answer {
        let answer = self.admin.rollback(5_000);
        assert_eq!(answer.code, 200, "rollback: {}", answer.text);
        assert_eq!(answer.json()["phase"], "mirroring");
        answer
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes()
    }

    /// Kills at once.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Changes a limit of the system on the process: `["--fsize=0:unlimited"]`.
    pub fn limit(&self, limit: &str) {
        self.process.limit(limit);
    }

    /// Asks it to stop, without waiting.
    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Waits for the exit code after `terminate`.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.wait("crossfade ends").code()
    }

    /// Stops cleanly; the exit code must be 0 and the log without surprises.
    pub fn finish(mut self) {
        self.terminate();
        assert_eq!(self.exit_code(), Some(0), "a clean stop exits 0");
        wait_until("the log is complete", || self.log.is_complete());
        let surprises = self.log.unexpected(&self.expected);
        assert!(surprises.is_empty(), "unexpected in the log:\n{}", surprises.join("\n"));
    }
}

impl Drop for Crossfade {
    fn drop(&mut self) {
        self.process.kill();
        if std::thread::panicking() {
            self.log.print_tail();
        }
    }
}

/// Runs a command of the binary to its end.
pub fn run_cli(arguments: &[&str]) -> Outcome {
    run_cli_with(arguments, &[])
}

/// The same with variables of the environment.
pub fn run_cli_with(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = command();
    command.args(arguments).envs(variables.iter().copied());
    let output = command.output().expect("the binary starts");
    Outcome {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The binary without any option that the environment of the tests may hold.
pub fn command() -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CROSSFADE_") {
            command.env_remove(name);
        }
    }
    command
}

/// The addresses of `ready listen=ADDR admin=ADDR`, in a line of either log format.
fn ready_line(log: &Log) -> Option<Start> {
    let line = log.lines().into_iter().find(|line| line.contains("ready listen="))?;
    let value = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        let end = rest.find(|letter: char| letter.is_whitespace() || letter == '"');
        Some(rest[..end.unwrap_or(rest.len())].to_owned())
    };
    Some(Start::Ready { listen: value("ready listen=")?, admin: value(" admin=")? })
}
