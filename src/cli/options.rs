//! The options of the commands that speak to the two servers, as text. What they mean, their
//! defaults and their faults are the configuration's.
#![allow(clippy::doc_markdown, reason = "these comments are help texts, where markup would show")]

use clap::Args;
use serde::Serialize;

use crate::config::{self, RunConfig};
use crate::failure::Failure;

/// Which servers.
#[derive(Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = "Servers")]
pub(super) struct Servers {
    /// The server to move from [env: CROSSFADE_SOURCE]
    ///
    /// redis://[[user]:password@]host[:port][/db], rediss://… for TLS, unix:///path. User and
    /// password are percent-decoded, so any character works; the password may come from
    /// CROSSFADE_SOURCE_PASSWORD instead. With /db only that database is migrated, into the one
    /// that the target's URL names (0 if none).
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// The server to move to [env: CROSSFADE_TARGET]
    ///
    /// As for --source; its password may come from CROSSFADE_TARGET_PASSWORD.
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Which databases to migrate: all, or numbers such as 0,1 [default: all]
    #[arg(long, value_name = "LIST")]
    databases: Option<String>,
    /// A TOML file with options, named as here without the dashes
    ///
    /// The command line beats the environment (CROSSFADE_ and the name in upper case), which beats
    /// the file. Example:
    ///
    ///   source = "redis://old:6379"
    ///   target = "rediss://new:6379"
    ///   mirror-buffer = "1gib"
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    config: Option<String>,
    /// Authorities to trust for the source instead of the system's, in PEM
    #[arg(long, value_name = "FILE")]
    source_tls_ca: Option<String>,
    /// Our certificate for the source, in PEM
    #[arg(long, value_name = "FILE")]
    source_tls_cert: Option<String>,
    /// The key of our certificate for the source, in PEM
    #[arg(long, value_name = "FILE")]
    source_tls_key: Option<String>,
    /// The name in the source's certificate, when it is not the host's
    #[arg(long, value_name = "NAME")]
    source_tls_server_name: Option<String>,
    /// Authorities to trust for the target instead of the system's, in PEM
    #[arg(long, value_name = "FILE")]
    target_tls_ca: Option<String>,
    /// Our certificate for the target, in PEM
    #[arg(long, value_name = "FILE")]
    target_tls_cert: Option<String>,
    /// The key of our certificate for the target, in PEM
    #[arg(long, value_name = "FILE")]
    target_tls_key: Option<String>,
    /// The name in the target's certificate, when it is not the host's
    #[arg(long, value_name = "NAME")]
    target_tls_server_name: Option<String>,
}

/// What a command that only looks at both servers takes.
#[derive(Args, Serialize)]
pub(super) struct Question {
    #[command(flatten)]
    #[serde(flatten)]
    servers: Servers,
    /// Print one JSON object
    #[arg(long)]
    #[serde(skip)]
    pub(super) json: bool,
}

/// The options of `run`. Each is also an environment variable and a key of the file.
#[derive(Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(after_long_help = RUN_EXAMPLES)]
pub(super) struct Run {
    #[command(flatten)]
    #[serde(flatten)]
    servers: Servers,
    /// Where applications connect; port 0 takes a free one [default: 127.0.0.1:6380]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Our certificate for applications, in PEM: then they are spoken to over TLS alone
    #[arg(long, value_name = "FILE")]
    listen_tls_cert: Option<String>,
    /// The key of our certificate for applications, in PEM
    #[arg(long, value_name = "FILE")]
    listen_tls_key: Option<String>,
    /// Authorities of applications' certificates, in PEM: then each application must show one
    #[arg(long, value_name = "FILE")]
    listen_tls_ca: Option<String>,
    /// Where the admin API, the metrics and the web page are [default: 127.0.0.1:9680]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// What a call that changes something must bear; required when --admin is not a loopback
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// Names by which the admin API may be asked, such as crossfade.example,db-move.internal
    ///
    /// Without the token it is otherwise asked by an IP address or localhost alone, so that no web
    /// page whose name leads here can speak for an operator.
    #[arg(long, value_name = "LIST")]
    admin_hosts: Option<String>,
    /// Our certificate for the admin API, in PEM: then it speaks HTTPS alone
    #[arg(long, value_name = "FILE")]
    admin_tls_cert: Option<String>,
    /// The key of our certificate for the admin API, in PEM
    #[arg(long, value_name = "FILE")]
    admin_tls_key: Option<String>,
    /// Authorities of operators' certificates, in PEM: then each call must show one
    #[arg(long, value_name = "FILE")]
    admin_tls_ca: Option<String>,
    /// Where to keep what a restart needs: the phase, and which keys may differ
    ///
    /// Created when missing. Without it nothing survives the process: a restart begins anew, and a
    /// cut-over needs --force.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// When a write is answered: source (once it has done it) or both [default: source]
    ///
    /// With both, a write waits for the target too, but never longer than --ack-timeout: then the
    /// migration is degraded and answers as with source until the target is back.
    #[arg(long, value_name = "WHEN")]
    ack: Option<String>,
    /// How long a write waits for the target with --ack both [default: 1s]
    #[arg(long, value_name = "TIME")]
    ack_timeout: Option<String>,
    /// How long commands wait for a source that is away, before they get an error [default: 5s]
    #[arg(long, value_name = "TIME")]
    source_timeout: Option<String>,
    /// What to do about keys on the target: require-empty, overwrite, flush [default: require-empty]
    ///
    /// require-empty refuses to start; overwrite keeps those that the source lacks; flush removes
    /// them all first. None of them touches the side that a cut-over has made primary.
    #[arg(long, value_name = "POLICY")]
    target_policy: Option<String>,
    /// Memory for writes that wait for the target [default: 256mib]
    ///
    /// Past it only the keys are remembered, and copied again later.
    #[arg(long, value_name = "SIZE")]
    mirror_buffer: Option<String>,
    /// Keys copied a second at most; `crossfade resume --rate` changes it [default: no limit]
    #[arg(long, value_name = "N")]
    backfill_rate: Option<String>,
    /// How long a stop waits for the mirror to empty [default: 10s]
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<String>,
    /// How long a flip may hold clients at a time [default: 100ms]
    ///
    /// Longer, and it lets go and tries again until its time is over. It holds them only when little
    /// is left to drain, and mostly for a few milliseconds.
    #[arg(long, value_name = "TIME")]
    max_hold: Option<String>,
    /// By how much two expiries may differ and count as equal [default: 50ms]
    #[arg(long, value_name = "TIME")]
    expiry_tolerance: Option<String>,
    /// How long a clean verify lets a cut-over pass [default: 24h]
    #[arg(long, value_name = "TIME")]
    verify_max_age: Option<String>,
    /// Which keys a script is taken to write: exact (as the source tells) or declared (as its KEYS
    /// tell) [default: exact]
    #[arg(long, value_name = "HOW")]
    scripts: Option<String>,
    /// Connections of applications at once [default: 10000]
    #[arg(long, value_name = "N")]
    max_clients: Option<String>,
    /// Combinations of user, database and protocol version in use at once [default: 1000]
    ///
    /// For each, three connections to the server that serves are kept, until nobody has used them
    /// for a minute. One more than that is refused.
    #[arg(long, value_name = "N")]
    max_contexts: Option<String>,
    /// Replies that may wait for one client before it is disconnected [default: 1gib]
    #[arg(long, value_name = "SIZE")]
    client_output_limit: Option<String>,
    /// Replies that may wait for all applications together [default: 1gib]
    ///
    /// Past it whoever reads least is disconnected.
    #[arg(long, value_name = "SIZE")]
    client_memory: Option<String>,
    /// Let pass what is harmless to the migration, though not to the server (CONFIG SET and the like)
    #[arg(long)]
    #[serde(skip_serializing_if = "is_off")]
    allow_admin: bool,
    /// Start although the source bears the marker of a cut-over
    ///
    /// The marker says that the target became primary, so what the source holds may be old. Only
    /// give this when you know that the source is the one to serve.
    #[arg(long)]
    #[serde(skip_serializing_if = "is_off")]
    ignore_cutover_marker: bool,
    /// How log lines look: text or json [default: text on a terminal, else json]
    ///
    /// RUST_LOG sets the level, info without it.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  Two servers, and state that survives a restart:
    crossfade run --source redis://old:6379 --target redis://new:6379 --state-dir /var/lib/crossfade

  One database into another of a managed server, over TLS:
    CROSSFADE_TARGET_PASSWORD=… crossfade run \\
      --source unix:///run/redis/redis.sock?db=2 --target rediss://app@new.example:6380/0

  Gently, and with every write on both servers before it is answered:
    crossfade run --config /etc/crossfade.toml --backfill-rate 5000 --ack both";

/// A switch that was not given leaves the word to the environment and the file.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_off(switch: &bool) -> bool {
    !switch
}

/// Turns options into settings, with what the environment and the file say.
pub(super) fn resolve(options: &impl Serialize) -> Result<RunConfig, Failure> {
    let table = toml::Table::try_from(options).map_err(|e| Failure::usage(e.to_string()))?;
    config::read(&table, config::process_variables()).map_err(|e| Failure::usage(e.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};

    fn table(line: &str) -> toml::Table {
        match Cli::try_parse_from(line.split(' ')).map(|cli| cli.command) {
            Ok(Command::Run(options)) => toml::Table::try_from(options).unwrap(),
            _ => panic!("{line} is not a run"),
        }
    }

    #[test]
    fn only_what_was_given_goes_on() {
        let given = table("crossfade run --source redis://a --max-clients 5 --allow-admin");
        let expected = "source = 'redis://a'\nmax-clients = '5'\nallow-admin = true";
        assert_eq!(given, expected.parse().unwrap());
    }

    #[test]
    fn every_option_given_is_one_that_the_configuration_knows() {
        use clap::CommandFactory;
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("all.toml");
        let names = run.get_arguments().filter_map(|argument| argument.get_long());
        let names = names.filter(|name| !["config", "help", "version"].contains(name));
        let lines: Vec<String> = names.map(|name| format!("{name} = '?'")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let option = format!("config = '{}'", path.display());
        let faults = crate::config::read(&option.parse().unwrap(), []).unwrap_err();
        assert!(!faults.to_string().contains("no such option"), "{faults}");
    }
}
