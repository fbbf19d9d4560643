//! What a transaction may hold besides reads and writes, and commands that only the server knows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Migration, Resp, Server, Twins, Value, encode, wait_until};

#[test]
fn client_commands_in_a_transaction_are_answered_as_by_the_server() {
    Twins::start().agree_on(
        &[
            "SET k 1",
            "MULTI",
            "CLIENT SETNAME me",
            "INCR k",
            "CLIENT GETNAME",
            "CLIENT SETNAME a\x01b",
            "CLIENT NO-EVICT ON",
            "CLIENT REPLY ON",
            "CLIENT KILL ID 999999",
            "CLIENT UNBLOCK 999999",
            "CLIENT CACHING YES",
            "GET k",
            "EXEC",
            "CLIENT GETNAME",
            "MULTI",
            "CLIENT SETNAME other",
            "DISCARD",
            "CLIENT GETNAME",
            "MULTI",
            "CLIENT SETNAME other",
            "NOSUCH",
            "EXEC",
            "CLIENT GETNAME",
            "MULTI",
            "CLIENT NOSUCH",
            "EXEC",
            "GET k",
        ]
        .map(|line| (0, line)),
    );
}

#[test]
fn a_client_in_a_transaction_is_the_one_that_it_is_outside() {
    let migration = Migration::start();
    let mut client = migration.client();
    let id = client.ok("CLIENT ID");
    for line in ["MULTI", "CLIENT ID", "CLIENT SETNAME queued", "CLIENT INFO"] {
        client.ok(line);
    }
    let answers = client.ok("EXEC");
    let answers = answers.elements();
    assert_eq!(answers[0], id);
    assert!(answers[2].text().contains(" name=queued "), "{:?}", answers[2]);
    assert!(client.ok("CLIENT INFO").text().contains(" name=queued "));
    migration.finish();
}

#[test]
fn what_is_queued_of_a_client_is_answered_after_a_flip_too() {
    let migration = Migration::lasting();
    let mut client = migration.client();
    let id = client.ok("CLIENT ID").integer();
    for line in ["MULTI", "CLIENT SETNAME moved", "SET k 1", "CLIENT ID"] {
        client.ok(line);
    }
    migration.crossfade.cut_over();
    client.ok("CLIENT GETNAME");
    assert_eq!(client.ok("EXEC").texts(), ["OK", "OK", &id.to_string(), "moved"]);
    assert_eq!(client.ok("CLIENT GETNAME").text(), "moved");
    migration.finish();
}

#[test]
fn a_name_given_in_a_transaction_that_a_watched_key_breaks_is_not_taken() {
    Twins::start().agree_on(&[
        (0, "CLIENT SETNAME before"),
        (0, "WATCH k"),
        (1, "SET k other"),
        (0, "MULTI"),
        (0, "CLIENT SETNAME after"),
        (0, "SET k mine"),
        (0, "EXEC"),
        (0, "CLIENT GETNAME"),
        (0, "GET k"),
    ]);
}

#[test]
fn waits_and_admitted_administration_are_queued_like_any_command() {
    let migration =
        Migration::with(Server::source(), Server::target(), |launch| launch.flag("--allow-admin"));
    let mut client = migration.client();
    for line in ["MULTI", "CONFIG SET hz 11", "SET k 1", "WAIT 0 0", "READWRITE"] {
        client.ok(line);
    }
    let answers = client.ok("EXEC");
    assert_eq!(answers.clone().elements().len(), 4, "{answers:?}");
    assert_eq!(client.ok("CONFIG GET hz").texts(), ["hz", "11"]);
    migration.finish();
}

#[test]
fn what_is_refused_outside_is_refused_inside_and_the_transaction_fails() {
    let migration = Migration::start();
    let mut client = migration.client();
    for (line, reason) in [
        ("CONFIG SET hz 11", "ERR crossfade: CONFIG SET passes only with --allow-admin"),
        ("REPLICAOF a 1", "ERR crossfade: "),
        ("CLIENT REPLY OFF", "ERR crossfade: "),
        ("CLIENT TRACKING ON", "ERR crossfade: "),
        ("SUBSCRIBE a", "ERR crossfade: "),
    ] {
        client.ok("MULTI");
        client.ok("SET k 1");
        let refused = client.call(line).text();
        assert!(refused.starts_with(reason), "{line}: {refused}");
        assert!(client.call("EXEC").text().starts_with("EXECABORT"), "{line}");
    }
    migration.finish();
}

/// A server whose `APPEND` and `FLUSHALL` bear names that only it knows.
fn server_with_a_dialect() -> Server {
    Server::source_with(&[
        "--rename-command",
        "APPEND",
        "EXTEND",
        "--rename-command",
        "FLUSHDB",
        "RAZE",
    ])
}

#[test]
fn writes_that_only_the_server_knows_are_carried_in_a_transaction_too() {
    let migration = Migration::of(server_with_a_dialect());
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    client.ok("SET k a");
    client.ok("EXTEND k b");
    migration.assert_equal();
    for line in ["MULTI", "EXTEND k c", "INCR n", "EXTEND other d", "RPUSH list x"] {
        client.ok(line);
    }
    let lengths = client.ok("EXEC");
    assert_eq!(lengths.clone().elements().len(), 4, "{lengths:?}");
    assert_eq!(client.ok("GET k").text(), "abc");
    migration.finish();
}

#[test]
fn a_write_whose_keys_nobody_can_tell_fails_its_transaction() {
    let migration = Migration::of(server_with_a_dialect());
    let mut client = migration.client();
    client.ok("SET k a");
    client.ok("MULTI");
    client.ok("SET k b");
    assert!(client.call("RAZE").text().starts_with("ERR crossfade: "));
    assert!(client.call("EXEC").text().starts_with("EXECABORT"));
    assert_eq!(client.ok("GET k").text(), "a");
    migration.finish();
}

#[test]
fn a_user_who_may_not_select_is_served_in_the_database_that_it_is_in() {
    let twins = Twins::start();
    for server in [&twins.plain, &twins.migration.source] {
        server.ok("ACL SETUSER tenant on >secret ~* +@all -select");
    }
    twins.agree_on(
        &[
            "AUTH tenant secret",
            "SET k 1",
            "SELECT 1",
            "GET k",
            "MULTI",
            "INCR k",
            "EXEC",
            "BLPOP none 0.01",
            "GET k",
        ]
        .map(|line| (0, line)),
    );
}

/// Queues so many large values, and gives what each was answered.
fn queue_values(client: &mut Resp, count: usize, bytes: usize) -> Vec<Value> {
    let value = vec![b'x'; bytes];
    let answers = (0..count)
        .map(|n| client.call([b"SET".as_slice(), format!("k{}", n % 10).as_bytes(), &value]));
    answers.collect()
}

#[test]
fn what_is_queued_behind_a_refused_command_is_not_kept() {
    let migration = Migration::start();
    let mut client = migration.client();
    migration.source.ok("CONFIG SET maxmemory 1");
    client.ok("MULTI");
    let before = migration.crossfade.resident_bytes();
    let answers = queue_values(&mut client, 2_000, 100_000);
    assert!(answers.iter().all(|answer| answer.text().starts_with("OOM")), "{:?}", answers[0]);
    let grown = migration.crossfade.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "a transaction that must fail took {grown} bytes");
    assert!(client.call("EXEC").text().starts_with("EXECABORT"));
    migration.source.ok("CONFIG SET maxmemory 0");
    client.ok("MULTI");
    client.ok("SET k0 1");
    assert_eq!(client.ok("EXEC").texts(), ["OK"]);
    drop(client);
    migration.finish();
}

#[test]
fn a_transaction_without_end_fails_and_costs_no_more_than_all_of_them_may() {
    let migration = Migration::start();
    let (mut endless, mut other) = (migration.client(), migration.client());
    endless.ok("MULTI");
    let answers = queue_values(&mut endless, 300, 1 << 20);
    let queued = answers.iter().take_while(|answer| answer.text() == "QUEUED").count();
    assert!((200..=256).contains(&queued), "{queued} MiB were queued");
    assert!(answers[queued].text().starts_with("ERR crossfade: "), "{:?}", answers[queued]);
    assert!(answers[queued + 1..].iter().all(|answer| answer.text() == "QUEUED"));
    wait_until("what it had queued is let go", || migration.crossfade.resident_bytes() < 100 << 20);
    let done = other.pipeline(["MULTI", "SET other 1", "EXEC"]);
    assert_eq!(done[2].clone().texts(), ["OK"], "others have room again");
    assert!(endless.call("EXEC").text().starts_with("EXECABORT"));
    endless.ok("MULTI");
    endless.ok("SET k0 1");
    assert_eq!(endless.ok("EXEC").texts(), ["OK"]);
    drop((endless, other));
    migration.finish();
}

#[test]
fn a_transaction_that_must_fail_fails_after_a_flip_too() {
    let migration = Migration::lasting();
    let (mut client, mut watching) = (migration.client(), migration.client());
    watching.ok("WATCH k");
    for client in [&mut client, &mut watching] {
        client.ok("MULTI");
        client.ok("SET k 1");
        assert!(client.call("NOSUCH").is_error());
        assert_eq!(client.ok("SET k 2").text(), "QUEUED");
    }
    migration.crossfade.cut_over();
    for client in [&mut client, &mut watching] {
        assert_eq!(client.ok("SET k 3").text(), "QUEUED");
        assert!(client.call("EXEC").text().starts_with("EXECABORT"));
        assert_eq!(client.ok("EXISTS k").integer(), 0);
    }
    drop((client, watching));
    migration.finish();
}

#[test]
fn a_user_who_may_not_begin_a_transaction_sends_plain_commands() {
    let twins = Twins::start();
    for server in [&twins.plain, &twins.migration.source] {
        server.ok("ACL SETUSER plain on >secret ~* +@all -multi");
    }
    let lines = ["AUTH plain secret", "MULTI", "SET k 1", "RPUSH list a", "EXEC", "GET k"];
    twins.agree_on(&lines.map(|line| (0, line)));
    let (mut plain, mut proxied) = (twins.plain.client(), twins.migration.client());
    let lines = [
        "AUTH plain secret",
        "MULTI",
        "SET k 2",
        "RPUSH list b",
        "EXEC",
        "WATCH k",
        "MULTI",
        "GET k",
    ];
    assert_eq!(plain.pipeline(lines), proxied.pipeline(lines));
    drop((plain, proxied));
    twins.migration.finish();
}

#[test]
fn every_command_of_a_transaction_that_cannot_be_sent_is_refused() {
    let mut migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--source-timeout", "200ms")
    });
    let mut client = migration.client();
    client.ok("SET k 1");
    migration.source.kill();
    // What was sent before that is noticed may have been done: its client is disconnected.
    migration
        .crossfade
        .wait_status("the source is away", |status| status["source"]["connected"] == false);
    let answers = client.pipeline(["MULTI", "SET k 2", "GET k", "EXEC", "PING"]);
    assert!(
        answers.iter().all(|answer| answer.text().starts_with("ERR crossfade: ")),
        "{answers:?}"
    );
}

#[test]
fn a_block_that_ends_in_another_database_is_mirrored_as_what_was_done() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    for (n, line) in
        ["SET s 1 PX 60000", "INCR n", "APPEND t x", "PEXPIRE s 50000"].iter().enumerate()
    {
        let mut client = migration.client();
        client.pipeline(["MULTI", line, "SELECT 1", "EXEC"]);
        client.pipeline([
            "MULTI".to_owned(),
            format!("RPUSH list {n}"),
            "SELECT 0".to_owned(),
            "EXEC".to_owned(),
        ]);
        migration.assert_equal();
    }
    assert_eq!(migration.target.ok("GET s").text(), "1");
}

#[test]
fn what_is_queued_when_a_client_leaves_its_transaction_is_not_done() {
    let migration = Migration::start();
    for leave in ["QUIT", "RESET"] {
        let mut client = migration.client();
        let answers = client.pipeline(["MULTI", "SET left 1", leave]);
        assert_eq!(answers[1].text(), "QUEUED", "{leave}");
        assert_eq!(migration.client().ok("EXISTS left").integer(), 0, "{leave}");
    }
    migration.finish();
}

#[test]
fn what_follows_an_unwatch_in_a_transaction_is_mirrored_as_what_was_done() {
    let migration = Migration::lasting();
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    for line in ["MULTI", "UNWATCH", "INCR n", "RPUSH list a", "LPOP list"] {
        client.ok(line);
    }
    assert_eq!(client.ok("EXEC").texts(), ["OK", "1", "1", "a"]);
    migration.assert_equal();
    for line in ["MULTI", "UNWATCH", "INCR n"] {
        client.ok(line);
    }
    migration.crossfade.cut_over();
    assert_eq!(client.ok("EXEC").texts(), ["OK", "2"]);
    drop(client);
    migration.finish();
}

#[test]
fn a_client_that_tracks_goes_on_after_a_flip_has_broken_its_transaction() {
    let migration = Migration::lasting();
    let mut client = migration.client();
    for line in ["WATCH k", "CLIENT TRACKING ON NOLOOP", "MULTI", "SET k 1"] {
        client.ok(line);
    }
    migration.crossfade.cut_over();
    assert_eq!(client.call("EXEC"), Value::Null);
    assert_eq!(client.ok("INCR n").integer(), 1, "outside a transaction");
    client.ok("MULTI");
    client.ok("INCR n");
    assert_eq!(client.ok("EXEC").texts(), ["2"]);
    drop(client);
    migration.finish();
}

#[test]
fn a_user_who_may_not_end_a_transaction_or_a_watch_stays_in_it() {
    let twins = Twins::start();
    for server in [&twins.plain, &twins.migration.source] {
        server.ok("ACL SETUSER bound on >secret ~* +@all -unwatch -discard");
    }
    twins.agree_on(&[
        (0, "AUTH bound secret"),
        (0, "WATCH k"),
        (0, "UNWATCH"),
        (1, "SET k other"),
        (0, "MULTI"),
        (0, "INCR n"),
        (0, "EXEC"),
        (0, "MULTI"),
        (0, "INCR n"),
        (0, "DISCARD"),
        (0, "INCR n"),
        (0, "EXEC"),
        (0, "WATCH k"),
        (0, "UNWATCH x"),
        (1, "SET k another"),
        (0, "MULTI"),
        (0, "EXEC"),
        (0, "GET n"),
    ]);
    twins.migration.finish();
}

#[test]
fn only_the_next_reply_is_skipped_when_a_whole_transaction_follows() {
    let twins = Twins::start();
    let lines = ["CLIENT REPLY SKIP", "MULTI", "INCR n", "GET n", "EXEC", "GET n"];
    let requests: Vec<u8> = lines.iter().flat_map(|line| encode(*line)).collect();
    let answered = |mut client: Resp| {
        client.send_raw(&requests);
        (0..4).map(|_| client.raw_reply()).collect::<Vec<_>>()
    };
    assert_eq!(answered(twins.migration.client()), answered(twins.plain.client()));
    twins.migration.finish();
}
