//! Load by redis-benchmark, and what it says of it.

use crate::Result;
use crate::process::{SERVER_CORE, pinned};

/// Random keys, so that a server does not serve everything out of one cache line.
const KEYSPACE: &str = "100000";
const VALUE_BYTES: &str = "64";

#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) test: &'static str,
    pub(crate) clients: u32,
    pub(crate) pipeline: u32,
    pub(crate) requests: u64,
}

pub(crate) struct Outcome {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Load {
    pub(crate) fn run(&self, port: u16) -> Result<Outcome> {
        let mut command = pinned(SERVER_CORE, "redis-benchmark");
        command.args(["--csv", "-r", KEYSPACE, "-d", VALUE_BYTES, "-t", self.test]);
        for (option, value) in [
            ("-p", u64::from(port)),
            ("-c", u64::from(self.clients)),
            ("-P", u64::from(self.pipeline)),
            ("-n", self.requests),
        ] {
            command.args([option, &value.to_string()]);
        }
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        parse(&text).ok_or_else(|| {
            format!("redis-benchmark: {text}{}", String::from_utf8_lossy(&output.stderr)).into()
        })
    }
}

/// The last line: test, requests a second, then latencies: avg, min, p50, p95, p99, max.
fn parse(csv: &str) -> Option<Outcome> {
    let fields: Vec<f64> = csv.lines().last()?.split(',').skip(1).filter_map(unquoted).collect();
    let &[requests_per_second, _, _, p50_ms, _, p99_ms, _] = fields.as_slice() else { return None };
    Some(Outcome { requests_per_second, p50_ms, p99_ms })
}

fn unquoted(field: &str) -> Option<f64> {
    field.trim_matches('"').parse().ok()
}
