//! Messages: each one once, to everyone who listens, whatever becomes of the connections that carry them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Launch, Migration, Resp, Server, Tamer, Temper, wait_until};

/// Long enough for a connection to be opened again and asked again.
const AGAIN: Duration = Duration::from_millis(500);

#[test]
fn a_message_whose_answer_was_lost_is_not_sent_again() {
    let (source, target) = (Server::source(), Server::target());
    let tamer = Tamer::before(&source.address());
    let crossfade = Launch::urls(&tamer.url(), &target.url()).start();
    crossfade.wait_phase("mirroring");
    for (subscribe, publish, kind) in
        [("SUBSCRIBE", "PUBLISH", "message"), ("SSUBSCRIBE", "SPUBLISH", "smessage")]
    {
        let mut subscriber = source.client();
        subscriber.ok([subscribe, "orders"]);
        let mut publisher = crossfade.client();
        publisher.ok([publish, "orders", "warm"]);
        assert_eq!(subscriber.reply().texts(), [kind, "orders", "warm"]);
        tamer.set(Temper::SwallowReplies);
        publisher.send([publish, "orders", "once"]);
        assert_eq!(subscriber.reply().texts(), [kind, "orders", "once"]);
        assert_eq!(publisher.reply_within(AGAIN), None, "{publish}: the answer is swallowed");
        tamer.set(Temper::Calm);
        tamer.cut();
        assert_eq!(subscriber.reply_within(AGAIN), None, "{publish}");
        assert!(publisher.read_to_close().is_empty(), "nobody knows what became of it");
        crossfade.client().ok([publish, "orders", "last"]);
        assert_eq!(subscriber.reply().texts(), [kind, "orders", "last"]);
    }
}

#[test]
fn messages_come_in_their_place_among_a_clients_own_writes() {
    let migration = Migration::start();
    let mut subscriber = migration.client();
    subscriber.ok("SUBSCRIBE news");
    let mut publisher = migration.client();
    let requests = (0..200).flat_map(|n| [format!("SET k {n}"), format!("PUBLISH news {n}")]);
    publisher.pipeline(requests.chain(["GET k".to_owned()]));
    for n in 0..200 {
        assert_eq!(subscriber.reply().texts(), ["message", "news", &n.to_string()]);
    }
    drop((subscriber, publisher));
    migration.finish();
}

/// Reads events until the one of the last key has come, and counts those of each key.
fn events(subscriber: &mut Resp, last: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    loop {
        let message = subscriber.reply().texts();
        let key = match message[0].as_str() {
            "pmessage" if message[2].starts_with("__keyevent@0__:") => message[3].clone(),
            "pmessage" => message[2].trim_start_matches("__keyspace@0__:").to_owned(),
            "message" => message[2].clone(),
            _ => panic!("{message:?}"),
        };
        if key == "crossfade:cutover" {
            continue;
        }
        let over = key == last;
        *counts.entry(key).or_default() += 1;
        if over {
            return counts;
        }
    }
}

#[test]
fn every_event_of_a_key_is_told_once_across_flips() {
    let options = ["--notify-keyspace-events", "KEA"];
    let source = Server::source_with(&options);
    let state = source.directory().join("state");
    let migration =
        Migration::with(source, Server::target_with(&options), |launch| launch.state_dir(&state));
    let crossfade = &migration.crossfade;
    let mut subscribers: Vec<Resp> = [
        "PSUBSCRIBE __keyevent@0__:*",
        "PSUBSCRIBE __keyspace@0__:*",
        "SUBSCRIBE __keyevent@0__:set",
        "PSUBSCRIBE _?keyevent*",
    ]
    .map(|line| {
        let mut subscriber = crossfade.client();
        subscriber.ok(line);
        subscriber
    })
    .into();
    let mut modern = Resp::connect_resp3(&crossfade.address());
    modern.ok("PSUBSCRIBE __keyevent@0__:*");
    subscribers.push(modern);
    let (address, over) = (crossfade.address(), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (address, over) = (address.clone(), over.clone());
            std::thread::spawn(move || {
                let mut client = Resp::connect(&address);
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    client.ok(format!("SET {writer}:{count} 1"));
                    count += 1;
                }
                count
            })
        })
        .collect();
    for _ in 0..3 {
        crossfade.wait_phase("mirroring");
        crossfade.verify();
        let answer = crossfade.admin().cutover(10_000, true);
        assert_eq!(answer.code, 200, "{}", answer.text);
        std::thread::sleep(Duration::from_millis(100));
        crossfade.roll_back();
        std::thread::sleep(Duration::from_millis(100));
    }
    over.store(true, Ordering::Relaxed);
    let counts: Vec<usize> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    migration.client().ok("SET last 1");
    for subscriber in &mut subscribers {
        let mut told = events(subscriber, "last");
        assert_eq!(told.remove("last"), Some(1));
        let twice: Vec<_> = told.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "told more than once: {twice:?}");
        let written = counts.iter().enumerate();
        let lost: Vec<_> = written
            .flat_map(|(writer, count)| (0..*count).map(move |n| format!("{writer}:{n}")))
            .filter(|key| told.remove(key).is_none())
            .collect();
        assert!(lost.is_empty(), "{} lost: {:?}…", lost.len(), &lost[..lost.len().min(5)]);
        assert!(told.is_empty(), "nobody wrote {told:?}");
    }
    drop(subscribers);
    migration.finish();
}

/// The clients that are connected to a server.
fn connected(server: &Server) -> i64 {
    server.ok("CLIENT LIST").text().lines().count() as i64
}

/// A migration with so many subscribers, whose target takes only some of their connections; and one
/// that the target takes.
fn crowded(count: usize) -> (Migration, Vec<Resp>, Resp) {
    let mut migration = Migration::lasting();
    migration.crossfade.expect_log("some subscribers could not open their channels");
    migration.crossfade.expect_log("some lanes could not be opened");
    migration.crossfade.expect_log("client disconnected");
    let mut subscribers: Vec<Resp> = (0..count).map(|_| migration.client()).collect();
    for subscriber in &mut subscribers {
        subscriber.ok("SUBSCRIBE news");
    }
    migration.client().ok("SET a 1");
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    let mut operator = migration.target.client();
    let room = connected(&migration.target) + 12;
    operator.ok(format!("CONFIG SET maxclients {room}"));
    assert_eq!(migration.crossfade.admin().cutover(5_000, false).code, 200);
    (migration, subscribers, operator)
}

/// Whether the subscriber hears a message (true) or is disconnected (false) in time.
fn hears(subscriber: &mut Resp, publisher: &mut Resp) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        publisher.ok("PUBLISH news hello");
        match subscriber.try_reply_within(Duration::from_millis(50)) {
            Ok(Some(_)) => return true,
            Ok(None) => {}
            Err(_) => return false,
        }
    }
    panic!("a subscriber is connected and deaf");
}

#[test]
fn a_subscriber_that_cannot_be_moved_is_disconnected() {
    let (migration, mut subscribers, mut publisher) = crowded(20);
    let hearing = subscribers
        .iter_mut()
        .filter_map(|subscriber| hears(subscriber, &mut publisher).then_some(()));
    let hearing = hearing.count();
    assert!(hearing < 20, "the target was to be full");
    let metrics = migration.crossfade.admin().get("/metrics").text;
    let counted = format!("crossfade_client_errors_total{{kind=\"unmoved\"}} {}", 20 - hearing);
    assert!(metrics.contains(&counted), "{counted} is not in the metrics");
    publisher.ok("CONFIG SET maxclients 10000");
    let mut again = migration.client();
    again.ok("SUBSCRIBE news");
    assert!(hears(&mut again, &mut publisher));
    drop((subscribers, publisher, again));
    migration.finish();
}

#[test]
fn a_subscriber_is_moved_later_when_there_is_room_again() {
    let (migration, mut subscribers, mut publisher) = crowded(20);
    publisher.ok("CONFIG SET maxclients 10000");
    for subscriber in &mut subscribers {
        assert!(hears(subscriber, &mut publisher));
    }
    wait_until("all are there", || migration.crossfade.status()["clients"]["connected"] == 20);
    drop((subscribers, publisher));
    migration.finish();
}
