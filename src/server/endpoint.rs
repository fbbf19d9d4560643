//! Where a server is and who we are there: `redis://`, `rediss://`, `unix://` and
//! `redis+sentinel://` URLs.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use thiserror::Error;

use super::sentinel::Sentinels;
use super::{Nat, Nodes, Place};

const DEFAULT_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl FromStr for Address {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        tcp_address(text, DEFAULT_PORT)
    }
}

/// A deployment and our account there.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What the URL says of where it is.
    pub place: Place,
    /// Where it is now.
    pub nodes: Arc<Nodes>,
    /// Where announced addresses can be reached.
    pub nat: Nat,
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
    /// None of the schemes.
    #[error("expected redis://, rediss://, unix:// or redis+sentinel://")]
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
    /// Sentinels without the name of what they watch over.
    #[error("the name that the sentinels know the primary by is missing: …/mymaster")]
    Name,
    /// Not two addresses with an equals sign between them.
    #[error(
        "expected announced addresses and where to reach them, such as 10.0.0.1:6379=localhost:7001"
    )]
    Nat,
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
            "redis+sentinel" => sentinels(rest, false),
            "rediss+sentinel" => sentinels(rest, true),
            "unix" | "redis+unix" => unix(rest),
            _ => Err(EndpointError::Scheme),
        }
    }
}

fn tcp(rest: &str, wants_tls: bool) -> Result<Endpoint, EndpointError> {
    let (account, place) = account_and_place(rest);
    let (place, db) = path(place)?;
    let place = Place::Server(tcp_address(place, DEFAULT_PORT)?);
    Endpoint { wants_tls, db, ..Endpoint::at(place) }.of(account)
}

/// `[[user]:password@]h1:p1,h2:p2/name[/db]`
fn sentinels(rest: &str, wants_tls: bool) -> Result<Endpoint, EndpointError> {
    let (account, place) = account_and_place(rest);
    let (seeds, name) = place.split_once('/').ok_or(EndpointError::Name)?;
    let (name, db) = path(name)?;
    let name = Some(decode(name)?).filter(|name| !name.is_empty()).ok_or(EndpointError::Name)?;
    let seeds: Result<_, _> =
        seeds.split(',').map(|seed| tcp_address(seed.trim(), SENTINEL_PORT)).collect();
    let place = Place::Sentinels(Sentinels::new(seeds?, name));
    Endpoint { wants_tls, db, ..Endpoint::at(place) }.of(account)
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
    let place = Place::Server(Address::Unix(decode(path)?.into()));
    Endpoint { db, ..Endpoint::at(place) }.of(account)
}

/// The password may hold any character when it is percent-encoded, and '@' or '/' even when it is not:
/// the host begins after the last '@'.
fn account_and_place(rest: &str) -> (Option<&str>, &str) {
    rest.rsplit_once('@').map_or((None, rest), |(account, place)| (Some(account), place))
}

/// What stands before a slash, and the database behind it.
fn path(place: &str) -> Result<(&str, Option<u32>), EndpointError> {
    match place.split_once('/') {
        Some((place, "")) => Ok((place, None)),
        Some((place, db)) => Ok((place, Some(database(db)?))),
        None => Ok((place, None)),
    }
}

impl Endpoint {
    /// Nobody in particular, there.
    fn at(place: Place) -> Self {
        Self {
            nodes: Nodes::new(&place),
            place,
            nat: Nat::default(),
            tls: None,
            wants_tls: false,
            server_name: None,
            user: None,
            password: None,
            db: None,
            tag: None,
        }
    }

    fn of(self, account: Option<&str>) -> Result<Self, EndpointError> {
        let (user, password) = account.map_or(Ok((None, None)), credentials)?;
        Ok(Self { user, password, ..self })
    }
}

fn database(text: &str) -> Result<u32, EndpointError> {
    text.parse().map_err(|_| EndpointError::Database)
}

fn tcp_address(place: &str, default_port: u16) -> Result<Address, EndpointError> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(EndpointError::Port)?,
        None => default_port,
    };
    if host.is_empty() {
        return Err(EndpointError::Host);
    }
    Ok(Address::Tcp(host.to_owned(), port))
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
        assert_eq!(endpoint.address(), "db.example:7000");
        assert_eq!(endpoint.user.as_deref(), Some("al@ice"));
        assert_eq!(endpoint.password.as_ref().map(Secret::reveal), Some("p:/@ss"));
        assert_eq!(endpoint.db, Some(3));
        assert_eq!(parse("redis://h").address(), "h:6379");
        assert_eq!(parse("redis://[::1]:1").address(), "[::1]:1");
        assert!(parse("rediss://:x@h").wants_tls);
        assert_eq!(parse("unix:///tmp/r.sock?db=2").db, Some(2));
        assert_eq!(parse("unix:///tmp/r.sock").address(), "/tmp/r.sock");
    }

    #[test]
    fn sentinels_are_several_and_name_what_they_watch_over() {
        let endpoint = parse("rediss+sentinel://app:x@h2:7,h1/mymaster/3");
        assert_eq!(endpoint.place.to_string(), "mymaster of the sentinels h1:26379,h2:7");
        assert_eq!(endpoint.address(), endpoint.place.to_string(), "nobody has been asked");
        assert_eq!((endpoint.user.as_deref(), endpoint.db), (Some("app"), Some(3)));
        assert!(endpoint.wants_tls);
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
            ("redis+sentinel://h1,h2", EndpointError::Name),
            ("redis+sentinel://h1/", EndpointError::Name),
            ("redis+sentinel://h1,/m", EndpointError::Host),
            ("redis+sentinel://h1/m/x", EndpointError::Database),
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
