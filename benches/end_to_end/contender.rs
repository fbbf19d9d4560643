//! What may stand between the load and a server: nothing, crossfade, and the proxies of the field.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Result;
use crate::admin::Admin;
use crate::process::{PROXY_CORE, Process, Server, free_port, log_in, pinned};

const CROSSFADE: &str = env!("CARGO_BIN_EXE_crossfade");

/// A source with something in front of it.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) source: Server,
    pub(crate) proxy: Option<Process>,
    /// Of crossfade only.
    pub(crate) admin: Option<Admin>,
    _target: Option<Server>,
    _home: TempDir,
}

impl Contender {
    /// Everybody who can take part on this machine, and what each of them does.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let mut all = vec![Self::direct()?, Self::crossfade(Server::start()?)?];
        all.extend(Self::peer("nutcracker", Self::nutcracker)?);
        all.extend(Self::peer("haproxy", Self::haproxy)?);
        Ok(all)
    }

    fn peer(program: &str, start: fn() -> Result<Self>) -> Result<Option<Self>> {
        // Whatever it answers to an option: if it can be started, it is installed.
        let mut probe = Command::new(program);
        if probe.arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
            return start().map(Some);
        }
        println!("Left out: {program} is not installed.");
        Ok(None)
    }

    fn direct() -> Result<Self> {
        let source = Server::start()?;
        let port = source.port;
        Ok(Self::new("direct", port, source, None, tempfile::tempdir()?))
    }

    fn new(
        name: &'static str,
        port: u16,
        source: Server,
        proxy: Option<Process>,
        home: TempDir,
    ) -> Self {
        Self { name, port, source, proxy, admin: None, _target: None, _home: home }
    }

    /// crossfade as it is meant to run: a target that follows, and a state directory.
    pub(crate) fn crossfade(source: Server) -> Result<Self> {
        let (target, home) = (Server::start()?, tempfile::tempdir()?);
        let mut command = pinned(PROXY_CORE, CROSSFADE);
        command.args(["run", "--source", &source.url(), "--target", &target.url()]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state-dir"]);
        command.arg(home.path().join("state"));
        let mut process = Process::start(command, log_in(home.path()))?;
        let (port, admin) = process.wait_for(|process| addresses(&process.output()))?;
        let admin = Some(Admin::at(&admin));
        let this = Self::new("crossfade", port, source, Some(process), home);
        Ok(Self { admin, _target: Some(target), ..this })
    }

    fn nutcracker() -> Result<Self> {
        let (source, home, port) = (Server::start()?, tempfile::tempdir()?, free_port()?);
        let config = format!(
            "bench:\n  listen: 127.0.0.1:{port}\n  redis: true\n  hash: fnv1a_64\n  \
             distribution: ketama\n  servers:\n   - 127.0.0.1:{}:1\n",
            source.port
        );
        let mut command = pinned(PROXY_CORE, "nutcracker");
        command.args(["-a", "127.0.0.1", "-s", &free_port()?.to_string(), "-c"]);
        Self::configured("nutcracker", command, &config, source, port, home)
    }

    fn haproxy() -> Result<Self> {
        let (source, home, port) = (Server::start()?, tempfile::tempdir()?, free_port()?);
        let config = format!(
            "global\n  nbthread 1\n  maxconn 4096\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             listen bench\n  bind 127.0.0.1:{port}\n  server redis 127.0.0.1:{}\n",
            source.port
        );
        let mut command = pinned(PROXY_CORE, "haproxy");
        command.args(["-db", "-f"]);
        Self::configured("haproxy", command, &config, source, port, home)
    }

    /// A peer whose last argument is the configuration file.
    fn configured(
        name: &'static str,
        mut command: Command,
        config: &str,
        source: Server,
        port: u16,
        home: TempDir,
    ) -> Result<Self> {
        let file = home.path().join("config");
        std::fs::write(&file, config)?;
        command.arg(&file);
        let mut process = Process::start(command, log_in(home.path()))?;
        process.wait_for_port(port)?;
        Ok(Self::new(name, port, source, Some(process), home))
    }

    /// Waits until nothing is left to do for what was sent so far.
    pub(crate) fn settle(&self) -> Result<()> {
        self.admin.as_ref().map_or(Ok(()), Admin::settle)
    }
}

/// The port for clients and the admin address, from the line that says `ready`.
fn addresses(log: &str) -> Option<(u16, String)> {
    let (_, rest) = log.split_once("ready listen=")?;
    let (listen, rest) = rest.split_once(" admin=")?;
    let port = listen.rsplit_once(':')?.1.parse().ok()?;
    let end = rest.find(|sign: char| sign.is_whitespace() || sign == '"')?;
    Some((port, rest.get(..end)?.to_owned()))
}

/// A command of crossfade's that works on two servers by itself.
pub(crate) fn crossfade_between(verb: &str, source: &Server, target: &Server) -> Command {
    let mut command = Command::new(CROSSFADE);
    command.stdin(Stdio::null()).args([
        verb,
        "--source",
        &source.url(),
        "--target",
        &target.url(),
        "--json",
    ]);
    command.current_dir(Path::new("/"));
    command
}
