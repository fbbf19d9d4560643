//! Where a server is and who we are there: `redis://`, `rediss://` and `unix://` URLs.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use thiserror::Error;

const DEFAULT_PORT: u16 = 6379;

/// A password. It is never printed: `Debug` and `Display` show that there is one, no more.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself, for the wire only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Host name or IP address, and port.
    Tcp(String, u16),
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A server and our account there.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Set for `rediss://`: how to speak TLS with it.
    pub tls: Option<Arc<ClientConfig>>,
    /// Whether the URL asked for TLS; [`Self::tls`] is filled in afterwards.
    pub wants_tls: bool,
    /// The name to verify the server's certificate against, when it is not the host.
    pub server_name: Option<String>,
    /// The user to log in as; `None` is the default user.
    pub user: Option<String>,
    /// The password to log in with.
    pub password: Option<Secret>,
    /// The database that the URL names.
    pub db: Option<u32>,
    /// What the names of our connections end with, so that a later process knows them.
    pub tag: Option<Arc<str>>,
}

/// What is wrong with a URL. The URL itself is not repeated: it may hold a password.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Not one of the three schemes.
    #[error("expected redis://, rediss:// or unix://")]
    Scheme,
    /// No host.
    #[error("the host is missing")]
    Host,
    /// No port number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The path is not a database number.
    #[error("the database is not a number: expected /0, /1, …")]
    Database,
    /// `unix://` without a path.
    #[error("unix:// needs an absolute path")]
    Path,
    /// Percent-encoding that is not UTF-8.
    #[error("the user or password is not percent-encoded UTF-8")]
    Encoding,
    /// An option after `?` that is not known.
    #[error("unknown parameter after '?'")]
    Parameter,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = url.split_once("://").ok_or(EndpointError::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "redis" => tcp(rest, false),
            "rediss" => tcp(rest, true),
            "unix" | "redis+unix" => unix(rest),
            _ => Err(EndpointError::Scheme),
        }
    }
}

fn tcp(rest: &str, wants_tls: bool) -> Result<Endpoint, EndpointError> {
    // The password may hold any character when it is percent-encoded, and '@' or '/' even when it
    // is not: the host begins after the last '@'.
    let (account, place) = rest.rsplit_once('@').map_or((None, rest), |(a, p)| (Some(a), p));
    let (place, db) = match place.split_once('/') {
        Some((place, "")) => (place, None),
        Some((place, db)) => (place, Some(database(db)?)),
        None => (place, None),
    };
    let (host, port) = host_and_port(place)?;
    let (user, password) = account.map_or(Ok((None, None)), credentials)?;
    Ok(Endpoint {
        address: Address::Tcp(host, port),
        tls: None,
        wants_tls,
        server_name: None,
        user,
        password,
        db,
        tag: None,
    })
}

fn unix(rest: &str) -> Result<Endpoint, EndpointError> {
    let (account, path) = match rest.rsplit_once('@') {
        Some((account, path)) if path.starts_with('/') => (Some(account), path),
        _ => (None, rest),
    };
    let (path, db) = match path.split_once("?db=") {
        Some((path, db)) => (path, Some(database(db)?)),
        None if path.contains('?') => return Err(EndpointError::Parameter),
        None => (path, None),
    };
    if !path.starts_with('/') {
        return Err(EndpointError::Path);
    }
    let (user, password) = account.map_or(Ok((None, None)), credentials)?;
    Ok(Endpoint {
        address: Address::Unix(decode(path)?.into()),
        tls: None,
        wants_tls: false,
        server_name: None,
        user,
        password,
        db,
        tag: None,
    })
}

fn database(text: &str) -> Result<u32, EndpointError> {
    text.parse().map_err(|_| EndpointError::Database)
}

fn host_and_port(place: &str) -> Result<(String, u16), EndpointError> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(EndpointError::Port)?,
        None => DEFAULT_PORT,
    };
    if host.is_empty() {
        return Err(EndpointError::Host);
    }
    Ok((host.to_owned(), port))
}

type Credentials = (Option<String>, Option<Secret>);

fn credentials(account: &str) -> Result<Credentials, EndpointError> {
    let (user, password) = account.split_once(':').unwrap_or((account, ""));
    let user = Some(decode(user)?).filter(|user| !user.is_empty());
    let password = Some(decode(password)?).filter(|password| !password.is_empty());
    Ok((user, password.map(Secret)))
}

fn decode(text: &str) -> Result<String, EndpointError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| EndpointError::Encoding)?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Endpoint {
        url.parse().unwrap()
    }

    #[test]
    fn urls_say_where_and_who() {
        let endpoint = parse("redis://al%40ice:p%3A%2F%40ss@db.example:7000/3");
        assert_eq!(endpoint.address, Address::Tcp("db.example".into(), 7000));
        assert_eq!(endpoint.user.as_deref(), Some("al@ice"));
        assert_eq!(endpoint.password.as_ref().map(Secret::reveal), Some("p:/@ss"));
        assert_eq!(endpoint.db, Some(3));
        assert_eq!(parse("redis://h").address, Address::Tcp("h".into(), 6379));
        assert_eq!(parse("redis://[::1]:1").address.to_string(), "[::1]:1");
        assert!(parse("rediss://:x@h").wants_tls);
        assert_eq!(parse("unix:///tmp/r.sock?db=2").db, Some(2));
        assert_eq!(parse("unix:///tmp/r.sock").address.to_string(), "/tmp/r.sock");
    }

    #[test]
    fn wrong_urls_say_what_is_wrong() {
        for (url, error) in [
            ("localhost:6379", EndpointError::Scheme),
            ("http://localhost", EndpointError::Scheme),
            ("redis://", EndpointError::Host),
            ("redis://h:0", EndpointError::Port),
            ("redis://h:x", EndpointError::Port),
            ("redis://h/x", EndpointError::Database),
            ("unix://relative", EndpointError::Path),
        ] {
            assert_eq!(url.parse::<Endpoint>().err(), Some(error), "{url}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let endpoint = parse("redis://u:hunter2@h");
        assert!(!format!("{endpoint:?}").contains("hunter2"));
    }
}
