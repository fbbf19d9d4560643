//! What a transaction may hold besides reads and writes, and commands that only the server knows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Migration, Server, Twins};

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
