//! The two servers of a migration: URLs, passwords, TLS, and which databases go where.
#![allow(clippy::doc_markdown, reason = "these comments are help texts, where markup would show")]

use std::path::PathBuf;

use clap::Args;

use super::parse;
use super::settings::{Faults, Settings};
use crate::net::{TlsOptions, client_config};
use crate::protocol::databases::Databases;
use crate::server::{Endpoint, Nat, Place, Secret};
use crate::status::Side;

/// Where from, where to, and what.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Servers")]
pub struct Servers {
    /// The server to move from [env: CROSSFADE_SOURCE]
    ///
    /// `redis://[[user]:password@]host[:port][/db]`, rediss://… for TLS, unix:///path. User and
    /// password are percent-decoded, so any character works; the password may come from
    /// CROSSFADE_SOURCE_PASSWORD instead. With /db only that database is migrated, into the one
    /// that the target's URL names (0 if none). redis+sentinel://…@h1:26379,h2:26379/mymaster[/db]
    /// (rediss+sentinel://) is the primary that these sentinels name; what logs in to them comes from
    /// CROSSFADE_SOURCE_SENTINEL_PASSWORD.
    #[arg(long, value_name = "URL")]
    pub(crate) source: Endpoint,
    /// The server to move to [env: CROSSFADE_TARGET]
    ///
    /// As for --source; its passwords may come from CROSSFADE_TARGET_PASSWORD and
    /// CROSSFADE_TARGET_SENTINEL_PASSWORD.
    #[arg(long, value_name = "URL")]
    pub(crate) target: Endpoint,
    /// Which databases to migrate: all, or numbers such as 0,1
    #[arg(long, value_name = "LIST", default_value = "all", value_parser = parse::databases)]
    pub(crate) databases: Databases,
    /// A TOML file with options, named as here without the dashes
    ///
    /// The command line beats the environment (CROSSFADE_ and the name in upper case),
    /// which beats the file. Example:
    ///
    ///   source = "redis://old:6379"
    ///   target = "rediss://new:6379"
    ///   mirror-buffer = "1gib"
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    config: Option<PathBuf>,
    /// Authorities to trust for the source instead of the system's, in PEM
    #[arg(long, value_name = "FILE")]
    source_tls_ca: Option<PathBuf>,
    /// Our certificate for the source, in PEM
    #[arg(long, value_name = "FILE")]
    source_tls_cert: Option<PathBuf>,
    /// The key of our certificate for the source, in PEM
    #[arg(long, value_name = "FILE")]
    source_tls_key: Option<PathBuf>,
    /// The name in the source's certificate, when it is not the host's
    #[arg(long, value_name = "NAME")]
    source_tls_server_name: Option<String>,
    /// Authorities to trust for the target instead of the system's, in PEM
    #[arg(long, value_name = "FILE")]
    target_tls_ca: Option<PathBuf>,
    /// Our certificate for the target, in PEM
    #[arg(long, value_name = "FILE")]
    target_tls_cert: Option<PathBuf>,
    /// The key of our certificate for the target, in PEM
    #[arg(long, value_name = "FILE")]
    target_tls_key: Option<PathBuf>,
    /// The name in the target's certificate, when it is not the host's
    #[arg(long, value_name = "NAME")]
    target_tls_server_name: Option<String>,
    /// Where addresses can be reached that the source's sentinels announce, as FROM=TO,…
    #[arg(long, value_name = "LIST")]
    source_nat: Option<Nat>,
    /// Where addresses can be reached that the target's sentinels announce, as FROM=TO,…
    #[arg(long, value_name = "LIST")]
    target_nat: Option<Nat>,
    // Hidden options are none on the command line, where others could read them.
    #[arg(long, hide = true, value_parser = parse::secret)]
    source_password: Option<Secret>,
    #[arg(long, hide = true, value_parser = parse::secret)]
    target_password: Option<Secret>,
    #[arg(long, hide = true, value_parser = parse::secret)]
    source_sentinel_password: Option<Secret>,
    #[arg(long, hide = true, value_parser = parse::secret)]
    target_sentinel_password: Option<Secret>,
}

impl Servers {
    pub(crate) fn endpoint(&self, side: Side) -> &Endpoint {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// Makes the names of all connections end with `tag`.
    pub(crate) fn tag_connections(&mut self, tag: &str) {
        for endpoint in [&mut self.source, &mut self.target] {
            endpoint.tag = Some(tag.into());
        }
    }

    /// Gives each endpoint what the options beside its URL say, and holds everything together.
    pub(super) fn complete(&mut self, settings: &Settings, faults: &mut Faults) {
        let source = Beside {
            side: Side::Source,
            password: self.source_password.take(),
            sentinel_password: self.source_sentinel_password.take(),
            nat: self.source_nat.take(),
            tls: TlsOptions {
                ca: self.source_tls_ca.take(),
                certificate: self.source_tls_cert.take(),
                key: self.source_tls_key.take(),
            },
        };
        let target = Beside {
            side: Side::Target,
            password: self.target_password.take(),
            sentinel_password: self.target_sentinel_password.take(),
            nat: self.target_nat.take(),
            tls: TlsOptions {
                ca: self.target_tls_ca.take(),
                certificate: self.target_tls_cert.take(),
                key: self.target_tls_key.take(),
            },
        };
        self.source.server_name = self.source_tls_server_name.take();
        self.target.server_name = self.target_tls_server_name.take();
        source.complete(&mut self.source, settings, faults);
        target.complete(&mut self.target, settings, faults);
        match self.numbers(settings) {
            Ok(databases) => self.databases = databases,
            Err(fault) => return faults.add(fault),
        }
        let place = self.source.place.to_string();
        if place == self.target.place.to_string() && self.databases.meets_itself() {
            faults.add(format!("--source and --target are the same server: {place}"));
        }
    }

    /// A source URL with a database limits the migration to it; else the list does.
    fn numbers(&self, settings: &Settings) -> Result<Databases, String> {
        let listed = &self.databases;
        match (self.source.db, self.target.db) {
            (None, None | Some(0)) => Ok(listed.clone()),
            (Some(from), to) if [Databases::All, Databases::one(from, from)].contains(listed) => {
                Ok(Databases::one(from, to.unwrap_or(0)))
            }
            (Some(from), _) => Err(format!(
                "{}: the source URL limits the migration to database {from}",
                settings.locate("databases")
            )),
            (None, Some(to)) => Err(format!(
                "{}: names database {to}, which needs a source URL that names one too",
                settings.locate("target")
            )),
        }
    }
}

/// What the options beside one URL say.
struct Beside {
    side: Side,
    password: Option<Secret>,
    sentinel_password: Option<Secret>,
    nat: Option<Nat>,
    tls: TlsOptions,
}

impl Beside {
    fn complete(self, endpoint: &mut Endpoint, settings: &Settings, faults: &mut Faults) {
        let side = self.side;
        // A password beside the URL counts as written in the same place's URL would: the place that
        // ranks higher wins, and the URL's own within one place.
        let ranks_higher =
            settings.origin(&format!("{side}-password")) < settings.origin(side.name());
        if self.password.is_some() && (endpoint.password.is_none() || ranks_higher) {
            endpoint.password = self.password;
        }
        endpoint.nat = self.nat.unwrap_or_default();
        match &mut endpoint.place {
            Place::Sentinels(sentinels) => sentinels.password = self.sentinel_password,
            Place::Server(_) if self.sentinel_password.is_some() => {
                // Somebody who gives it believes that sentinels are asked.
                let place = settings.locate(&format!("{side}-sentinel-password"));
                faults
                    .add(format!("{place}: the {side} URL names no sentinels (redis+sentinel://)"));
            }
            Place::Server(_) => {}
        }
        if endpoint.wants_tls {
            match client_config(&self.tls) {
                Ok(config) => endpoint.tls = Some(config),
                Err(error) => faults.add(format!("--{side}: {error}")),
            }
            return;
        }
        // Somebody who gives an authority believes that the connection is encrypted.
        for option in ["tls-ca", "tls-cert", "tls-key", "tls-server-name"] {
            let option = format!("{side}-{option}");
            if settings.text(&option).is_some() {
                let place = settings.locate(&option);
                faults.add(format!("{place}: the {side} URL does not ask for TLS (rediss://)"));
            }
        }
    }
}
