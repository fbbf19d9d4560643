//! The tests' own eyes, tested: a comparison that cannot fail would prove nothing.

mod support;

use std::time::Duration;
use support::{Resp, Rng, Server, Tamer, Temper, Workload, assert_equal, differences, fill};

/// Removes every group of every stream: what a replica knows of consumers and deliveries is not all
/// that its primary knows (7.0 tells it nothing of a consumer that found no entry).
const WITHOUT_GROUPS: &str = "for _, key in ipairs(redis.call('KEYS', '*')) do
    if redis.call('TYPE', key).ok == 'stream' then
        for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
            redis.call('XGROUP', 'DESTROY', key, group[2])
        end
    end
end";

#[test]
fn a_difference_in_any_type_or_expiry_is_seen() {
    let (source, target) = (Server::source(), Server::target());
    let pairs = [
        ("SET a 1", "SET a 2"),
        ("RPUSH b 1 2", "RPUSH b 2 1"),
        ("SADD c 1 2", "SADD c 1 3"),
        ("ZADD d 1 x", "ZADD d 2 x"),
        ("HSET e f 1", "HSET e f 2"),
        ("XADD f 1-1 a b", "XADD f 1-2 a b"),
        ("SET g 1 PXAT 4102444800000", "SET g 1 PXAT 4102444800100"),
        ("SET h 1", "SET h 1 EX 100"),
        ("SET i 1", "DEL i"),
        ("DEL j", "SET j 1"),
        ("SET k 1", "RPUSH k 1"),
    ];
    for (left, right) in pairs {
        source.ok(left);
        target.ok(right);
    }
    assert_eq!(differences(&source, &target).len(), pairs.len());
}

#[test]
fn equal_servers_are_equal_whatever_the_order_of_writing() {
    let (source, target) = (Server::source(), Server::target());
    let both = |request: &str| {
        source.ok(request);
        target.ok(request);
    };
    source.ok("SADD set a b c d");
    target.ok("SADD set d c b a");
    source.ok("HSET hash a 1 b 2");
    target.ok("HSET hash b 2 a 1");
    both("SET expiring 1 PXAT 4102444800000");
    both("XADD stream 1-1 a b");
    both("XGROUP CREATE stream g 0");
    both("XREADGROUP GROUP g c STREAMS stream >");
    source.ok("SET crossfade:cutover marker");
    assert_equal(&source, &target);
}

#[test]
fn a_pending_entry_that_one_side_lacks_is_seen() {
    let (source, target) = (Server::source(), Server::target());
    for server in [&source, &target] {
        server.ok("XADD stream 1-1 a b");
        server.ok("XGROUP CREATE stream g 0");
        server.ok("XREADGROUP GROUP g c STREAMS stream >");
    }
    target.ok("XACK stream g 1-1");
    assert_eq!(differences(&source, &target).len(), 1);
}

#[test]
fn a_key_that_expires_while_it_is_compared_is_no_difference() {
    let (source, target) = (Server::source(), Server::target());
    source.ok("SET lasting 1 PX 300");
    assert_equal(&source, &target);
}

#[test]
fn the_random_workload_and_its_replica_agree_on_every_type() {
    let source = Server::source();
    let target = Server::target_with(&["--replicaof", "127.0.0.1", &source.port().to_string()]);
    let mut rng = Rng::seeded(1);
    support::wait_until("the replica follows", || {
        target.ok("INFO replication").text().contains("master_link_status:up")
    });
    fill(&mut source.client(), &mut rng, 300);
    let workload = Workload::start(&source.address(), &mut rng, 4);
    workload.run_for(2_000);
    assert!(workload.stop() >= 2_000);
    // WAIT waits for the writes of its own connection alone.
    let mut last = source.client();
    for database in 0..16 {
        last.ok(["SELECT", &database.to_string()]);
        last.ok(["EVAL", WITHOUT_GROUPS, "0"]);
    }
    last.ok("SET last write");
    assert_eq!(last.ok("WAIT 1 5000").integer(), 1);
    assert_equal(&source, &target);
    assert!(source.size(0) > 20);
}

#[test]
fn the_tamer_delays_swallows_and_cuts() {
    let server = Server::source();
    let tamer = Tamer::before(&server.address());
    let mut client = Resp::connect(&tamer.address());
    assert_eq!(client.ok("PING").text(), "PONG");
    tamer.set(Temper::SwallowReplies);
    client.send("INCR swallowed");
    assert_eq!(client.reply_within(Duration::from_millis(200)), None);
    assert_eq!(server.ok("GET swallowed").integer(), 1);
    tamer.cut();
    assert!(client.try_call("PING").is_err());
}

#[test]
fn the_invariants_hold_on_a_plain_server() {
    let server = Server::source();
    let invariants = support::Invariants::start(&server.address());
    invariants.run_for(500);
    invariants.finish(&server);
}

#[test]
fn a_durable_server_keeps_its_keys_through_a_kill_and_forgets_them_when_told() {
    let mut server = Server::durable_source();
    server.ok("SET a 1");
    server.restart();
    assert_eq!(server.size(0), 1);
    server.restart_empty();
    assert_eq!(server.size(0), 0);
}
