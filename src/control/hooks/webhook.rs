//! Telling an address: JSON by POST, a few tries, never the address in a log line.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::warn;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::News;
use crate::net;
use crate::server::Secret;

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before each try.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];

/// Tells what comes, one after the other.
pub(super) async fn tell(address: Secret, mut queue: mpsc::Receiver<Arc<News>>) {
    let agent = match agent(address.reveal()) {
        Ok(agent) => agent,
        Err(error) => return warn!(error, "the webhook can't be told anything"),
    };
    while let Some(news) = queue.recv().await {
        let body = news.json();
        if let Err(error) = tell_one(&agent, &address, &body).await {
            warn!(event = news.hook.name(), error, "the webhook could not be told");
        }
    }
}

async fn tell_one(agent: &Agent, address: &Secret, body: &Value) -> Result<(), String> {
    let mut result = Ok(());
    for wait in TRIES {
        sleep(wait).await;
        let (agent, address, body) = (agent.clone(), address.clone(), body.clone());
        let told = spawn_blocking(move || agent.post(address.reveal()).send_json(body)).await;
        result = match told {
            Ok(Ok(answer)) if answer.status().is_success() => return Ok(()),
            Ok(Ok(answer)) => Err(format!("it answers {}", answer.status())),
            Ok(Err(error)) => Err(kind(&error)),
            Err(error) => Err(error.to_string()),
        };
    }
    result
}

/// An error without the address, which may hold a secret.
fn kind(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => "it does not answer in time".to_owned(),
        _ => "it can't be reached".to_owned(),
    }
}

fn agent(address: &str) -> Result<Agent, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    if address.starts_with("https:") {
        let trusted = net::authorities(None).map_err(|error| error.to_string())?;
        let trusted = trusted.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        tls = tls.root_certs(RootCerts::Specific(Arc::new(trusted)));
    }
    let config = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(tls.build());
    Ok(Agent::new_with_config(config.build()))
}
