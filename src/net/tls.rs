//! TLS: towards servers verified by default, with an authority and a certificate of one's own; in
//! front with our certificate, and clients' certificates where an authority for them is named.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, time::Duration};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Stream;

/// How long a client may take to introduce itself.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How to verify the other end, and how to prove who we are.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// PEM file of the authorities to trust: for a server instead of the system's, for clients none
    /// means that they need no certificate.
    pub ca: Option<PathBuf>,
    /// PEM file of our own certificate chain.
    pub certificate: Option<PathBuf>,
    /// PEM file of our own key.
    pub key: Option<PathBuf>,
}

/// A TLS file that can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file can't be read or holds no PEM of the right kind.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not fit, or one of them is missing.
    #[error("certificate: {0}")]
    Certificate(String),
}

/// Builds the client side's settings.
pub fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Certificate(error.to_string()))?
        .with_root_certificates(roots(options)?);
    let config = match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|error| TlsError::Certificate(error.to_string()))?,
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(TlsError::Certificate("needs both a certificate and a key".into())),
    };
    Ok(Arc::new(config))
}

/// Builds the server side's settings.
///
/// # Errors
/// As for the client's side; and without a certificate there is no server.
pub(crate) fn server_config(options: &TlsOptions) -> Result<Arc<ServerConfig>, TlsError> {
    let (Some(certificate), Some(key)) = (&options.certificate, &options.key) else {
        return Err(TlsError::Certificate("needs both a certificate and a key".into()));
    };
    let wrong = |error: &dyn std::fmt::Display| TlsError::Certificate(error.to_string());
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?;
    let builder = if options.ca.is_none() {
        builder.with_no_client_auth()
    } else {
        let roots = Arc::new(roots(options)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        builder.with_client_cert_verifier(verifier.map_err(|error| wrong(&error))?)
    };
    let config = builder.with_single_cert(certificates(certificate)?, private_key(key)?);
    Ok(Arc::new(config.map_err(|error| wrong(&error))?))
}

/// Makes a stream of an accepted socket, over TLS where there are settings for it.
///
/// # Errors
/// What came is not TLS, or not from whom it should be, or nothing came in time.
pub(crate) async fn accept(tcp: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Stream> {
    let Some(tls) = tls else { return Ok(Stream::Tcp(tcp)) };
    let handshake = TlsAcceptor::from(tls.clone()).accept(tcp);
    let tls = timeout(HANDSHAKE, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(Stream::TlsServer(Box::new(tls)))
}

fn roots(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities(options.ca.as_deref())?);
    Ok(roots)
}

/// Who is trusted: the authorities of a PEM file, or the system's.
pub(crate) fn authorities(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match ca {
        Some(path) => certificates(path),
        None => Ok(rustls_native_certs::load_native_certs().certs),
    }
}

/// The certificates of a PEM file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| file(path, &e))?.collect();
    let found = found.map_err(|e| file(path, &e))?;
    if found.is_empty() {
        return Err(file(path, &"no certificate in this file"));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| file(path, &error))
}

fn file(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}
