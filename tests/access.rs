//! Who may do what: the source's users decide, and what would break the migration is refused by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Migration, Resp, Server, Twins, assert_same};

/// A source and a target that know the same users.
fn guarded_migration() -> Migration {
    let source = Server::source_with(&["--requirepass", "s3cret"]);
    let target = Server::target_with(&["--requirepass", "other"]);
    for server in [&source, &target] {
        server.ok("ACL SETUSER reader on >r3ad ~public:* +@read +@connection");
        server.ok("ACL SETUSER writer on >wr1te ~* &* +@all");
    }
    Migration::with(source, target, |launch| launch)
}

#[test]
fn the_sources_users_and_passwords_decide_who_may_connect() {
    let migration = guarded_migration();
    let script = [
        "GET a",
        "PING",
        "NOSUCH",
        "AUTH wrong",
        "AUTH nobody wrong",
        "SET a 1",
        "AUTH s3cret",
        "SET a 1",
        "AUTH reader wrong",
        "GET a",
        "AUTH reader r3ad",
        "GET a",
        "GET public:a",
        "SET public:a 1",
        "MULTI",
        "SET public:a 1",
        "EXEC",
        "ACL WHOAMI",
        "AUTH writer wr1te",
        "ACL WHOAMI",
        "SET public:a 2",
        "GET public:a",
        "RESET",
        "GET a",
    ];
    // Sent to the source itself first: the replies do not depend on what the first time left behind.
    let mut direct = Resp::connect(&migration.source.address());
    let expected: Vec<Vec<u8>> = script.map(|line| raw_call(&mut direct, line)).to_vec();
    migration.source.ok("FLUSHALL");
    let mut proxied = migration.client();
    for (line, expected) in script.iter().zip(expected) {
        assert_same(line, &expected, &raw_call(&mut proxied, line));
    }
}

#[test]
fn hello_carries_credentials_and_refuses_as_the_server_does() {
    let migration = guarded_migration();
    for line in ["HELLO 3", "HELLO 3 AUTH default wrong", "HELLO 4", "HELLO 3 SETNAME x"] {
        let expected = raw_call(&mut Resp::connect(&migration.source.address()), line);
        let got = raw_call(&mut migration.client(), line);
        assert_same(line, &expected, &got);
    }
    let mut client = migration.client();
    let hello = client.ok("HELLO 3 AUTH writer wr1te SETNAME me").texts();
    assert!(hello.windows(2).any(|pair| pair == ["proto", "3"]), "{hello:?}");
    assert_eq!(client.ok("CLIENT GETNAME").text(), "me");
    assert_eq!(client.ok("ACL WHOAMI").text(), "writer");
}

#[test]
fn a_default_user_without_a_password_takes_any_when_it_is_named() {
    let twins = Twins::start();
    twins.agree_on(
        &["AUTH any", "AUTH default any", "SET k 1", "MULTI", "INCR k", "EXEC", "ACL WHOAMI"]
            .map(|line| (0, line)),
    );
    let mut client = twins.migration.client();
    client.ok("HELLO 3 AUTH default any");
    assert_eq!(client.ok("GET k").text(), "2");
    assert!(twins.migration.client().ok("CLIENT LIST").text().contains(" user=default "));
}

#[test]
fn a_user_who_may_not_select_is_served_where_it_is() {
    let source = Server::source();
    source.ok("ACL SETUSER staying on >st4y ~* &* +@all -select");
    let migration = Migration::with(source, Server::target(), |launch| launch);
    let script = [
        "SELECT 3",
        "SET here three",
        "AUTH staying st4y",
        "GET here",
        "SET here again",
        "SELECT 3",
        "SELECT 0",
        "SELECT 99",
        "SELECT x",
        "GET here",
        "MULTI",
        "SELECT 1",
        "EXEC",
        "MULTI",
        "GET here",
        "EXEC",
        "WATCH here",
        "MULTI",
        "SET here watched",
        "EXEC",
        "BLPOP nothing 0.01",
        "GET here",
        "AUTH default any",
        "GET here",
        "SELECT 0",
        "AUTH staying st4y",
        "GET here",
        "SELECT 0",
    ];
    let mut direct = Resp::connect(&migration.source.address());
    let expected: Vec<Vec<u8>> = script.map(|line| raw_call(&mut direct, line)).to_vec();
    migration.source.ok("FLUSHALL");
    let mut proxied = migration.client();
    for (line, expected) in script.iter().zip(expected) {
        assert_same(line, &expected, &raw_call(&mut proxied, line));
    }
    proxied.ok("SET here zero");
    assert_eq!(migration.source.ok("GET here").text(), "zero");
    // A right that is taken away while it is used is missed at once.
    let mut other = migration.client();
    other.ok("SELECT 5");
    migration.source.ok("ACL SETUSER default -select");
    assert!(other.call("SELECT 5").text().starts_with("NOPERM"));
    assert_eq!(other.ok("DBSIZE").text(), "0");
    drop((proxied, other));
    migration.source.ok("ACL SETUSER default +select");
    migration.assert_equal();
}

fn raw_call(client: &mut Resp, line: &str) -> Vec<u8> {
    client.send(line);
    client.raw_reply()
}

#[test]
fn a_user_without_rights_changes_nothing_on_either_side() {
    let migration = guarded_migration();
    let mut reader = migration.client();
    reader.ok("AUTH reader r3ad");
    assert!(reader.call("SET public:a 1").text().starts_with("NOPERM"));
    assert!(reader.call("FLUSHALL").text().starts_with("NOPERM"));
    migration.assert_equal();
    assert_eq!(migration.target.size(0), 0);
}

#[test]
fn what_would_harm_the_migration_is_refused_by_name() {
    let migration = Migration::start();
    let mut client = migration.client();
    for line in ["REPLICAOF 127.0.0.1 1", "PSYNC ? -1", "SHUTDOWN NOSAVE", "DEBUG SLEEP 0"] {
        let refused = client.call(line).text();
        assert!(refused.starts_with("ERR crossfade: "), "{line}: {refused}");
    }
    assert_eq!(client.ok("PING").text(), "PONG");
}

#[test]
fn a_database_that_is_not_migrated_cannot_be_selected() {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--databases", "0,2")
    });
    let mut client = migration.client();
    client.ok("SELECT 2");
    client.ok("SET a 1");
    assert!(client.call("SELECT 1").is_error());
    assert_eq!(client.ok("GET a").text(), "1", "the client stays where it was");
    migration.assert_equal();
}

#[test]
fn admin_calls_that_change_something_want_the_token() {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--admin-token", "t0ken")
    });
    let admin = migration.crossfade.admin().clone();
    assert_eq!(admin.backfill(false, None).code, 401);
    assert_eq!(admin.clone().with_token("wrong").backfill(false, None).code, 401);
    assert_eq!(admin.clone().with_token("t0ken").backfill(false, None).code, 200);
    assert_eq!(admin.get("/v1/status").code, 200);
    assert_eq!(admin.get("/healthz").code, 200);
    assert_eq!(admin.get("/readyz").code, 200);
}
