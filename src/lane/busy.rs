//! Whether a script keeps the server from serving anybody else.
//!
//! A server that has run one script for long answers everybody else with `BUSY`. A command that went
//! down the script's own connection would not be read there, and wait without an answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Mutex;

use super::Upstream;
use crate::protocol::resp::{Reply, Request};

/// For so long an answer is everybody's.
const FRESH: Duration = Duration::from_millis(20);

/// What the server said last.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    last: Mutex<Option<(Instant, Option<Bytes>)>>,
}

impl Upstream {
    /// What the server has for clients while a script runs; `None` when it serves them. Answered
    /// when the server does: everybody who asks meanwhile waits for the same answer.
    pub(crate) async fn busy(&self) -> Option<Bytes> {
        let mut last = self.busy.last.lock().await;
        if let Some((when, answer)) = &*last
            && when.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = match self.ask(&Request::new(["PING"])).await {
            Some(Reply::Error(text)) if text.starts_with(b"BUSY ") => Some(text),
            _ => None,
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
