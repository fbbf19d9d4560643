//! Transparency: a client cannot tell the proxy from the server behind it. Most tests here say the same
//! things to a plain server and to a proxied one and compare every byte that comes back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;
use support::{
    CONVERSATION, Launch, Migration, Resp, Rng, Server, Twins, Value, assert_same, difference,
    encode, wait_until,
};

/// Says the conversation to both, encoded and sent as told, and names every reply that differs.
fn converse(plain: &mut Resp, proxied: &mut Resp, send: impl Fn(&mut Resp, &str)) {
    let mut different = Vec::new();
    for line in CONVERSATION {
        send(plain, line);
        send(proxied, line);
        different.extend(difference(line, &plain.raw_reply(), &proxied.raw_reply()));
    }
    assert!(different.is_empty(), "{} replies differ:\n{}", different.len(), different.join("\n"));
}

#[test]
fn every_reply_in_resp2_is_the_servers_to_the_byte() {
    let twins = Twins::start();
    let (mut plain, mut proxied) = (twins.plain.client(), twins.migration.client());
    converse(&mut plain, &mut proxied, |client, line| client.send(line));
    drop((plain, proxied));
    twins.migration.finish();
}

#[test]
fn every_reply_in_resp3_is_the_servers_to_the_byte() {
    let twins = Twins::start();
    let mut plain = Resp::connect_resp3(&twins.plain.address());
    let mut proxied = Resp::connect_resp3(&twins.migration.crossfade.address());
    converse(&mut plain, &mut proxied, |client, line| client.send(line));
    twins.migration.assert_equal();
}

#[test]
fn inline_requests_are_answered_as_by_the_server() {
    let twins = Twins::start();
    let (mut plain, mut proxied) = (twins.plain.client(), twins.migration.client());
    converse(&mut plain, &mut proxied, |client, line| {
        client.send_raw(format!("{line}\r\n").as_bytes());
    });
    for line in
        ["SET quoted \"a b\\x41\\n\"", "GET 'quoted'", "  GET   quoted  ", "\r\n\r\nGET quoted"]
    {
        for client in [&mut plain, &mut proxied] {
            client.send_raw(format!("{line}\n").as_bytes());
        }
        assert_same(line, &plain.raw_reply(), &proxied.raw_reply());
    }
    twins.migration.assert_equal();
}

#[test]
fn requests_that_arrive_byte_by_byte_are_answered_as_when_whole() {
    let twins = Twins::start();
    let (mut plain, mut proxied) = (twins.plain.client(), twins.migration.client());
    converse(&mut plain, &mut proxied, |client, line| {
        encode(line).chunks(1).for_each(|byte| client.send_raw(byte));
    });
    twins.migration.assert_equal();
}

#[test]
fn a_pipeline_cut_at_any_byte_is_answered_as_when_whole() {
    let migration = Migration::start();
    let requests = ["SET k value", "GET k", "DEL k", "MULTI", "INCR n", "EXEC", "NOSUCH", "GET k"];
    let bytes: Vec<u8> = requests.iter().flat_map(|line| encode(*line)).collect();
    let mut client = migration.client();
    for cut in 1..bytes.len() {
        client.send_raw(&bytes[..cut]);
        client.send_raw(&bytes[cut..]);
        let replies: Vec<Value> = requests.iter().map(|_| client.reply()).collect();
        let n = i64::try_from(cut).unwrap();
        let expected = [
            Value::Simple(b"OK".to_vec()),
            Value::Bulk(b"value".to_vec()),
            Value::Integer(1),
            Value::Simple(b"OK".to_vec()),
            Value::Simple(b"QUEUED".to_vec()),
            Value::Array(vec![Value::Integer(n)]),
        ];
        assert_eq!(replies[..6], expected, "cut at byte {cut}");
        assert!(replies[6].text().starts_with("ERR unknown command"), "cut at byte {cut}");
        assert_eq!(replies[7], Value::Null, "cut at byte {cut}");
    }
    migration.assert_equal();
}

#[test]
fn a_pipeline_of_ten_thousand_requests_is_answered_in_order() {
    let migration = Migration::start();
    let mut client = migration.client();
    let requests = (0..10_000).map(|n| match n % 4 {
        0 => format!("SET key:{n} {n}"),
        1 => format!("GET key:{}", n - 1),
        2 => "INCR counter".to_owned(),
        _ => format!("ECHO {n}"),
    });
    for (n, reply) in client.pipeline(requests).iter().enumerate() {
        let expected = match n % 4 {
            0 => "OK".to_owned(),
            1 => (n - 1).to_string(),
            2 => (n / 4 + 1).to_string(),
            _ => n.to_string(),
        };
        assert_eq!(reply.text(), expected, "reply {n}");
    }
    drop(client);
    migration.finish();
}

#[test]
fn a_value_of_many_megabytes_and_an_empty_one_pass_unchanged() {
    let migration = Migration::start();
    let mut client = migration.client();
    let mut rng = Rng::seeded(7);
    let large: Vec<u8> = (0..20_000_000 / 8).flat_map(|_| rng.number().to_le_bytes()).collect();
    client.ok([b"SET".as_slice(), b"large", &large]);
    assert!(client.ok("GET large").bytes() == large);
    client.ok([b"SET".as_slice(), b"", b""]);
    assert_eq!(client.ok(["GET", ""]).bytes(), b"");
    client.ok([b"SET".as_slice(), b"bin\r\n\0\xff", b"\0\r\n"]);
    drop(client);
    migration.finish();
}

#[test]
fn what_belongs_to_a_connection_stays_on_it() {
    Twins::start().agree_on(&[
        (0, "SELECT 3"),
        (0, "SET a 1"),
        (1, "GET a"),
        (1, "SET a other"),
        (0, "GET a"),
        (0, "CLIENT SETNAME zero"),
        (1, "CLIENT GETNAME"),
        (0, "MULTI"),
        (1, "SET between 1"),
        (0, "GET between"),
        (1, "GET a"),
        (0, "SET a 2"),
        (0, "SELECT 0"),
        (0, "GET a"),
        (0, "EXEC"),
        (0, "DBSIZE"),
        (0, "RESET"),
        (0, "CLIENT GETNAME"),
    ]);
}

#[test]
fn a_watched_key_that_another_client_writes_makes_exec_answer_nil() {
    Twins::start().agree_on(&[
        (0, "WATCH a b"),
        (1, "SET b 1"),
        (0, "MULTI"),
        (0, "SET a 1"),
        (0, "EXEC"),
        (0, "GET a"),
        (0, "WATCH a"),
        (1, "SET b 2"),
        (0, "MULTI"),
        (0, "SET a 2"),
        (0, "EXEC"),
        (0, "WATCH a"),
        (1, "SET a 3"),
        (0, "UNWATCH"),
        (0, "MULTI"),
        (0, "INCR a"),
        (0, "EXEC"),
        (0, "WATCH a"),
        (0, "SET a 9"),
        (0, "MULTI"),
        (0, "INCR a"),
        (0, "EXEC"),
        (0, "WATCH a"),
        (1, "FLUSHALL"),
        (0, "MULTI"),
        (0, "SET a 1"),
        (0, "EXEC"),
        (1, "DBSIZE"),
    ]);
}

#[test]
fn scripts_are_loaded_once_and_run_by_their_digest() {
    Twins::start().agree_on(&[
        (0, "SCRIPT LOAD return{KEYS[1],redis.call('INCR',KEYS[1])}"),
        (1, "EVALSHA 9bd3e80c5c7bb3c3d0b4bfb4b4cf0b6ed9b9ed1f 1 n"),
        (0, "EVAL return{1,'two',false,{3}} 0"),
        (0, "EVAL return{err='MINE_failed'} 0"),
        (0, "EVAL return(redis.call('NOSUCH')) 0"),
        (0, "EVAL return(redis.pcall('NOSUCH')) 0"),
        (0, "EVAL syntax( 0"),
        (0, "EVAL return(1) notanumber"),
        (0, "EVAL_RO return(redis.call('SET','a','1')) 0"),
        (0, "SCRIPT FLUSH"),
        (0, "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
    ]);
}

#[test]
fn a_blocked_pop_is_woken_by_another_client_and_stops_nobody() {
    let migration = Migration::start();
    let mut blocked = migration.client();
    let mut other = migration.client();
    blocked.send("BLPOP first second 0");
    assert_eq!(blocked.reply_within(Duration::from_millis(100)), None);
    assert_eq!(other.ok("PING").text(), "PONG");
    other.ok("RPUSH second element");
    assert_eq!(blocked.reply().texts(), ["second", "element"]);
    assert_eq!(other.ok("LLEN second").integer(), 0);
    blocked.send("BLPOP first 0.05");
    assert_eq!(blocked.reply(), Value::Null);
    drop((blocked, other));
    migration.finish();
}

/// What a server says of how often it has run a command.
fn calls(server: &Server, command: &str) -> String {
    let start = format!("cmdstat_{command}:");
    let stats = server.ok("INFO commandstats").text();
    stats.lines().filter(|line| line.starts_with(&start)).collect()
}

#[test]
fn a_reader_of_a_group_hears_that_its_stream_is_gone_however_soon_it_goes() {
    let twins = Twins::start();
    let (mut plain, mut proxied) = (twins.plain.client(), twins.migration.client());
    let words = |reply: &[u8]| String::from_utf8_lossy(reply).into_owned();
    for end in ["DEL s", "SET s x", "FLUSHALL", "XGROUP DESTROY s g"] {
        plain.ok("DEL s");
        plain.ok("XGROUP CREATE s g $ MKSTREAM");
        let mut waiting = twins.plain.client();
        waiting.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
        wait_until("the reader waits", || {
            plain.ok("INFO clients").text().contains("blocked_clients:1")
        });
        plain.ok(end);
        let expected = words(&waiting.raw_reply());
        for _ in 0..10 {
            proxied.ok("DEL s");
            proxied.ok("XGROUP CREATE s g $ MKSTREAM");
            let mut waiting = twins.migration.client();
            waiting.ok("PING");
            let before = calls(&twins.migration.source, "xreadgroup");
            waiting.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
            wait_until("the server has seen it", || {
                calls(&twins.migration.source, "xreadgroup") != before
            });
            proxied.ok(end);
            let told = words(&waiting.raw_reply());
            assert_eq!(told, expected, "{end}");
        }
    }
    twins.migration.assert_equal();
}

#[test]
fn what_is_added_once_a_reader_waits_for_the_end_of_a_stream_is_read() {
    let migration = Migration::start();
    let mut writer = migration.client();
    writer.ok("XADD s 1-0 f old");
    for round in 2..20 {
        let mut reader = migration.client();
        reader.ok("PING");
        let before = calls(&migration.source, "xread");
        reader.send("XREAD BLOCK 2000 STREAMS nothing s $ $");
        wait_until("the server has seen it", || calls(&migration.source, "xread") != before);
        writer.ok(format!("XADD s {round}-0 f v"));
        let read = format!("{:?}", reader.reply());
        assert!(read.contains("Bulk"), "round {round}: {read}");
    }
    drop(writer);
    migration.assert_equal();
}

#[test]
fn of_two_who_wait_the_first_is_served_first() {
    let twins = Twins::start();
    for address in [&twins.plain.address(), &twins.migration.crossfade.address()] {
        let mut clients: Vec<Resp> = (0..3).map(|_| Resp::connect(address)).collect();
        for round in 0..40 {
            let [first, second, pusher] = &mut clients[..] else { panic!("three") };
            pusher.ok("SET text x");
            first.send("BLMOVE queue text LEFT LEFT 5");
            std::thread::sleep(Duration::from_micros(500));
            second.send("BLMOVE queue list LEFT LEFT 5");
            pusher.ok("RPUSH queue element");
            assert_eq!(second.reply().text(), "element", "round {round}");
            let told = first.reply().text();
            assert!(told.starts_with("WRONGTYPE"), "round {round}: {told}");
        }
    }
    twins.migration.assert_equal();
}

#[test]
fn a_script_that_runs_for_long_keeps_nobody_waiting_without_an_answer() {
    let twins = Twins::start();
    for server in [&twins.plain, &twins.migration.source] {
        server.ok("CONFIG SET lua-time-limit 10");
    }
    let block: Vec<u8> =
        ["MULTI", "SET k 1", "EXEC"].iter().flat_map(|line| encode(*line)).collect();
    let said = [&twins.plain.address(), &twins.migration.crossfade.address()].map(|address| {
        let mut clients: Vec<Resp> = (0..4).map(|_| Resp::connect(address)).collect();
        for client in &mut clients {
            client.ok("SET k 0");
        }
        clients[1].send(["EVAL", "while true do end", "0"]);
        std::thread::sleep(Duration::from_millis(300));
        clients[1].send("PING");
        let mut said = Vec::new();
        let mut ask = |client: &mut Resp, bytes: &[u8], replies: usize| {
            client.send_raw(bytes);
            said.extend((0..replies).map(|_| String::from_utf8(client.raw_reply()).unwrap()));
        };
        for line in ["SET k 2", "GET k", "INCR n", "EVAL return(1) 0"] {
            ask(&mut clients[2], &encode(line), 1);
        }
        ask(&mut clients[2], &block, 3);
        ask(&mut clients[3], &encode("SCRIPT KILL"), 1);
        let killed = clients[1].reply();
        assert!(killed.text().contains("killed"), "{killed:?}");
        assert_eq!(clients[1].reply().text(), "PONG");
        ask(&mut clients[2], &encode("SET k 3"), 1);
        ask(&mut clients[2], &encode("SCRIPT KILL"), 1);
        said
    });
    assert_eq!(said[0], said[1]);
    twins.migration.assert_equal();
}

#[test]
fn a_client_that_leaves_while_blocked_takes_no_element_with_it() {
    let migration = Migration::start();
    let mut blocked = migration.client();
    blocked.send("BLPOP queue 0");
    assert_eq!(blocked.reply_within(Duration::from_millis(200)), None);
    drop(blocked);
    wait_until("nothing blocks on the source any more", || {
        migration.crossfade.status()["clients"]["connected"] == 0
            && migration.source.ok("INFO clients").text().contains("blocked_clients:0")
    });
    let mut client = migration.client();
    client.ok("RPUSH queue element");
    assert_eq!(client.ok("LLEN queue").integer(), 1);
    migration.assert_equal();
}

#[test]
fn what_a_client_piped_behind_a_blocked_pop_waits_for_it() {
    let migration = Migration::start();
    let mut client = migration.client();
    client.send("BLPOP queue 0");
    client.send("SET after 1");
    client.send("GET after");
    assert_eq!(client.reply_within(Duration::from_millis(100)), None);
    assert_eq!(migration.source.ok("EXISTS after").integer(), 0);
    migration.client().ok("RPUSH queue element");
    assert_eq!(client.reply().texts(), ["queue", "element"]);
    assert_eq!((client.reply().text(), client.reply().text()), ("OK".into(), "1".into()));
    migration.assert_equal();
}

#[test]
fn messages_reach_subscribers_of_channels_and_patterns_in_both_protocols() {
    let migration = Migration::start();
    let mut old = migration.client();
    let mut new = Resp::connect_resp3(&migration.crossfade.address());
    assert_eq!(old.ok("SUBSCRIBE news").texts(), ["subscribe", "news", "1"]);
    assert_eq!(old.ok("PSUBSCRIBE n*").texts(), ["psubscribe", "n*", "2"]);
    assert_eq!(new.ok("SUBSCRIBE news").texts(), ["subscribe", "news", "1"]);
    assert_eq!(migration.client().ok("PUBLISH news hello").integer(), 3);
    assert_eq!(old.reply().texts(), ["message", "news", "hello"]);
    assert_eq!(old.reply().texts(), ["pmessage", "n*", "news", "hello"]);
    assert_eq!(new.reply(), Value::Push(["message", "news", "hello"].map(bulk).to_vec()));
    assert_eq!(new.ok("SET a 1").text(), "OK", "RESP3 lets a subscriber do other things");
    let refused = old.call("GET a").text();
    assert!(refused.starts_with("ERR Can't execute 'get'"), "{refused}");
    assert_eq!(old.ok("PING").texts(), ["pong", ""]);
    assert_eq!(old.ok("UNSUBSCRIBE news").texts(), ["unsubscribe", "news", "1"]);
    assert_eq!(old.ok("PUNSUBSCRIBE").texts(), ["punsubscribe", "n*", "0"]);
    assert_eq!(old.ok("GET a").text(), "1");
    drop((old, new));
    migration.finish();
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

#[test]
fn a_client_that_tracks_keys_is_told_of_another_clients_write() {
    let migration = Migration::start();
    let mut tracking = Resp::connect_resp3(&migration.crossfade.address());
    tracking.ok("CLIENT TRACKING ON");
    tracking.ok("GET watched");
    migration.client().ok("SET watched 1");
    let invalidation = Value::Push(vec![bulk("invalidate"), Value::Array(vec![bulk("watched")])]);
    assert_eq!(tracking.reply(), invalidation);
    migration.assert_equal();
}

#[test]
fn client_reply_off_and_skip_silence_what_they_should() {
    let migration = Migration::start();
    let mut client = migration.client();
    client.send("CLIENT REPLY SKIP");
    client.send("SET a 1");
    client.send("GET a");
    assert_eq!(client.reply().text(), "1");
    client.send("CLIENT REPLY OFF");
    client.send("SET a 2");
    client.send("NOSUCH");
    client.send("CLIENT REPLY ON");
    assert_eq!(client.reply().text(), "OK");
    assert_eq!(client.ok("GET a").text(), "2");
    migration.assert_equal();
}

#[test]
fn clients_have_ids_of_their_own_and_quit_says_goodbye() {
    let migration = Migration::start();
    let (mut one, mut two) = (migration.client(), migration.client());
    let (first, second) = (one.ok("CLIENT ID").integer(), two.ok("CLIENT ID").integer());
    assert_ne!(first, second);
    assert_eq!(one.ok("CLIENT ID").integer(), first);
    assert_eq!(one.ok("QUIT").text(), "OK");
    assert!(one.read_to_close().is_empty());
    assert_eq!(two.ok("PING").text(), "PONG");
}

#[test]
fn a_clean_stop_answers_what_is_in_flight_and_drains_the_mirror() {
    let Migration { crossfade, source, target } = Migration::start();
    let mut client = crossfade.client();
    crossfade.wait_phase("mirroring");
    for n in 0..2_000 {
        client.send(format!("RPUSH list {n}"));
    }
    wait_until("the writes have begun", || source.ok("LLEN list").integer() > 0);
    crossfade.finish();
    support::assert_equal(&source, &target);
}

#[test]
fn a_source_on_a_unix_socket_is_reached() {
    let source = Server::source_with(&["--unixsocket", "server.sock"]);
    source.ok("SET a 1");
    let url = format!("unix://{}", source.directory().join("server.sock").display());
    let target = Server::target();
    let crossfade = Launch::urls(&url, &target.url()).start();
    assert_eq!(crossfade.client().ok("INCR a").integer(), 2);
    Migration { crossfade, source, target }.finish();
}
