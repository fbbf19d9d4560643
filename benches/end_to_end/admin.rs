//! The admin API of a running crossfade, as a script would use it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;

const POLL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Admin {
    base: String,
}

impl Admin {
    pub(crate) fn at(address: &str) -> Self {
        Self { base: format!("http://{address}") }
    }

    pub(crate) fn status(&self) -> Result<Value> {
        let url = format!("{}/v1/status", self.base);
        Ok(ureq::get(&url).call()?.body_mut().read_json()?)
    }

    /// One value of the Prometheus text; 0 before it has been set.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let text =
            ureq::get(format!("{}/metrics", self.base)).call()?.body_mut().read_to_string()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.map_or(Ok(0.0), str::parse)?)
    }

    /// Waits for the status to be as wanted.
    pub(crate) fn wait_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.status()?) {
            if Instant::now() > deadline {
                return Err(format!("{what}: not within {PATIENCE:?}: {}", self.status()?).into());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    pub(crate) fn wait_for_mirroring(&self) -> Result<()> {
        self.wait_until("mirroring", |status| text(status, "/phase") == "mirroring")
    }

    /// Waits until the secondary has everything.
    pub(crate) fn settle(&self) -> Result<()> {
        self.wait_until("lag 0", |status| {
            number(status, "/mirror/queued") + number(status, "/mirror/dirty_keys") == 0.0
        })
    }

    /// A flip, and how long it held the clients. Only that is of interest: no verify before it.
    pub(crate) fn flip(&self, direction: &str) -> Result<f64> {
        let url = format!("{}/v1/{direction}", self.base);
        let order = match direction {
            "cutover" => json!({"timeout_ms": 5000, "force": true}),
            _ => json!({"timeout_ms": 5000}),
        };
        let answer: Value = ureq::post(&url).send_json(order)?.body_mut().read_json()?;
        Ok(number(&answer, "/hold_ms"))
    }
}

pub(crate) fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
