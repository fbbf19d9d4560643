//! Clients that mean harm, or do harm without meaning it: each is bounded, and none is another's
//! trouble.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Admin, Launch, Migration, Resp, Server, assert_same, encode, wait_until};

/// What the proxy may take for each client that says nothing, in bytes.
const IDLE: u64 = 8 * 1024;

/// Opens connections to it, as many as the system lets a test have, and says nothing.
fn idle_clients(address: &str) -> Vec<Resp> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let most = limit.maximum.map_or(2_000, |maximum| (maximum / 4).min(2_000));
    (0..most).map(|_| Resp::connect(address)).collect()
}

fn connected(migration: &Migration) -> u64 {
    migration.crossfade.status()["clients"]["connected"].as_u64().unwrap()
}

#[test]
fn thousands_of_idle_clients_cost_a_few_kilobytes_each() {
    let migration = Migration::start();
    migration.client().ok("SET a 1");
    let before = migration.crossfade.resident_bytes();
    let mut idle = idle_clients(&migration.crossfade.address());
    let count = idle.len() as u64;
    for client in &mut idle {
        client.ok("PING");
    }
    let grown = migration.crossfade.resident_bytes().saturating_sub(before);
    assert!(grown < count * IDLE, "{count} idle clients took {grown} bytes");
    wait_until("all of them count", || connected(&migration) >= count);
    drop(idle);
    wait_until("all of them are gone", || connected(&migration) == 0);
    migration.finish();
}

#[test]
fn a_buffer_that_was_large_once_is_not_kept() {
    let migration = Migration::start();
    let mut client = migration.client();
    let value = vec![b'x'; 64 << 20];
    client.ok([b"SET".as_slice(), b"large", &value]);
    client.ok("DEL large");
    migration.assert_equal();
    wait_until("the memory is given back", || {
        client.ok("PING");
        migration.crossfade.resident_bytes() < 60 << 20
    });
}

#[test]
fn replies_under_way_to_a_client_that_has_hung_up_are_not_collected() {
    let migration = Migration::start();
    let mut client = migration.client();
    let value = vec![b'x'; 1_000_000];
    client.ok([b"SET".as_slice(), b"large", &value]);
    migration.crossfade.wait_converged();
    let before = migration.crossfade.resident_bytes();
    for _ in 0..4 {
        let mut deserter = migration.client();
        deserter.send_raw(&encode("GET large").repeat(500));
        deserter.reply();
    }
    for _ in 0..50 {
        let grown = migration.crossfade.resident_bytes().saturating_sub(before);
        assert!(grown < 300_000_000, "2 GB of replies for nobody made the proxy grow by {grown}");
        client.ok("INCR counter");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_client_that_does_not_read_is_disconnected_at_the_limit_and_no_other_waits() {
    let mut migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--client-output-limit", "8mib")
    });
    migration.crossfade.expect_log("does not read its replies");
    let mut client = migration.client();
    let value = vec![b'x'; 32 << 20];
    client.ok([b"SET".as_slice(), b"large", &value]);
    let mut deaf = migration.client();
    deaf.send("GET large");
    for _ in 0..200 {
        client.ok("INCR counter");
    }
    wait_until("the deaf client is gone", || connected(&migration) == 1);
    assert!(deaf.read_to_close().len() < 32 << 20);
    migration.finish();
}

#[test]
fn a_client_that_never_reads_is_not_read_from_either() {
    let migration = Migration::start();
    let mut deaf = migration.client();
    let counted = || migration.crossfade.status()["clients"]["commands"].as_u64().unwrap();
    let piece = encode("ECHO 0123456789012345678901234567890123456789").repeat(10_000);
    let before = migration.crossfade.resident_bytes();
    // 120 MB in all; the socket takes no more long before.
    let taken = (0..200).take_while(|_| deaf.send_raw_for(&piece, Duration::from_secs(1))).count();
    assert!(taken < 200, "all of an endless pipeline was taken");
    let (grown, commands) =
        (migration.crossfade.resident_bytes().saturating_sub(before), counted());
    assert!(grown < 32 << 20, "an endless pipeline took {grown} bytes");
    assert!(
        commands < 1_000_000,
        "{commands} commands were taken from a client that reads nothing"
    );
    drop(deaf);
    assert_eq!(migration.client().ok("PING").text(), "PONG");
}

#[test]
fn what_clients_ask_for_and_do_not_read_takes_little() {
    let migration = Migration::start();
    migration.client().ok([b"SET".as_slice(), b"large", &vec![b'x'; 4 << 20]]);
    migration.crossfade.wait_converged();
    let mut deaf: Vec<Resp> = (0..10).map(|_| migration.client()).collect();
    for client in &mut deaf {
        client.send_raw(&encode("GET large").repeat(8));
    }
    let most = (0..200).map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        migration.crossfade.resident_bytes()
    });
    let most = most.max().unwrap();
    assert!(most < 192 << 20, "ten clients that read nothing took {most} bytes");
    // They may take their time.
    for client in &mut deaf {
        for _ in 0..8 {
            assert_eq!(client.reply().bytes().len(), 4 << 20);
        }
        client.ok("PING");
    }
    migration.finish();
}

#[test]
fn when_all_together_leave_too_much_unread_those_that_read_least_go() {
    let mut migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--client-memory", "16mib")
    });
    migration.crossfade.expect_log("reads least");
    let mut client = migration.client();
    client.ok([b"SET".as_slice(), b"large", &vec![b'x'; 8 << 20]]);
    client.ok([b"SET".as_slice(), b"small", &vec![b'x'; 4 << 10]]);
    let mut slow = migration.client();
    slow.send_raw(&encode("GET small").repeat(100));
    let mut deaf: Vec<Resp> = (0..20).map(|_| migration.client()).collect();
    for client in &mut deaf {
        client.send_raw(&encode("GET large").repeat(8));
    }
    wait_until("enough of them are gone", || connected(&migration) < 12);
    wait_until("each of them is counted", || {
        let gone = 22 - connected(&migration);
        let metrics = migration.crossfade.admin().get("/metrics").text;
        metrics.contains(&format!("crossfade_client_errors_total{{kind=\"slow_reader\"}} {gone}"))
    });
    let told = migration.crossfade.log().lines();
    let told = told.iter().filter(|line| line.contains("reads least")).count();
    assert!(told < 5, "{told} lines");
    for _ in 0..100 {
        assert_eq!(slow.reply().bytes().len(), 4 << 10);
    }
    client.ok("INCR counter");
    drop(deaf);
    migration.finish();
}

#[test]
fn large_requests_to_a_source_that_is_stuck_are_not_collected() {
    let migration = Migration::start();
    let mut eager = migration.client();
    eager.ok("PING");
    let before = migration.crossfade.resident_bytes();
    migration.source.freeze();
    let write = encode([b"SET".as_slice(), b"large", &vec![b'x'; 1_000_000]]);
    let taken = (0..200).take_while(|_| eager.send_raw_for(&write, Duration::from_millis(300)));
    let taken = taken.count();
    let grown = migration.crossfade.resident_bytes().saturating_sub(before);
    migration.source.thaw();
    assert!(taken < 40, "{taken} writes of a megabyte were taken for a source that is stuck");
    assert!(grown < 64 << 20, "they took {grown} bytes");
    for _ in 0..taken {
        assert_eq!(eager.reply().text(), "OK");
    }
    drop(eager);
    migration.finish();
}

#[test]
fn what_clients_that_have_gone_asked_for_is_not_asked_of_the_source() {
    let migration = Migration::start();
    let mut client = migration.client();
    client.ok([b"SET".as_slice(), b"large", &vec![b'x'; 1_000_000]]);
    migration.crossfade.wait_converged();
    migration.source.ok("CONFIG RESETSTAT");
    for _ in 0..300 {
        migration.client().send_raw(&encode("GET large").repeat(20));
    }
    client.ok("INCR counter");
    assert_eq!(client.ok("GET counter").text(), "1");
    wait_until("all of them are gone", || connected(&migration) == 1);
    let stats = migration.source.ok("INFO commandstats").text();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    let calls: u64 = calls.unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(calls < 1_500, "{calls} of 6000 reads for nobody");
    migration.finish();
}

#[test]
fn writes_of_a_client_that_has_gone_are_done_and_its_reads_are_not() {
    let migration = Migration::start();
    let mut client = migration.client();
    client.ok([b"SET".as_slice(), b"large", &vec![b'x'; 1_000_000]]);
    migration.crossfade.wait_converged();
    for _ in 0..20 {
        let mut deserter = migration.client();
        // It is known to get large replies, so little of what follows is sent at once.
        deserter.ok("GET large");
        let round = [encode("GET large").repeat(3), encode("INCR counter").repeat(5)].concat();
        deserter.send_raw(&round.repeat(2));
    }
    wait_until("all of them are gone", || connected(&migration) == 1);
    assert_eq!(client.ok("GET counter").text(), "200");
    migration.finish();
}

#[test]
fn a_pipeline_of_replies_of_all_sizes_comes_whole_and_in_order() {
    let migration = Migration::start();
    let mut client = migration.client();
    let sizes = [1, 3_000_000, 10, 70_000, 5_000, 900_000, 2, 4_096];
    for (n, size) in sizes.iter().enumerate() {
        client.ok([b"SET".as_slice(), format!("k{n}").as_bytes(), &vec![b'x'; *size]]);
    }
    let asked: Vec<usize> = (0..400).map(|n| n * 7 % sizes.len()).collect();
    let replies = client.pipeline(asked.iter().map(|n| format!("GET k{n}")));
    for (n, reply) in asked.iter().zip(replies) {
        assert_eq!(reply.bytes().len(), sizes[*n]);
    }
    migration.finish();
}

#[test]
fn http_is_hung_up_on_as_by_the_server() {
    let mut migration = Migration::start();
    migration.crossfade.expect_log("speaks HTTP");
    for request in
        ["POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET a 1\r\n", "Host: x\r\nSET a 1\r\n"]
    {
        let mut direct = Resp::connect(&migration.source.address());
        let mut proxied = migration.client();
        for client in [&mut direct, &mut proxied] {
            client.send_raw(request.as_bytes());
        }
        assert_same(request, &direct.read_to_close(), &proxied.read_to_close());
    }
    assert_eq!(migration.source.size(0), 0);
    migration.finish();
}

#[test]
fn before_a_login_only_little_may_be_sent_as_to_the_server() {
    let source = Server::source_with(&["--requirepass", "s3cret"]);
    let migration = Migration::of(source);
    let large = format!("*2\r\n$4\r\nAUTH\r\n${}\r\n", 16 * 1024 + 1);
    for request in ["*11\r\n", &large, "*10\r\n$x\r\n"] {
        let mut direct = Resp::connect(&migration.source.address());
        let mut proxied = migration.client();
        for client in [&mut direct, &mut proxied] {
            client.send_raw(request.as_bytes());
        }
        assert_same(request, &direct.read_to_close(), &proxied.read_to_close());
    }
    let mut client = migration.client();
    client.ok("AUTH s3cret");
    let many: Vec<String> = (0..100).map(|n| format!("k{n} {}", "v".repeat(1_000))).collect();
    client.ok(format!("MSET {}", many.join(" ")));
    client.ok(["SET", "large", &"x".repeat(100_000)]);
    client.ok("RESET");
    client.send_raw(b"*11\r\n");
    assert!(client.read_to_close().starts_with(b"-ERR Protocol error: unauthenticated"));
    migration.assert_equal();
}

#[test]
fn a_value_that_comes_a_byte_at_a_time_is_taken_and_costs_what_has_come() {
    let migration = Migration::start();
    let mut slow = migration.client();
    let before = migration.crossfade.resident_bytes();
    let mut announced: Vec<Resp> = (0..100).map(|_| migration.client()).collect();
    for client in &mut announced {
        client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\nx");
    }
    for byte in encode(["SET", "slow", &"x".repeat(2_000)]) {
        slow.send_raw(&[byte]);
    }
    assert_eq!(slow.reply().text(), "OK");
    let grown = migration.crossfade.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "fifty gigabytes that were only announced took {grown} bytes");
    drop(announced);
    migration.finish();
}

#[test]
fn when_descriptors_run_out_those_inside_are_served_and_those_outside_wait() {
    let mut migration = Migration::start();
    for expected in ["can't accept a client", "Too many open files"] {
        migration.crossfade.expect_log(expected);
    }
    let mut inside = migration.client();
    inside.ok("SET a 1");
    migration.crossfade.wait_converged();
    // The soft limit alone, so that it can be raised again.
    migration.crossfade.limit("--nofile=64:");
    let mut outside: Vec<Resp> =
        (0..100).map(|_| Resp::connect(&migration.crossfade.address())).collect();
    wait_until("it is told", || migration.crossfade.log().contains("can't accept a client"));
    for n in 0..100 {
        inside.ok(format!("SET a {n}"));
    }
    let complaints = migration.crossfade.log().lines();
    let complaints = complaints.iter().filter(|line| line.contains("can't accept")).count();
    assert!(complaints < 10, "{complaints} lines");
    let last = outside.pop().unwrap();
    drop(outside);
    let mut last = last;
    assert_eq!(last.ok("PING").text(), "PONG", "who waited is served");
    migration.crossfade.limit("--nofile=4096:");
    migration.finish();
}

#[test]
fn the_admin_api_answers_however_many_visitors_say_nothing_or_half_a_word() {
    let migration = Migration::start();
    for said in ["", "GET /healthz HTTP/1.1\r\nhost: loc"] {
        // Somebody new, as a probe is: a connection kept from the round before has been silent for
        // longest, so it may be closed in the moment in which it is asked again.
        let admin = Admin::at(migration.crossfade.admin().address());
        let visit = |_| {
            let mut visitor = Resp::connect(admin.address());
            visitor.send_raw(said.as_bytes());
            visitor
        };
        let visitors: Vec<Resp> = (0..300).map(visit).collect();
        for path in ["/healthz", "/v1/status", "/readyz"] {
            assert_eq!(admin.get(path).code, 200, "{path} behind {said:?}");
        }
        drop(visitors);
    }
    migration.finish();
}

#[test]
fn one_client_too_many_is_told_so() {
    let migration = Migration::with(Server::source(), Server::target(), |launch: Launch| {
        launch.option("--max-clients", "3")
    });
    let mut inside: Vec<Resp> = (0..3).map(|_| migration.client()).collect();
    for client in &mut inside {
        client.ok("PING");
    }
    let told = migration.client().read_to_close();
    assert_eq!(String::from_utf8_lossy(&told), "-ERR max number of clients reached\r\n");
    drop(inside);
    wait_until("there is room again", || connected(&migration) == 0);
    assert_eq!(migration.client().ok("PING").text(), "PONG");
    migration.finish();
}
