//! The other end of the admin API.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use super::output;
use crate::failure::Failure;

/// How long an answer may take beyond what the caller asked the server to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the running migration is.
#[derive(clap::Args)]
pub(super) struct Admin {
    /// Where the admin API of `crossfade run` is
    #[arg(long, value_name = "ADDR", env = "CROSSFADE_ADMIN", default_value = "127.0.0.1:9680")]
    admin: String,
    /// What it asks for before it changes something
    #[arg(long, value_name = "TOKEN", env = "CROSSFADE_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl Admin {
    /// Asks for something.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = agent(PATIENCE).get(self.url(path));
        let answer = self.read(request.call())?;
        serde_json::from_value(answer).map_err(|error| self.strange(&error.to_string()))
    }

    /// Asks to change something; the answer may take as long as `wait` and a little more.
    pub(super) fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<Value, Failure> {
        let mut request = agent(wait.saturating_add(PATIENCE)).post(self.url(path));
        if let Some(token) = &self.admin_token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.read(request.send_json(body))
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
        format!("http://{}{path}", self.admin)
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
        Err(Failure::no(reasons(&body)))
    }

    fn strange(&self, what: &str) -> Failure {
        Failure::unreachable(format!("the admin API at {}: {what}", self.admin))
    }
}

fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(5)))
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .proxy(None)
        .build();
    Agent::new_with_config(config)
}

/// A refusal as lines: the error, then each blocker.
fn reasons(body: &Value) -> String {
    let error = body.get("error").and_then(Value::as_str).unwrap_or("refused");
    let blockers = body.get("blockers").and_then(Value::as_array).into_iter().flatten();
    let blockers = blockers.filter_map(Value::as_str).map(|blocker| format!("\n  {blocker}"));
    format!("{error}{}", blockers.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_lists_its_blockers() {
        let body = serde_json::json!({"error": "not ready", "blockers": ["a", "b"]});
        assert_eq!(reasons(&body), "not ready\n  a\n  b");
        assert_eq!(reasons(&Value::Null), "refused");
    }
}
