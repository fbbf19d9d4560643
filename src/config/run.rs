//! Every option of `crossfade run`, with its default.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use super::reader::Reader;
use super::servers::Servers;
use super::{front, parse};
use crate::backend::Secret;

const DEFAULT_LISTEN: SocketAddr = loopback(6380);
const DEFAULT_ADMIN: SocketAddr = loopback(9680);

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// When a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// Once the primary has done it.
    #[default]
    Source,
    /// Once both have.
    Both,
}

/// What to do about keys that the target holds at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetPolicy {
    /// Refuse to start.
    #[default]
    RequireEmpty,
    /// Keep those that the source lacks, overwrite the others.
    Overwrite,
    /// Empty it first.
    Flush,
}

/// Which keys a script is taken to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scripts {
    /// Those that it wrote, as the source tells.
    #[default]
    Exact,
    /// Those that it declares.
    Declared,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// The two servers and which databases go where.
    pub servers: Servers,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// How clients are spoken to over TLS; none is plain.
    pub listen_tls: Option<Arc<ServerConfig>>,
    /// Where the admin API listens.
    pub admin: SocketAddr,
    /// How it is spoken to over TLS; none is plain.
    pub admin_tls: Option<Arc<ServerConfig>>,
    /// What every change over the admin API must bear.
    pub admin_token: Option<Secret>,
    /// Names by which the admin API may be asked, besides its addresses.
    pub admin_hosts: Vec<String>,
    /// Where what a restart needs is kept.
    pub state_dir: Option<PathBuf>,
    /// When a write is answered.
    pub ack: Ack,
    /// How long a write waits for the secondary with [`Ack::Both`].
    pub ack_timeout: Duration,
    /// How long commands wait for a source that is away.
    pub source_timeout: Duration,
    /// What to do about keys that the target holds at the start.
    pub target_policy: TargetPolicy,
    /// Memory that effects may take while they wait.
    pub mirror_buffer: u64,
    /// Keys copied a second at most.
    pub backfill_rate: Option<NonZeroU64>,
    /// How long a stop waits for the mirror to empty.
    pub drain_timeout: Duration,
    /// How long a flip may hold clients at a time.
    pub max_hold: Duration,
    /// By how much two expiries may differ and count as equal.
    pub expiry_tolerance: Duration,
    /// How long a verify is worth something.
    pub verify_max_age: Duration,
    /// How scripts are mirrored.
    pub scripts: Scripts,
    /// Clients at once.
    pub max_clients: usize,
    /// Users, databases and protocol versions that lanes are kept for at once.
    pub max_contexts: usize,
    /// Replies that may wait for one client to read them, in bytes.
    pub client_output_limit: u64,
    /// Replies that may wait for all clients together, in bytes.
    pub client_memory: u64,
    /// Whether commands pass that are harmless to the order of writes, but not to the server.
    pub allow_admin: bool,
    /// Whether to start although the source says that it has been cut over.
    pub ignore_cutover_marker: bool,
    /// How log lines look; none decides by whether stderr is a terminal.
    pub log_format: Option<LogFormat>,
}

impl RunConfig {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let servers = Servers::read(reader);
        let admin = reader.or("admin", DEFAULT_ADMIN, parse::listen);
        let admin_token = reader.optional("admin-token", parse::any::<String>).map(Secret::new);
        if !admin.ip().is_loopback() && admin_token.is_none() {
            let place = reader.locate("admin");
            reader.fault(format!("{place}: {admin} is not a loopback: set --admin-token too"));
        }
        // Every option is read before a missing server ends the reading, so that all faults show.
        let config = Self {
            listen: reader.or("listen", DEFAULT_LISTEN, parse::listen),
            listen_tls: front::read(reader, &front::LISTEN),
            admin,
            admin_tls: front::read(reader, &front::ADMIN),
            admin_token,
            admin_hosts: reader.or("admin-hosts", Vec::new(), parse::names),
            state_dir: reader.optional("state-dir", parse::any),
            ack: reader.or("ack", Ack::default(), ack),
            ack_timeout: reader.or("ack-timeout", Duration::from_secs(1), parse::seconds),
            source_timeout: reader.or("source-timeout", Duration::from_secs(5), parse::seconds),
            target_policy: reader.or("target-policy", TargetPolicy::default(), target_policy),
            mirror_buffer: reader.or("mirror-buffer", 256 << 20, parse::size),
            backfill_rate: reader.optional("backfill-rate", parse::rate),
            drain_timeout: reader.or("drain-timeout", Duration::from_secs(10), parse::seconds),
            max_hold: reader.or("max-hold", Duration::from_millis(100), parse::milliseconds),
            expiry_tolerance: reader.or(
                "expiry-tolerance",
                Duration::from_millis(50),
                parse::milliseconds,
            ),
            verify_max_age: reader.or(
                "verify-max-age",
                Duration::from_secs(24 * 60 * 60),
                parse::seconds,
            ),
            scripts: reader.or("scripts", Scripts::default(), scripts),
            max_clients: reader.or("max-clients", 10_000, parse::count),
            max_contexts: reader.or("max-contexts", 1_000, parse::count),
            client_output_limit: reader.or("client-output-limit", 1 << 30, parse::size),
            client_memory: reader.or("client-memory", 1 << 30, parse::size),
            allow_admin: reader.or("allow-admin", false, parse::flag),
            ignore_cutover_marker: reader.or("ignore-cutover-marker", false, parse::flag),
            log_format: reader.optional("log-format", log_format),
            servers: servers?,
        };
        Some(config)
    }
}

fn ack(text: &str) -> Result<Ack, String> {
    parse::word(text, &[("source", Ack::Source), ("both", Ack::Both)])
}

fn target_policy(text: &str) -> Result<TargetPolicy, String> {
    parse::word(
        text,
        &[
            ("require-empty", TargetPolicy::RequireEmpty),
            ("overwrite", TargetPolicy::Overwrite),
            ("flush", TargetPolicy::Flush),
        ],
    )
}

fn scripts(text: &str) -> Result<Scripts, String> {
    parse::word(text, &[("exact", Scripts::Exact), ("declared", Scripts::Declared)])
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    parse::word(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}
