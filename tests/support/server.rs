//! A real Redis or Valkey server with a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

use super::process::Process;
use super::resp::{Resp, Words};
use super::rng::Rng;
use super::wait_until;

/// Below the range that the system takes for outgoing connections, so that a restart gets its port back.
const PORTS: std::ops::Range<u64> = 10_000..32_000;

/// What is answered is in the file, though not on the disk: it survives a kill of the process. With the
/// default a server answers up to two seconds before it writes, while the disk is busy.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "no"];

/// A server on loopback; it dies with this value.
pub struct Server {
    process: Process,
    directory: TempDir,
    program: PathBuf,
    options: Vec<String>,
    port: u16,
    user: Option<String>,
    password: Option<String>,
}

impl Server {
    /// An empty server in the source's role.
    pub fn source() -> Self {
        Self::source_with(&[])
    }

    /// An empty server in the target's role.
    pub fn target() -> Self {
        Self::target_with(&[])
    }

    /// A source with options as on the command line: `["--maxmemory", "10mb"]`.
    pub fn source_with(options: &[&str]) -> Self {
        Self::start(&program("CROSSFADE_TEST_SOURCE"), options)
    }

    /// A target with options.
    pub fn target_with(options: &[&str]) -> Self {
        Self::start(&program("CROSSFADE_TEST_TARGET"), options)
    }

    /// A source that keeps acknowledged writes through a kill.
    pub fn durable_source() -> Self {
        Self::source_with(&DURABLE)
    }

    /// A target that keeps acknowledged writes through a kill.
    pub fn durable_target() -> Self {
        Self::target_with(&DURABLE)
    }

    /// Starts the program on a free port and waits until it answers.
    pub fn start(program: &Path, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let password = value_of(&options, "--requirepass");
        let mut ports = Rng::arbitrary();
        for _ in 0..20 {
            let port = u16::try_from(PORTS.start + ports.below(PORTS.end - PORTS.start)).unwrap();
            let mut process = spawn(program, directory.path(), port, &options);
            if came_up(&mut process, port, directory.path()) {
                let program = program.to_owned();
                return Self { process, directory, program, options, port, user: None, password };
            }
        }
        panic!("{} does not start: {}", program.display(), read_log(directory.path()));
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the default user logs in with.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The server's directory: its socket, its dump, its log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The URL with the credentials that administer the server.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{}", self.address()),
            None => format!("redis://{}", self.address()),
        }
    }

    /// A connection as the default user, past the password.
    pub fn client(&self) -> Resp {
        let mut client = Resp::connect(&self.address());
        if let Some(password) = &self.password {
            client.ok(["AUTH", password]);
        }
        client
    }

    /// One request on a connection of its own, that must succeed.
    pub fn ok(&self, request: impl Words) -> super::Value {
        self.client().ok(request)
    }

    /// The number of keys in a database.
    pub fn size(&self, database: u32) -> i64 {
        let mut client = self.client();
        client.ok(format!("SELECT {database}"));
        client.ok("DBSIZE").integer()
    }

    /// A number that `INFO` tells.
    pub fn info(&self, field: &str) -> i64 {
        let info = self.ok("INFO everything").text();
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {field}"))
    }

    /// Kills at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops answering without closing anything.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Goes on where `freeze` stopped it.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Starts again after a kill, with what it had made durable.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.program, self.directory.path(), self.port, &self.options);
        let address = self.address();
        wait_until("the server answers again", || answers(&address));
    }

    /// The same with more options, and without waiting for more than any answer.
    pub fn restart_with(&mut self, options: &[&str]) {
        self.kill();
        let options: Vec<String> =
            self.options.iter().cloned().chain(options.iter().map(|&o| o.to_owned())).collect();
        self.process = spawn(&self.program, self.directory.path(), self.port, &options);
        let address = self.address();
        wait_until("the server accepts connections", || Resp::try_connect(&address).is_ok());
    }

    /// Starts again after a kill, with nothing.
    pub fn restart_empty(&mut self) {
        self.kill();
        for entry in std::fs::read_dir(self.directory.path()).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                std::fs::remove_dir_all(entry.path()).unwrap();
            } else {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        self.restart();
    }

    /// Whether the server has a command.
    pub fn knows(&self, command: &str) -> bool {
        self.ok(format!("COMMAND INFO {command}")).elements()[0] != super::Value::Null
    }

    /// Whether the server is at least this version.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let info = self.ok("INFO server").text();
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()))
        };
        let version = field("redis_version:").expect("a version");
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
    }
}

fn program(variable: &str) -> PathBuf {
    std::env::var(variable).unwrap_or_else(|_| "redis-server".to_owned()).into()
}

fn value_of(options: &[String], name: &str) -> Option<String> {
    let position = options.iter().position(|option| option == name)?;
    options.get(position + 1).cloned()
}

fn spawn(program: &Path, directory: &Path, port: u16, options: &[String]) -> Process {
    let child = Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--logfile", "server.log", "--dir"])
        .arg(directory)
        .args(options)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    Process::new(child)
}

/// Waits for an answer, or for the end of a process that did not get its port.
fn came_up(process: &mut Process, port: u16, directory: &Path) -> bool {
    let address = format!("127.0.0.1:{port}");
    let mut up = false;
    wait_until("the server answers or ends", || {
        // Another test's server may answer at the port that ours did not get.
        up = answers(&address) && read_log(directory).contains("Ready to accept connections");
        up || process.ended().is_some()
    });
    up && process.ended().is_none()
}

/// Any reply but LOADING will do: a password may be wanted.
fn answers(address: &str) -> bool {
    let reply = Resp::try_connect(address).and_then(|mut client| client.try_call("PING"));
    reply.is_ok_and(|reply| !reply.text().starts_with("LOADING"))
}

fn read_log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("server.log")).unwrap_or_default()
}
