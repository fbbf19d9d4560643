//! Listening to which keys the primary's scripts write (`CLIENT TRACKING … BCAST`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::engine::{Engine, Question, Reading};
use crate::lane::SharedEngine;
use crate::protocol::resp::{Frame, Protocol, Reply, Request};
use crate::server::{Broken, ConnectError, Endpoint, Info, RECONNECT_AFTER, Setup, Wire};

/// Scripts that end in so short a time are asked about together.
const TOGETHER: Duration = Duration::from_millis(5);

/// Starts listening when the first script comes.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// The engine whose primary this is.
    pub engine: Arc<SharedEngine>,
    /// The primary.
    pub endpoint: Endpoint,
}

/// How a connection ended.
enum Ended {
    /// It can be tried again.
    Lost(String),
    /// The server does not offer it.
    Refused(String),
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        Self::Lost(broken.to_string())
    }
}

impl Tracker {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
        let woken = self.engine.with(Engine::tracking_is_impossible);
        self.engine.wake(&woken);
    }

    async fn follow(&self) {
        while !self.engine.look(Engine::needs_tracker) {
            self.engine.scripts.notified().await;
        }
        loop {
            let error = match self.serve().await {
                Err(Ended::Refused(error)) => {
                    warn!(%error, "the primary does not tell which keys scripts write: those that \
                                   they declare are mirrored, verify finds others");
                    return;
                }
                Err(Ended::Lost(error)) => error,
                Ok(never) => match never {},
            };
            if self.engine.with(Engine::tracking_ended) {
                warn!(%error, "no longer told which keys scripts write; trying again");
            }
            sleep(RECONNECT_AFTER).await;
        }
    }

    async fn serve(&self) -> Result<Infallible, Ended> {
        let own = Setup::own(&self.endpoint, 0, "crossfade-tracker");
        let setup = Setup { protocol: Protocol::Resp3, ..own };
        let mut wire = match self.endpoint.connect(&setup).await {
            Ok(wire) => wire,
            Err(ConnectError::Refused { reply, .. }) if !reply.starts_with("LOADING") => {
                return Err(Ended::Refused(reply));
            }
            Err(error) => return Err(Ended::Lost(error.to_string())),
        };
        wire.push(Request::new(["CLIENT", "TRACKING", "ON", "BCAST"]).raw());
        if wire.frame().await?.is_error() {
            return Err(Ended::Refused("CLIENT TRACKING is refused".to_owned()));
        }
        let mut line = Line { engine: &self.engine, wire, keyspace: None };
        line.ask();
        let reading = line.hear_until_answered().await?;
        self.engine.wake(&self.engine.with(|engine| engine.tracking_began(&reading)));
        line.listen().await
    }
}

/// A connection that is told what is written.
struct Line<'a> {
    engine: &'a SharedEngine,
    wire: Wire,
    /// The first half of an answer.
    keyspace: Option<Bytes>,
}

impl Line<'_> {
    /// Notes every key that is told, and asks for an answer behind every script's.
    async fn listen(mut self) -> Result<Infallible, Ended> {
        let mut not_before = Instant::now();
        loop {
            let question = self.next_question(not_before).await?;
            self.ask();
            not_before = Instant::now() + TOGETHER;
            let reading = self.hear_until_answered().await?;
            self.engine.wake(&self.engine.with(|engine| engine.answered(question, &reading)));
            self.engine.release_acks();
        }
    }

    /// Waits until there is something to ask, and listens meanwhile.
    async fn next_question(&mut self, not_before: Instant) -> Result<Question, Ended> {
        loop {
            let engine = self.engine;
            let due = async {
                while engine.look(Engine::question).is_none() {
                    engine.scripts.notified().await;
                }
                sleep_until(not_before).await;
                engine.look(Engine::question)
            };
            tokio::select! {
                question = due => if let Some(question) = question { return Ok(question) },
                frame = self.wire.frame() => {
                    self.hear(&frame?);
                }
            }
        }
    }

    fn ask(&mut self) {
        for section in ["keyspace", "commandstats"] {
            self.wire.push(Request::new(["INFO", section]).raw());
        }
    }

    async fn hear_until_answered(&mut self) -> Result<Reading, Ended> {
        loop {
            let frame = self.wire.frame().await?;
            if let Some(reading) = self.hear(&frame) {
                return Ok(reading);
            }
        }
    }

    /// Takes in what is told, or half an answer; the other half makes a whole one.
    fn hear(&mut self, frame: &Frame) -> Option<Reading> {
        if frame.is_push() {
            self.note(frame);
            return None;
        }
        let Some(keyspace) = self.keyspace.take() else {
            self.keyspace = Some(frame.raw.clone());
            return None;
        };
        let databases = Info::new(&text(&keyspace)).keyspace().into_iter().map(|(db, _)| db);
        let swaps = Info::new(&text(&frame.raw)).calls_of("swapdb");
        Some(Reading { databases: databases.collect(), swaps })
    }

    fn note(&self, frame: &Frame) {
        let reply = Reply::parse(&frame.raw).unwrap_or(Reply::Null);
        match reply.items() {
            Some([_, Reply::Array(keys)]) => {
                let keys: Vec<Bytes> = keys.iter().filter_map(|key| key.text().cloned()).collect();
                self.engine.with(|engine| engine.keys_were_written(&keys));
            }
            Some([_, Reply::Null]) => self.engine.with(Engine::keys_were_flushed),
            _ => {}
        }
    }
}

fn text(raw: &Bytes) -> String {
    let reply = Reply::parse(raw).unwrap_or(Reply::Null);
    reply.text().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}
