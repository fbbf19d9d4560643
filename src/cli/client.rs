//! The other end of the admin API.

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::config::ConfigBuilder;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::{Agent, RequestBuilder};

use super::output;
use crate::failure::Failure;
use crate::net::{self, TlsOptions};
use crate::status::{Advice, Status};

/// How long an answer may take beyond what the caller asked the server to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an event may fail to come; there is one a second.
const SILENCE: Duration = Duration::from_secs(5);

/// Where the running migration is.
#[derive(clap::Args, Clone)]
pub(super) struct Api {
    /// Where the admin API of `crossfade run` is, with `https://` before it when it has a certificate
    #[arg(long, value_name = "ADDR", env = "CROSSFADE_ADMIN", default_value = "127.0.0.1:9680")]
    admin: String,
    /// Authorities to trust for the admin API instead of the system's, in PEM; implies https
    #[arg(long, value_name = "FILE", env = "CROSSFADE_ADMIN_CA")]
    admin_ca: Option<PathBuf>,
    /// Our certificate for an admin API that asks for one, in PEM; implies https
    #[arg(long, value_name = "FILE", env = "CROSSFADE_ADMIN_CERT", requires = "admin_key")]
    admin_cert: Option<PathBuf>,
    /// The key of our certificate, in PEM
    #[arg(long, value_name = "FILE", env = "CROSSFADE_ADMIN_KEY", requires = "admin_cert")]
    admin_key: Option<PathBuf>,
    /// What it asks for before it changes something
    #[arg(long, value_name = "TOKEN", env = "CROSSFADE_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl Api {
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.introduce(self.agent(PATIENCE)?.get(self.url(path)));
        let answer = self.read(request.call())?;
        serde_json::from_value(answer).map_err(|error| self.strange(&error.to_string()))
    }

    /// Listens to what is told line by line, until it says nothing for a while.
    pub(super) fn listen(&self, path: &str) -> Result<impl BufRead + use<>, Failure> {
        let config = self.config()?.timeout_per_read(Some(SILENCE)).build();
        let request = Agent::new_with_config(config).get(self.url(path));
        let answer = self.introduce(request).call();
        let answer = answer.map_err(|error| self.strange(&error.to_string()))?;
        if !answer.status().is_success() {
            return Err(self.strange(&answer.status().to_string()));
        }
        Ok(BufReader::new(answer.into_body().into_reader()))
    }

    /// Where it is, for people.
    pub(super) fn address(&self) -> &str {
        &self.admin
    }

    /// Asks to change something; the answer may take as long as `wait` and a little more.
    pub(super) fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<Value, Failure> {
        let request = self.agent(wait.saturating_add(PATIENCE))?.post(self.url(path));
        self.read(self.introduce(request).send_json(body))
    }

    fn introduce<B>(&self, mut request: RequestBuilder<B>) -> RequestBuilder<B> {
        if let Some(token) = &self.admin_token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        // A name that is no header must not keep anybody from asking.
        let user = std::env::var("USER")
            .ok()
            .filter(|user| user.bytes().all(|byte| byte.is_ascii_graphic()));
        match user {
            Some(user) => request.header("x-crossfade-actor", user),
            None => request,
        }
    }

    /// Prints an answer, for machines or for people.
    pub(super) fn answer(&self, answer: &Value, text: impl FnOnce() -> String) {
        if self.json {
            output::print_json(answer);
        } else {
            output::print(&text());
        }
    }

    fn url(&self, path: &str) -> String {
        let admin = self.admin.trim_end_matches('/');
        match admin.split_once("://") {
            Some(_) => format!("{admin}{path}"),
            None if self.admin_ca.is_some() || self.admin_cert.is_some() => {
                format!("https://{admin}{path}")
            }
            None => format!("http://{admin}{path}"),
        }
    }

    fn agent(&self, timeout: Duration) -> Result<Agent, Failure> {
        Ok(Agent::new_with_config(self.config()?.timeout_global(Some(timeout)).build()))
    }

    fn config(&self) -> Result<ConfigBuilder<AgentScope>, Failure> {
        Ok(Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(self.tls()?))
    }

    /// Whom to trust, and what to show. Without TLS nobody is asked, so the system's authorities are
    /// not read either.
    fn tls(&self) -> Result<TlsConfig, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
        if !self.url("").starts_with("https:") {
            return Ok(config.build());
        }
        let trusted = net::authorities(self.admin_ca.as_deref())
            .map_err(|error| Failure::usage(format!("--admin-ca {error}")))?;
        let trusted = trusted.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let config = config.root_certs(RootCerts::Specific(Arc::new(trusted)));
        Ok(config.client_cert(self.identity()?).build())
    }

    /// What is shown to an API that asks who calls.
    fn identity(&self) -> Result<Option<ClientCert>, Failure> {
        let (Some(certificate), Some(key)) = (&self.admin_cert, &self.admin_key) else {
            return Ok(None);
        };
        let wrong =
            |error: &dyn Display| Failure::usage(format!("--admin-cert and --admin-key: {error}"));
        let options = TlsOptions {
            ca: self.admin_ca.clone(),
            certificate: Some(certificate.clone()),
            key: Some(key.clone()),
        };
        // Whether the two fit: the agent takes it for granted.
        net::client_config(&options).map_err(|error| wrong(&error))?;
        let chain = net::certificates(certificate).map_err(|error| wrong(&error))?;
        let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let key = std::fs::read(key).map_err(|error| wrong(&error))?;
        let key = PrivateKey::from_pem(&key).map_err(|error| wrong(&error))?;
        Ok(Some(ClientCert::new_with_certs(&chain, key)))
    }

    fn read(&self, sent: Result<Response<ureq::Body>, ureq::Error>) -> Result<Value, Failure> {
        let mut response = sent.map_err(|error| self.strange(&error.to_string()))?;
        let status = response.status();
        let body = response.body_mut().read_json::<Value>();
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.strange("it refuses the token (--admin-token)"));
        }
        let body = body.map_err(|error| self.strange(&error.to_string()))?;
        if status.is_success() {
            return Ok(body);
        }
        if self.json {
            output::print_json(&body);
        }
        Err(Failure::no(reasons(&body, &self.advice(&body))))
    }

    /// What to do about what stands in the way; the status tells, and a refusal does not wait for it.
    fn advice(&self, refusal: &Value) -> Vec<Advice> {
        if blockers(refusal).next().is_none() {
            return Vec::new();
        }
        self.get::<Status>("/v1/status").map(|status| status.advice).unwrap_or_default()
    }

    pub(super) fn strange(&self, what: &str) -> Failure {
        Failure::unreachable(format!("the admin API at {}: {what}", self.admin))
    }
}

/// A refusal as lines: the error, then each blocker, with what to do about it where that is known.
fn reasons(body: &Value, advice: &[Advice]) -> String {
    let error = body.get("error").and_then(Value::as_str).unwrap_or("refused");
    // What is refused for one reason only has said it.
    let lines = blockers(body).filter(|blocker| *blocker != error).map(|blocker| {
        let todo = advice.iter().find(|advice| advice.blocker == blocker);
        let todo = todo.map(|advice| format!("\n    {}", advice.todo)).unwrap_or_default();
        format!("\n  {blocker}{todo}")
    });
    format!("{error}{}", lines.collect::<String>())
}

fn blockers(body: &Value) -> impl Iterator<Item = &str> {
    let blockers = body.get("blockers").and_then(Value::as_array).into_iter().flatten();
    blockers.filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_lists_its_blockers_with_what_to_do() {
        let refused = |blockers: &[&str]| {
            let advice = Advice { blocker: "a".into(), todo: "Do it.".into() };
            reasons(&serde_json::json!({"error": "not ready", "blockers": blockers}), &[advice])
        };
        assert_eq!(refused(&["a", "b"]), "not ready\n  a\n    Do it.\n  b");
        assert_eq!(refused(&["not ready"]), "not ready");
        assert_eq!(reasons(&Value::Null, &[]), "refused");
    }
}
