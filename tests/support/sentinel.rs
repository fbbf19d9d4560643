//! A primary with a replica, watched over by sentinels that replace it within a second or two.

use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::process::Process;
use super::resp::{Resp, Value};
use super::rng::Rng;
use super::server::Server;
use super::wait_until;

/// So many sentinels, of whom two must agree.
const SENTINELS: usize = 3;
/// What a replica of an idle primary waits for.
const QUICK: [&str; 4] = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

/// A sentinel; it dies with this value.
pub struct Sentinel {
    process: Process,
    port: u16,
    _directory: TempDir,
}

/// A deployment; it dies with this value.
pub struct Deployment {
    sentinels: Vec<Sentinel>,
    servers: Vec<Server>,
    name: String,
    password: Option<String>,
}

impl Deployment {
    /// A primary with a replica, known by this name.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &[], None)
    }

    /// The same with options of the servers, and a password of the sentinels.
    pub fn start_with(name: &str, options: &[&str], password: Option<&str>) -> Self {
        let primary = Server::source_with(&[&QUICK, options].concat());
        let (host, port) = ("127.0.0.1", primary.port().to_string());
        let following = ["--replicaof", host, &port];
        let replica = Server::source_with(&[&QUICK, options, &following].concat());
        let password = password.map(str::to_owned);
        let sentinels = (0..SENTINELS)
            .map(|_| Sentinel::start(name, primary.port(), primary.password(), password.as_deref()))
            .collect();
        let servers = vec![primary, replica];
        let deployment = Self { sentinels, servers, name: name.to_owned(), password };
        deployment.wait_ready();
        deployment
    }

    /// What crossfade is given: the servers' credentials, the sentinels, the name.
    pub fn url(&self) -> String {
        let addresses: Vec<String> = self.sentinels.iter().map(Sentinel::address).collect();
        let account = self.servers[0].password().map_or(String::new(), |word| format!(":{word}@"));
        format!("redis+sentinel://{account}{}/{}", addresses.join(","), self.name)
    }

    /// Where the sentinels are.
    pub fn sentinels(&self) -> &[Sentinel] {
        &self.sentinels
    }

    /// Kills a sentinel.
    pub fn kill_sentinel(&mut self, index: usize) {
        self.sentinels[index].process.kill();
    }

    /// The server that the sentinels name.
    pub fn primary(&self) -> &Server {
        let port = self.primary_port();
        self.servers.iter().find(|server| server.port() == port).expect("one of ours")
    }

    /// The other one.
    pub fn replica(&self) -> &Server {
        let port = self.primary_port();
        self.servers.iter().find(|server| server.port() != port).expect("one of ours")
    }

    fn primary_port(&self) -> u16 {
        let question = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {}", self.name);
        let mut ports = self.sentinels.iter().filter_map(|sentinel| {
            let mut client = sentinel.client(self.password.as_deref())?;
            client.ok(question.clone()).texts()[1].parse().ok()
        });
        ports.next_back().expect("a sentinel that tells")
    }

    /// Has the replica take over, as an operator asks for it, while everybody is well.
    pub fn fail_over(&self) {
        let before = self.primary_port();
        wait_until("the sentinels fail over", || {
            let mut sentinel = self.sentinels[0].client(self.password.as_deref()).unwrap();
            let answer = sentinel.call(format!("SENTINEL FAILOVER {}", self.name));
            answer.text() == "OK" || self.primary_port() != before
        });
        self.wait_replaced(before);
    }

    /// Kills the primary, waits until the replica has taken over, and starts the old one again,
    /// which follows in the end. Gives the moment of its death.
    pub fn kill_primary(&mut self) -> Instant {
        let before = self.primary_port();
        let died = Instant::now();
        self.server(before).kill();
        self.wait_replaced(before);
        self.server(before).restart();
        died
    }

    /// Stops the primary until the replica has taken over, and lets it go on.
    pub fn freeze_primary(&mut self) {
        let before = self.primary_port();
        self.server(before).freeze();
        self.wait_replaced(before);
        self.server(before).thaw();
    }

    fn server(&mut self, port: u16) -> &mut Server {
        self.servers.iter_mut().find(|server| server.port() == port).expect("one of ours")
    }

    fn wait_replaced(&self, before: u16) {
        wait_until("another server is the primary", || {
            self.primary_port() != before && role(self.primary()) == "master"
        });
    }

    /// Waits until the sentinels know each other and the replica, and the replica has everything.
    pub fn wait_ready(&self) {
        for sentinel in &self.sentinels {
            wait_until("a sentinel knows everybody", || sentinel.knows_all(self));
        }
        wait_until("the replica follows", || {
            // A server that is made a replica closes its connections.
            let info = self.replica().client().try_call("INFO replication");
            info.is_ok_and(|info| {
                let info = info.text();
                info.contains("role:slave") && info.contains("master_link_status:up")
            })
        });
    }
}

fn role(server: &Server) -> String {
    match server.client().try_call("ROLE") {
        Ok(Value::Array(items)) => items[0].text(),
        _ => String::new(),
    }
}

impl Sentinel {
    fn start(name: &str, port: u16, server: Option<&str>, own: Option<&str>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut ports = Rng::arbitrary();
        for _ in 0..20 {
            let own_port = u16::try_from(32_000 + ports.below(700)).unwrap();
            let mut lines = vec![
                format!("port {own_port}"),
                "bind 127.0.0.1".to_owned(),
                format!("sentinel monitor {name} 127.0.0.1 {port} 2"),
                format!("sentinel down-after-milliseconds {name} 1500"),
                format!("sentinel failover-timeout {name} 4000"),
            ];
            lines.extend(server.map(|word| format!("sentinel auth-pass {name} {word}")));
            lines.extend(own.map(|word| format!("requirepass {word}")));
            let file = directory.path().join("sentinel.conf");
            std::fs::write(&file, lines.join("\n") + "\n").unwrap();
            let child = Command::new("redis-server")
                .arg(&file)
                .args(["--sentinel", "--logfile", "sentinel.log"])
                .current_dir(directory.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("redis-server is installed");
            let mut process = Process::new(child);
            let address = format!("127.0.0.1:{own_port}");
            let mut up = false;
            wait_until("the sentinel answers or ends", || {
                let log = std::fs::read_to_string(directory.path().join("sentinel.log"));
                let ours = log.is_ok_and(|log| log.contains("+monitor master"));
                up = ours && Resp::try_connect(&address).is_ok();
                up || process.ended().is_some()
            });
            if up {
                return Self { process, port: own_port, _directory: directory };
            }
        }
        panic!("no sentinel starts");
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn client(&self, password: Option<&str>) -> Option<Resp> {
        let mut client = Resp::try_connect(&self.address()).ok()?;
        if let Some(password) = password {
            client.ok(["AUTH", password]);
        }
        Some(client)
    }

    fn knows_all(&self, deployment: &Deployment) -> bool {
        let Some(mut client) = self.client(deployment.password.as_deref()) else { return false };
        let fields = client.ok(format!("SENTINEL MASTER {}", deployment.name)).texts();
        let field = |name: &str| {
            let place = fields.iter().position(|field| field == name)?;
            fields.get(place + 1).cloned()
        };
        field("num-slaves").as_deref() == Some("1")
            && field("num-other-sentinels") == Some((SENTINELS - 1).to_string())
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.process.kill();
    }
}
