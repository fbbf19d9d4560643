//! The two servers of a migration: URLs, passwords, TLS, and which databases go where.

use super::parse;
use super::reader::Reader;
use crate::backend::{Endpoint, Secret};
use crate::databases::Databases;
use crate::net::{TlsOptions, client_config};
use crate::status::Side;

/// Where from, where to, and what.
#[derive(Clone, Debug)]
pub struct Servers {
    /// Where the data comes from.
    pub source: Endpoint,
    /// Where it goes.
    pub target: Endpoint,
    /// Which databases, and where each of them goes.
    pub databases: Databases,
}

impl Servers {
    /// One of the two.
    pub fn endpoint(&self, side: Side) -> &Endpoint {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// Makes the names of all connections end with `tag`.
    pub fn tag_connections(&mut self, tag: &str) {
        for endpoint in [&mut self.source, &mut self.target] {
            endpoint.tag = Some(tag.into());
        }
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let source = endpoint(reader, &SOURCE);
        let target = endpoint(reader, &TARGET);
        let listed = reader.or("databases", None, parse::databases);
        let (source, target) = (source?, target?);
        let databases = databases(reader, &source, &target, listed)?;
        if source.address == target.address && databases.meets_itself() {
            let line = format!("--source and --target are the same server: {}", source.address);
            reader.fault(line);
        }
        Some(Self { source, target, databases })
    }
}

/// The options that describe one of the servers.
struct Names {
    url: &'static str,
    password: &'static str,
    ca: &'static str,
    certificate: &'static str,
    key: &'static str,
    server_name: &'static str,
}

const SOURCE: Names = Names {
    url: "source",
    password: "source-password",
    ca: "source-tls-ca",
    certificate: "source-tls-cert",
    key: "source-tls-key",
    server_name: "source-tls-server-name",
};

const TARGET: Names = Names {
    url: "target",
    password: "target-password",
    ca: "target-tls-ca",
    certificate: "target-tls-cert",
    key: "target-tls-key",
    server_name: "target-tls-server-name",
};

fn endpoint(reader: &mut Reader, names: &Names) -> Option<Endpoint> {
    let url = reader.required(names.url, str::parse::<Endpoint>);
    let password = reader.find(names.password, parse::any::<String>);
    let tls = TlsOptions {
        ca: reader.optional(names.ca, parse::any),
        certificate: reader.optional(names.certificate, parse::any),
        key: reader.optional(names.key, parse::any),
    };
    let server_name = reader.optional(names.server_name, parse::any);
    let url = url?;
    let mut endpoint = url.value;
    // A password beside the URL counts as written in the same place's URL would: the place that
    // ranks higher wins, and the URL's own within one place.
    if let Some(password) = password
        && (endpoint.password.is_none() || password.origin < url.origin)
    {
        endpoint.password = Some(Secret::new(password.value));
    }
    endpoint.server_name = server_name;
    secure(reader, names, &mut endpoint, &tls);
    Some(endpoint)
}

/// Prepares TLS where the URL asks for it, and refuses TLS options where it does not: somebody who
/// gives an authority believes that the connection is encrypted.
fn secure(reader: &mut Reader, names: &Names, endpoint: &mut Endpoint, tls: &TlsOptions) {
    if endpoint.wants_tls {
        match client_config(tls) {
            Ok(config) => endpoint.tls = Some(config),
            Err(error) => reader.fault(format!("--{}: {error}", names.url)),
        }
        return;
    }
    let given = [
        (names.ca, tls.ca.is_some()),
        (names.certificate, tls.certificate.is_some()),
        (names.key, tls.key.is_some()),
        (names.server_name, endpoint.server_name.is_some()),
    ];
    for (option, _) in given.iter().filter(|(_, given)| *given) {
        let place = reader.locate(option);
        reader.fault(format!("{place}: the {} URL does not ask for TLS (rediss://)", names.url));
    }
}

/// A source URL with a database limits the migration to it; else the list does.
fn databases(
    reader: &mut Reader,
    source: &Endpoint,
    target: &Endpoint,
    listed: Option<Vec<u32>>,
) -> Option<Databases> {
    let fault = match (source.db, target.db, listed) {
        (Some(from), to, None) => return Some(Databases::one(from, to.unwrap_or(0))),
        (Some(from), to, Some(listed)) if listed == [from] => {
            return Some(Databases::one(from, to.unwrap_or(0)));
        }
        (None, None | Some(0), None) => return Some(Databases::All),
        (None, None | Some(0), Some(listed)) => return Some(Databases::same(listed)),
        (Some(from), _, Some(_)) => format!(
            "{}: the source URL limits the migration to database {from}",
            reader.locate("databases")
        ),
        (None, Some(to), _) => format!(
            "{}: names database {to}, which needs a source URL that names one too",
            reader.locate(TARGET.url)
        ),
    };
    reader.fault(fault);
    None
}
