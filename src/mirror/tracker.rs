//! Listening to which keys the primary's scripts write (`CLIENT TRACKING … BCAST`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::backend::{Broken, ConnectError, Endpoint, Setup, Wire};
use crate::engine::{Cause, Engine};
use crate::lane::{Following, Hub};
use crate::resp::{Frame, Protocol, Reply, Request};

/// How soon a lost connection is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Starts listening when the first script comes.
#[derive(Debug)]
pub struct Tracker {
    /// The engine whose primary this is.
    pub hub: Arc<Hub>,
    /// The primary.
    pub endpoint: Endpoint,
}

impl Tracker {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = self.follow() => {}
            () = stop.cancelled() => {}
        }
        self.say(Following::Impossible);
    }

    async fn follow(&self) {
        let mut following = self.hub.following.subscribe();
        // The sender lives as long as the hub.
        let _ = following.wait_for(|state| *state == Following::Wanted).await;
        loop {
            let error = self.serve().await;
            if *following.borrow() == Following::Impossible {
                warn!(%error, "the primary does not tell which keys scripts write: those that they \
                               declare are mirrored, verify finds others");
                return;
            }
            // What scripts wrote while nobody listened is not known.
            self.hub.with(|engine| {
                if engine.scripts_are_open() {
                    engine.distrust(Cause::Unknown);
                }
            });
            if *following.borrow() == Following::On {
                warn!(%error, "no longer told which keys scripts write; trying again");
                self.say(Following::Wanted);
            }
            sleep(RETRY).await;
        }
    }

    fn say(&self, state: Following) {
        if state == Following::Impossible {
            self.hub.with(Engine::stop_following_scripts);
        }
        self.hub.following.send_replace(state);
    }

    async fn serve(&self) -> String {
        let own = Setup::own(&self.endpoint, 0, "crossfade-tracker");
        let setup = Setup { protocol: Protocol::Resp3, ..own };
        let mut wire = match self.endpoint.connect(&setup).await {
            Ok(wire) => wire,
            Err(ConnectError::Refused { reply, .. }) if !reply.starts_with("LOADING") => {
                self.say(Following::Impossible);
                return reply;
            }
            Err(error) => return error.to_string(),
        };
        wire.push(Request::new(["CLIENT", "TRACKING", "ON", "BCAST"]).raw());
        match wire.frame().await {
            Ok(frame) if frame.is_error() => {
                self.say(Following::Impossible);
                return "CLIENT TRACKING is refused".to_owned();
            }
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
        self.say(Following::On);
        match self.listen(&mut wire).await {
            Ok(never) => match never {},
            Err(error) => error.to_string(),
        }
    }

    /// Notes every key that is told, and asks for an answer behind every script's.
    async fn listen(&self, wire: &mut Wire) -> Result<std::convert::Infallible, Broken> {
        let mut asked = None;
        loop {
            if asked.is_none() {
                asked = self.hub.with(|engine| engine.unfenced_scripts());
                if asked.is_some() {
                    wire.push(Request::new(["PING"]).raw());
                }
            }
            tokio::select! {
                frame = wire.frame() => {
                    let frame = frame?;
                    if frame.is_push() {
                        self.note(&frame);
                    } else if let Some(count) = asked.take() {
                        self.hub.with(|engine| engine.scripts_fenced(count));
                        self.hub.release_acks();
                    }
                }
                () = self.hub.scripts.notified(), if asked.is_none() => {}
            }
        }
    }

    fn note(&self, frame: &Frame) {
        let reply = Reply::parse(&frame.raw).unwrap_or(Reply::Null);
        let Some([_, Reply::Array(keys)]) = reply.items() else { return };
        let keys: Vec<Bytes> = keys.iter().filter_map(|key| key.text().cloned()).collect();
        self.hub.with(|engine| engine.written_by_scripts(&keys));
    }
}
