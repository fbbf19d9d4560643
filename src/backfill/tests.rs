//! Passes over a server on the loopback that answers as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::keyspace::Keyspace;
use super::{Pass, Route, Trials, recopy};
use crate::engine::Cause;
use crate::engine::example::{SERVER, uncopied, write};
use crate::lane::SharedEngine;
use crate::protocol::databases::Databases;
use crate::protocol::payload::Acceptance;
use crate::server::scripted::{HANG_UP, Scripted};

fn route(server: &Scripted) -> Arc<Route> {
    Arc::new(Route {
        engine: SharedEngine::new(uncopied(), Instant::now(), None, Arc::default()),
        endpoint: server.endpoint.clone(),
        from: SERVER,
        to: SERVER,
        acceptance: Acceptance::expected(&SERVER),
        trials: Trials::new(server.endpoint.clone()),
        by_frequency: false,
        progress: Arc::default(),
        throttle: Arc::default(),
    })
}

fn pass(route: &Arc<Route>) -> Pass {
    Pass {
        route: route.clone(),
        secondary: None,
        keeps_extras: false,
        databases: Databases::All,
        doubtful: false,
    }
}

/// What was appended for the secondary, a line a command.
fn appended(route: &Route) -> String {
    let entries = route.engine.with(|engine| engine.take_effects(usize::MAX));
    let commands: Vec<u8> = entries.iter().flat_map(|entry| entry.commands.to_vec()).collect();
    commands.escape_ascii().to_string()
}

#[tokio::test]
async fn a_pass_copies_every_key_once_and_leaves_out_what_is_migrated() {
    let server = Scripted::holding(&["a", "b", "c"]).await;
    let route = route(&server);
    assert_eq!(pass(&route).run().await, 3);
    let commands = appended(&route);
    assert_eq!(commands.matches("RESTORE").count(), 3, "{commands}");
    assert_eq!(pass(&route).run().await, 0);
    assert_eq!(server.heard("DUMP").len(), 3);
    assert_eq!((route.progress.scanned(), route.progress.estimate()), (3, 3));
}

#[tokio::test]
async fn a_key_that_is_gone_when_it_is_read_is_removed_from_the_secondary() {
    let server = Scripted::start(|request| match request {
        "SCAN 0 COUNT 256" => Some(b"*2\r\n$1\r\n0\r\n*1\r\n$4\r\ngone\r\n"),
        "INFO keyspace" => Some(b"$22\r\ndb0:keys=1,expires=0\r\n\r\n"),
        _ => None,
    })
    .await;
    let route = route(&server);
    assert_eq!(pass(&route).run().await, 1);
    let commands = appended(&route);
    assert!(commands.contains("DEL") && commands.contains("gone"), "{commands}");
}

#[tokio::test]
async fn a_key_that_is_dirty_is_copied_again_and_a_pass_is_not_needed_for_it() {
    let server = Scripted::holding(&["a"]).await;
    let route = route(&server);
    pass(&route).run().await;
    appended(&route);
    let stop = CancellationToken::new();
    tokio::spawn(recopy(route.clone(), stop.clone()));
    route.engine.with(|engine| {
        let key = engine.key_ref(0, Bytes::from_static(b"a"));
        engine.mark_dirty(&key, Cause::Effect);
    });
    server.until_heard("DUMP", 2).await;
    let settled = route.engine.until(|engine| engine.dirty_keys() == 0);
    timeout(Duration::from_secs(20), settled).await.unwrap();
    assert!(appended(&route).contains("RESTORE"));
    stop.cancel();
}

#[tokio::test]
async fn a_write_between_the_scan_and_the_copy_is_in_the_copy_or_the_key_is_dirty() {
    let server = Scripted::holding(&["a"]).await;
    let route = route(&server);
    route.engine.with(|engine| write(engine, "APPEND a x", ":1\r\n", &[":-1\r\n"]));
    pass(&route).run().await;
    assert!(appended(&route).contains("RESTORE"));
    route.engine.with(|engine| write(engine, "APPEND a x", ":2\r\n", &[":-1\r\n"]));
    assert!(appended(&route).contains("APPEND"), "it is migrated now");
}

#[tokio::test]
async fn a_scan_goes_on_where_its_connection_broke_unless_another_process_answers() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Scripted::start(move |request| {
        let page: &[u8] = b"*2\r\n$1\r\n7\r\n*1\r\n$1\r\na\r\n";
        match request {
            "SCAN 7 COUNT 10" if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => {
                Some(HANG_UP)
            }
            "SCAN 0 COUNT 10" | "SCAN 7 COUNT 10" => Some(page),
            _ => None,
        }
    })
    .await;
    let mut scan = Keyspace::new(server.endpoint.clone());
    scan.start(0);
    for _ in 0..2 {
        assert_eq!(scan.next(10).await, Some(vec![Bytes::from_static(b"a")]));
    }
    assert_eq!(server.heard("SCAN"), ["SCAN 0 COUNT 10", "SCAN 7 COUNT 10", "SCAN 7 COUNT 10"]);
    server.replace("two");
    scan.next(10).await;
    assert_eq!(server.heard("SCAN")[3..], ["SCAN 7 COUNT 10", "SCAN 0 COUNT 10"]);
}
