//! Every option of `crossfade run`, with its default. An option is added here and nowhere else in
//! the code; README.md and deploy/crossfade.toml tell people about it, as tests/documents.rs asks.
#![allow(clippy::doc_markdown, reason = "these comments are help texts, where markup would show")]

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustls::ServerConfig;

use super::parse;
use super::servers::Servers;
use super::settings::{Faults, Settings};
use crate::net::{TlsOptions, server_config};
use crate::server::Secret;

/// When a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Ack {
    /// Once the primary has done it
    #[default]
    Source,
    /// Once both have, or the secondary is given up
    Both,
}

/// What to do about keys that the target holds at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TargetPolicy {
    /// Refuse to start
    #[default]
    RequireEmpty,
    /// Keep those that the source lacks, overwrite the others
    Overwrite,
    /// Empty the target first
    Flush,
}

/// Which keys a script is taken to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Scripts {
    /// Those that it wrote, as the source tells
    #[default]
    Exact,
    /// Those that it declares as its KEYS
    Declared,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// The options of `run` that `copy` has too.
#[derive(Args, Clone, Debug)]
pub struct Copying {
    /// What to do about keys that the target holds already
    ///
    /// None of these touches the side that a cut-over has made primary.
    #[arg(long, value_name = "POLICY", default_value = "require-empty")]
    pub(crate) target_policy: TargetPolicy,
    /// Keys copied a second at most [default: no limit]
    ///
    /// While a migration runs, `crossfade resume --rate` changes it.
    #[arg(long, visible_alias = "rate", value_name = "N", value_parser = parse::rate)]
    pub(crate) backfill_rate: Option<NonZeroU64>,
}

/// The settings of a run.
#[derive(Args, Clone, Debug)]
pub struct RunConfig {
    #[command(flatten)]
    pub(crate) servers: Servers,
    #[command(flatten)]
    pub(crate) copying: Copying,
    /// Where applications connect; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6380", value_parser = parse::listen)]
    pub listen: SocketAddr,
    /// Our certificate for applications, in PEM: then they are spoken to over TLS alone
    #[arg(long, value_name = "FILE")]
    listen_tls_cert: Option<PathBuf>,
    /// The key of our certificate for applications, in PEM
    #[arg(long, value_name = "FILE")]
    listen_tls_key: Option<PathBuf>,
    /// Authorities of applications' certificates, in PEM: then each application must show one
    #[arg(long, value_name = "FILE")]
    listen_tls_ca: Option<PathBuf>,
    /// How applications are spoken to over TLS, as these files say; none is plain.
    #[arg(skip)]
    pub(crate) listen_tls: Option<Arc<ServerConfig>>,
    /// Where Sentinel clients ask: the primary of every name is crossfade, now and after each flip
    #[arg(long, value_name = "ADDR", value_parser = parse::listen)]
    pub(crate) listen_sentinel: Option<SocketAddr>,
    /// Where Sentinel clients are told that the primary is [default: where they asked, at the port of
    /// --listen]
    #[arg(long, value_name = "HOST:PORT", value_parser = parse::announce)]
    pub(crate) announce: Option<(String, u16)>,
    /// Where the admin API, the metrics and the web page are
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9680", value_parser = parse::listen)]
    pub(crate) admin: SocketAddr,
    /// What a call that changes something must bear; required when --admin is not a loopback
    #[arg(long, value_name = "TOKEN", value_parser = parse::secret)]
    pub(crate) admin_token: Option<Secret>,
    /// Names by which the admin API may be asked, such as crossfade.example,db-move.internal
    ///
    /// Without the token it is otherwise asked by an IP address or localhost alone, so that no web
    /// page whose name leads here can speak for an operator.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse::name)]
    pub(crate) admin_hosts: Vec<String>,
    /// Our certificate for the admin API, in PEM: then it speaks HTTPS alone
    #[arg(long, value_name = "FILE")]
    admin_tls_cert: Option<PathBuf>,
    /// The key of our certificate for the admin API, in PEM
    #[arg(long, value_name = "FILE")]
    admin_tls_key: Option<PathBuf>,
    /// Authorities of operators' certificates, in PEM: then each call must show one
    #[arg(long, value_name = "FILE")]
    admin_tls_ca: Option<PathBuf>,
    /// As `listen_tls` for the admin API.
    #[arg(skip)]
    pub(crate) admin_tls: Option<Arc<ServerConfig>>,
    /// Where to keep what a restart needs: the phase, and which keys may differ
    ///
    /// Created when missing. Without it nothing survives the process: a restart begins anew, and a
    /// cut-over needs --force.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// When a write is answered
    ///
    /// With both, a write waits for the target too, but never longer than --ack-timeout: then the
    /// migration is degraded and answers as with source until the target is back.
    #[arg(long, value_name = "WHEN", default_value = "source")]
    pub(crate) ack: Ack,
    /// How long a write waits for the target with --ack both
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse::seconds)]
    pub(crate) ack_timeout: Duration,
    /// How long commands wait for a source that is away, before they get an error
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse::seconds)]
    pub(crate) source_timeout: Duration,
    /// Memory for writes that wait for the target
    ///
    /// Past it only the keys are remembered, and copied again later.
    #[arg(long, value_name = "SIZE", default_value = "256mib", value_parser = parse::size)]
    pub(crate) mirror_buffer: u64,
    /// How long a stop waits for the mirror to empty
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse::seconds)]
    pub(crate) drain_timeout: Duration,
    /// How long a flip may hold clients at a time
    ///
    /// Longer, and it lets go and tries again until its time is over. It holds them only when little
    /// is left to drain, and mostly for a few milliseconds.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse::milliseconds)]
    pub(crate) max_hold: Duration,
    /// By how much two expiries may differ and count as equal
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse::milliseconds)]
    pub(crate) expiry_tolerance: Duration,
    /// How long a clean verify lets a cut-over pass
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse::seconds)]
    pub(crate) verify_max_age: Duration,
    /// Reads that the target is asked too, off the clients' path, to compare the answers
    ///
    /// An answer counts only if nothing was on its way to its keys. What really differs is copied again
    /// and named in the status, which also tells how long both servers take. `crossfade shadow` changes
    /// it while a migration runs.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = parse::percent)]
    pub(crate) shadow_reads: f64,
    /// For how long what clients did, and the target would refuse, stands in the way of a cut-over
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse::seconds)]
    pub(crate) rehearsal_window: Duration,
    /// Which keys a script is taken to write
    #[arg(long, value_name = "HOW", default_value = "exact")]
    pub(crate) scripts: Scripts,
    /// Connections of applications at once
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse::count)]
    pub(crate) max_clients: usize,
    /// Combinations of user, database and protocol version in use at once
    ///
    /// For each, three connections to the server that serves are kept, until nobody has used them
    /// for a minute. One more than that is refused.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = parse::count)]
    pub(crate) max_contexts: usize,
    /// Replies that may wait for one client before it is disconnected
    #[arg(long, value_name = "SIZE", default_value = "1gib", value_parser = parse::size)]
    pub(crate) client_output_limit: u64,
    /// Replies that may wait for all applications together
    ///
    /// Past it whoever reads least is disconnected.
    #[arg(long, value_name = "SIZE", default_value = "1gib", value_parser = parse::size)]
    pub(crate) client_memory: u64,
    /// Executables that are told of events by their names, and asked before a cut-over
    ///
    /// before-cutover (it refuses by failing), after-cutover, after-rollback, on-blocker, on-phase.
    /// Each gets the status as JSON on stdin and the gist of it in CROSSFADE_… variables, and is
    /// killed after 20 s.
    #[arg(long, value_name = "DIR")]
    pub(crate) hooks: Option<PathBuf>,
    /// An address that is told of the same events, as JSON by POST
    #[arg(long, value_name = "URL", value_parser = parse::web)]
    pub(crate) webhook: Option<Secret>,
    /// What these options are, without the secret ones, as SHA-256.
    #[arg(skip)]
    pub(crate) digest: String,
    /// Let pass what is harmless to the migration, though not to the server (CONFIG SET and the like)
    #[arg(long)]
    pub(crate) allow_admin: bool,
    /// Start although the source bears the marker of a cut-over
    ///
    /// The marker says that the target became primary, so what the source holds may be old. Only
    /// give this when you know that the source is the one to serve.
    #[arg(long)]
    pub(crate) ignore_cutover_marker: bool,
    /// How log lines look [default: text on a terminal, else json]
    ///
    /// RUST_LOG sets the level, info without it.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

impl RunConfig {
    /// Reads the files of TLS, and holds everything together.
    pub(super) fn complete(mut self, settings: &Settings) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        self.digest = settings.digest();
        self.servers.complete(settings, &mut faults);
        if !self.admin.ip().is_loopback() && self.admin_token.is_none() {
            let (place, admin) = (settings.locate("admin"), self.admin);
            faults.add(format!("{place}: {admin} is not a loopback: set --admin-token too"));
        }
        let clients = TlsOptions {
            ca: self.listen_tls_ca.take(),
            certificate: self.listen_tls_cert.take(),
            key: self.listen_tls_key.take(),
        };
        let operators = TlsOptions {
            ca: self.admin_tls_ca.take(),
            certificate: self.admin_tls_cert.take(),
            key: self.admin_tls_key.take(),
        };
        let mut front = |options: &TlsOptions, certificate: &str| match front(options) {
            Ok(config) => config,
            Err(error) => {
                faults.add(format!("{}: {error}", settings.locate(certificate)));
                None
            }
        };
        self.listen_tls = front(&clients, "listen-tls-cert");
        self.admin_tls = front(&operators, "admin-tls-cert");
        faults.or(self)
    }
}

/// No file: plain. Any of them: TLS and nothing else, so what is missing is a fault.
fn front(options: &TlsOptions) -> Result<Option<Arc<ServerConfig>>, String> {
    if options.ca.is_none() && options.certificate.is_none() && options.key.is_none() {
        return Ok(None);
    }
    server_config(options).map(Some).map_err(|error| error.to_string())
}
