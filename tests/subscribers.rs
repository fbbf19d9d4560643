//! Messages: each one once, to everyone who listens, whatever becomes of the connections that carry them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use support::{Launch, Migration, Server, Tamer, Temper};

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
