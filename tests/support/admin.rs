//! The admin API over plain HTTP, as a script would use it.

use serde_json::{Value, json};
use std::time::Duration;

/// An answer: the status code and the body, as JSON where it is.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text))
    }
}

/// A client of one admin API.
#[derive(Clone)]
pub struct Admin {
    agent: ureq::Agent,
    address: String,
    token: Option<String>,
}

impl Admin {
    /// A client of the API at the address.
    pub fn at(address: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)));
        Self { agent: config.build().into(), address: address.to_owned(), token: None }
    }

    /// The same client bearing a token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Where the API listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A `GET`.
    pub fn get(&self, path: &str) -> Answer {
        let response = self.agent.get(self.url(path)).call();
        answer(path, response)
    }

    /// A `POST` with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let mut request = self.agent.post(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        answer(path, request.send_json(body))
    }

    /// The status object.
    pub fn status(&self) -> Value {
        let answer = self.get("/v1/status");
        assert_eq!(answer.code, 200, "status: {}", answer.text);
        answer.json()
    }

    /// Asks for a cut-over.
    pub fn cutover(&self, timeout_ms: u64, force: bool) -> Answer {
        self.post("/v1/cutover", &json!({"timeout_ms": timeout_ms, "force": force}))
    }

    /// Asks for a rollback.
    pub fn rollback(&self, timeout_ms: u64) -> Answer {
        self.post("/v1/rollback", &json!({"timeout_ms": timeout_ms}))
    }

    /// Lets the source go.
    pub fn finalize(&self) -> Answer {
        self.post("/v1/finalize", &json!({}))
    }

    /// Pauses or resumes the backfill and sets its rate.
    pub fn backfill(&self, paused: bool, rate: Option<u64>) -> Answer {
        self.post("/v1/backfill", &json!({"paused": paused, "rate": rate}))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn answer(path: &str, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = response.body_mut().read_to_string().expect("a body of text");
    Answer { code: response.status().as_u16(), text }
}
