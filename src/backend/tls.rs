//! TLS towards servers: verified by default, with an authority and a certificate of one's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// How to verify a server, and how to prove who we are.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// PEM file of the authorities to trust instead of the system's.
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
    #[error("client certificate: {0}")]
    Certificate(String),
}

/// Builds the client side's settings.
///
/// # Errors
/// A file is missing or holds something else.
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

fn roots(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let trusted = match &options.ca {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(trusted);
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
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
