//! TLS in front: towards clients, and on the admin API.

use std::sync::Arc;

use rustls::ServerConfig;

use super::parse;
use super::reader::Reader;
use crate::net::{TlsOptions, server_config};

/// The options of one listener.
pub(super) struct Names {
    certificate: &'static str,
    key: &'static str,
    ca: &'static str,
}

pub(super) const LISTEN: Names =
    Names { certificate: "listen-tls-cert", key: "listen-tls-key", ca: "listen-tls-ca" };

pub(super) const ADMIN: Names =
    Names { certificate: "admin-tls-cert", key: "admin-tls-key", ca: "admin-tls-ca" };

/// None of the options: plain. Any of them: TLS and nothing else, so what is missing is a fault.
pub(super) fn read(reader: &mut Reader, names: &Names) -> Option<Arc<ServerConfig>> {
    let options = TlsOptions {
        ca: reader.optional(names.ca, parse::any),
        certificate: reader.optional(names.certificate, parse::any),
        key: reader.optional(names.key, parse::any),
    };
    if options.ca.is_none() && options.certificate.is_none() && options.key.is_none() {
        return None;
    }
    match server_config(&options) {
        Ok(config) => Some(config),
        Err(error) => {
            let place = reader.locate(names.certificate);
            reader.fault(format!("{place}: {error}"));
            None
        }
    }
}
