//! The mirror against a server on the loopback that answers as it is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Before, Mirror, Peer};
use crate::engine::Engine;
use crate::engine::example::{in_step, write};
use crate::lane::SharedEngine;
use crate::server::ServerInfo;
use crate::server::scripted::{HANG_UP, ONE, Scripted};

/// A mirror that runs; it ends when dropped.
struct Running {
    engine: Arc<SharedEngine>,
    peer: Arc<Peer>,
    _stop: DropGuard,
}

impl Running {
    fn to(server: &Scripted) -> Self {
        let engine = SharedEngine::new(in_step(), Instant::now(), None, Arc::default());
        let known = ServerInfo { run_id: "one".to_owned(), ..ServerInfo::default() };
        let (peer, stop) = (Arc::new(Peer::new(known)), CancellationToken::new());
        let mirror = Mirror {
            engine: engine.clone(),
            endpoint: server.endpoint.clone(),
            name: "target",
            peer: peer.clone(),
            before: Before::Nobody,
        };
        tokio::spawn(mirror.run(stop.clone()));
        Self { engine, peer, _stop: stop.drop_guard() }
    }

    fn write(&self, line: &str, reply: &'static str) {
        self.engine.with(|engine| write(engine, line, reply, &[]));
    }

    async fn until(&self, says: impl FnMut(&Engine) -> bool) {
        timeout(Duration::from_secs(20), self.engine.until(says)).await.unwrap();
    }

    fn dirty(&self) -> Vec<String> {
        let tickets = self.engine.with(|engine| engine.claim_dirty(9));
        tickets.iter().map(|ticket| String::from_utf8_lossy(ticket.key()).into_owned()).collect()
    }
}

#[tokio::test]
async fn effects_are_sent_once_in_order_and_have_arrived_when_they_are_answered_as_expected() {
    let server = Scripted::start(|request| request.starts_with("DEL").then_some(b":1\r\n")).await;
    let running = Running::to(&server);
    for line in ["DEL s", "DEL r", "DEL s"] {
        running.write(line, ":1\r\n");
    }
    running.until(Engine::is_drained).await;
    assert_eq!(server.heard("DEL"), ["DEL s", "DEL r", "DEL s"]);
    assert_eq!(running.engine.look(|engine| engine.counters().applied), 3);
}

#[tokio::test]
async fn an_answer_that_is_not_the_primarys_makes_the_key_dirty_and_no_other() {
    let answers: fn(&str) -> Option<&'static [u8]> = |request| match request {
        "SADD r a" | "SADD t a" => Some(b":1\r\n"),
        "SADD s a" => Some(b":0\r\n"),
        _ => None,
    };
    let server = Scripted::start(answers).await;
    let running = Running::to(&server);
    for key in ["r", "s", "t"] {
        server.put(key, ONE);
        let line = format!("SADD {key} a");
        running.engine.with(|engine| write(engine, &line, ":1\r\n", &[":-1\r\n"]));
    }
    running.until(|engine| engine.queued().0 == 0).await;
    assert_eq!(running.dirty(), ["s"]);
    assert_eq!(running.engine.look(|engine| engine.counters().mismatched), 1);
}

#[tokio::test]
async fn what_was_in_flight_on_a_connection_that_broke_is_in_doubt_and_not_sent_again() {
    let server = Scripted::start(|request| request.starts_with("DEL").then_some(HANG_UP)).await;
    let running = Running::to(&server);
    running.write("DEL s", ":1\r\n");
    running.until(|engine| engine.dirty_keys() == 1).await;
    server.until_heard("CLIENT KILL", 1).await;
    assert_eq!(server.heard("DEL"), ["DEL s"]);
    assert_eq!(running.dirty(), ["s"]);
    // What it had received, and not done, must not come after what is sent now.
    assert_eq!(server.heard("CLIENT KILL"), ["CLIENT KILL ID 1"]);
}

#[tokio::test]
async fn another_process_at_the_address_is_copied_to_from_the_beginning() {
    let server = Scripted::start(|request| request.starts_with("DEL").then_some(HANG_UP)).await;
    let running = Running::to(&server);
    running.peer.connected().await;
    assert!(!running.engine.look(Engine::needs_pass));
    server.replace("two");
    running.write("DEL s", ":1\r\n");
    running.until(Engine::needs_pass).await;
}

#[tokio::test]
async fn a_replica_is_sent_nothing() {
    let info = b"$42\r\nredis_version:7.0.15\r\nrun_id:1\r\nrole:slave\r\n";
    let server = Scripted::start(|request| request.starts_with("INFO").then_some(info)).await;
    let running = Running::to(&server);
    running.write("DEL s", ":1\r\n");
    server.until_heard("INFO", 3).await;
    assert!(!running.peer.is_connected());
    assert_eq!(server.heard("DEL"), [""; 0]);
}
