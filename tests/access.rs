//! Who may do what: the source's users decide, and what would break the migration is refused by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use support::{Launch, Migration, Resp, Server, Tamer, Temper, Twins, assert_same, wait_until};

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

#[test]
fn one_user_has_the_same_lanes_whatever_password_it_gives() {
    let migration = Migration::start();
    migration.crossfade.wait_converged();
    migration.client().ok("AUTH default one");
    let mut client = migration.client();
    client.ok("GET a");
    let before = migration.source.info("connected_clients");
    for n in 0..200 {
        client.ok(format!("AUTH default p{n}"));
        client.ok(format!("SET a {n}"));
        client.ok("GET a");
    }
    let more = migration.source.info("connected_clients") - before;
    assert!(more <= 4, "200 logins of one user left {more} connections");
    migration.finish();
}

#[test]
fn a_user_with_two_passwords_goes_on_when_one_of_them_is_taken_away() {
    let source = Server::source();
    source.ok("ACL SETUSER app on >old >new ~* &* +@all");
    let migration = Migration::with(source, Server::target(), |launch| launch);
    let [mut first, mut second] = ["old", "new"].map(|password| {
        let mut client = migration.client();
        client.ok(format!("AUTH app {password}"));
        client.ok("INCR a");
        client
    });
    migration.source.ok("ACL SETUSER app <old");
    let mut third = migration.client();
    assert!(third.call("AUTH app old").is_error());
    third.ok("AUTH app new");
    for client in [&mut first, &mut second, &mut third] {
        client.ok("INCR a");
        assert_eq!(client.ok("ACL WHOAMI").text(), "app");
    }
    assert_eq!(migration.client().ok("GET a").text(), "5");
    migration.assert_equal();
}

#[test]
fn of_many_contexts_those_that_nobody_uses_are_closed_and_too_many_are_refused() {
    let source = Server::source_with(&["--databases", "200"]);
    let migration =
        Migration::with(source, Server::target_with(&["--databases", "200"]), |launch| {
            launch.option("--max-contexts", "20")
        });
    let before = migration.source.info("connected_clients");
    let mut wanderer = migration.client();
    for db in 0..200 {
        wanderer.ok(format!("SELECT {db}"));
        wanderer.ok("SET a 1");
        wanderer.ok("GET a");
    }
    let more = migration.source.info("connected_clients") - before;
    assert!(more <= 3 * 20 + 4, "200 databases one after the other left {more} connections");
    let mut settled: Vec<Resp> = (0..20).map(|_| migration.client()).collect();
    drop(wanderer);
    for (db, client) in settled.iter_mut().enumerate() {
        // The one before may not have been seen to go.
        wait_until("there is room", || {
            !client.call(format!("SELECT {db}")).is_error() && !client.call("GET a").is_error()
        });
    }
    let mut one_more = migration.client();
    let refused = one_more.call("SELECT 100").text();
    assert!(refused.contains("--max-contexts"), "{refused}");
    settled[7].ok("GET a");
    drop(settled);
    wait_until("there is room again", || !one_more.call("SELECT 100").is_error());
    one_more.ok("GET a");
    migration.finish();
}

#[test]
fn lanes_of_a_user_who_is_gone_do_not_log_in_again_and_again() {
    let source = Server::source();
    source.ok("ACL SETUSER app on >pw ~* &* +@all");
    let migration = Migration::with(source, Server::target(), |launch| launch);
    let mut client = migration.client();
    client.ok("AUTH app pw");
    client.ok("SET a 1");
    client.ok("GET a");
    migration.source.ok("ACL LOG RESET");
    migration.source.ok("ACL DELUSER app");
    let refused = wait_for_refusal(&mut client);
    assert!(refused.starts_with("WRONGPASS"), "{refused}");
    std::thread::sleep(Duration::from_secs(1));
    let before = migration.source.info("total_connections_received");
    std::thread::sleep(Duration::from_secs(2));
    // The look of every half second and these questions themselves are few.
    let attempts = migration.source.info("total_connections_received") - before;
    assert!(attempts <= 5, "{attempts} connections in two seconds for a user who is gone");
    let mut failed = 0;
    for entry in migration.source.ok("ACL LOG").elements() {
        failed += entry.elements()[1].integer();
    }
    assert!(failed <= 6, "{failed} failed logins");
    wait_until("it is disconnected, as by the server", || {
        migration.crossfade.status()["clients"]["connected"] == 0
    });
    migration.source.ok("ACL SETUSER app on >other ~* &* +@all");
    let mut again = migration.client();
    assert!(again.call("AUTH app pw").is_error());
    again.ok("AUTH app other");
    again.ok("INCR a");
    migration.assert_equal();
}

/// What the client is told once its user is gone.
fn wait_for_refusal(client: &mut Resp) -> String {
    for _ in 0..100 {
        let reply = client.call("GET a");
        if reply.is_error() {
            return reply.text();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("a user who is gone is still served");
}

#[test]
fn a_server_that_is_away_is_not_knocked_at_by_every_lane() {
    let (source, target) = (Server::source(), Server::target());
    let tamer = Tamer::before(&source.address());
    let crossfade = Launch::urls(&tamer.url(), &target.url()).start();
    let mut clients: Vec<Resp> = (0..16).map(|_| crossfade.client()).collect();
    for (db, client) in clients.iter_mut().enumerate() {
        client.ok(format!("SELECT {db}"));
        client.ok("SET a 1");
    }
    tamer.set(Temper::Refusing);
    tamer.cut();
    std::thread::sleep(Duration::from_secs(2));
    // Forty-eight lanes would have tried two thousand times; there are others besides them.
    let attempts = tamer.refused();
    assert!(attempts < 500, "{attempts} attempts in two seconds");
    tamer.set(Temper::Calm);
    for (db, client) in clients.iter_mut().enumerate() {
        *client = crossfade.client();
        client.ok(format!("SELECT {db}"));
        client.ok("GET a");
    }
}

/// A migration whose clients have been cut over, and which may lose its source.
fn cut_over_migration() -> Migration {
    let source = Server::source_with(&["--requirepass", "s3cret"]);
    let target = Server::target_with(&["--requirepass", "other"]);
    for server in [&source, &target] {
        server.ok("ACL SETUSER app on >pw ~* &* +@all");
    }
    let state = source.directory().join("crossfade-state");
    let migration = Migration::with(source, target, |launch| launch.state_dir(&state));
    migration.crossfade.cut_over();
    migration
}

fn strangers_log_in_as_ever(migration: &Migration) {
    for right in ["AUTH s3cret", "AUTH default s3cret", "AUTH app pw"] {
        let mut client = migration.client();
        client.ok(right);
        client.ok("INCR a");
        client.ok("HELLO 3");
        client.ok("INCR a");
    }
    for right in ["HELLO 3 AUTH default s3cret SETNAME me", "HELLO 2 AUTH app pw"] {
        let mut client = migration.client();
        client.ok(right);
        client.ok("INCR a");
    }
    for wrong in ["AUTH other", "AUTH default pw", "AUTH app s3cret", "AUTH nobody pw", "HELLO 3"] {
        let mut client = migration.client();
        assert!(client.call(wrong).is_error(), "{wrong}");
        assert!(client.call("GET a").is_error(), "{wrong}");
    }
    assert_eq!(migration.crossfade.admin().get("/readyz").code, 200);
}

#[test]
fn after_a_cut_over_clients_log_in_without_a_source() {
    let mut migration = cut_over_migration();
    strangers_log_in_as_ever(&migration);
    migration.source.kill();
    strangers_log_in_as_ever(&migration);
    assert_eq!(migration.target.ok("GET a").integer(), 16);
}

#[test]
fn a_source_that_has_stopped_answering_keeps_nobody_from_logging_in() {
    let migration = cut_over_migration();
    migration.source.freeze();
    let started = std::time::Instant::now();
    for _ in 0..5 {
        strangers_log_in_as_ever(&migration);
    }
    // One wait for all of them, not one for each of fifty.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    migration.source.thaw();
    // It decides again, by what it asks now.
    migration.source.ok("ACL SETUSER app >more");
    wait_until("the source is asked again", || {
        !migration.client().call("AUTH app more").is_error()
    });
    migration.crossfade.finish();
}

#[test]
fn what_the_source_asks_of_its_default_user_is_kept_up_after_a_flip() {
    let mut migration = cut_over_migration();
    migration.source.client().ok("ACL SETUSER default >fresh");
    let state = migration.source.directory().join("crossfade-state/state.json");
    let before = std::fs::read_to_string(&state).unwrap();
    wait_until("it is learnt", || std::fs::read_to_string(&state).unwrap() != before);
    migration.source.kill();
    for password in ["s3cret", "fresh"] {
        let mut client = migration.client();
        client.ok(format!("AUTH {password}"));
        client.ok("INCR a");
    }
    assert_eq!(migration.crossfade.phase(), "cut_over");
}

#[test]
fn a_way_to_the_source_that_leads_nowhere_keeps_nobody_from_logging_in() {
    let mut migration = cut_over_migration();
    migration.source.kill();
    let _nowhere = black_hole(migration.source.port());
    let started = std::time::Instant::now();
    for _ in 0..5 {
        strangers_log_in_as_ever(&migration);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

/// Whoever connects there hears nothing at all, as behind a firewall that drops what comes: there is
/// no room for one more connection to wait to be accepted.
fn black_hole(port: u16) -> Vec<socket2::Socket> {
    use socket2::{Domain, Socket, Type};
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port)).into();
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut sockets = vec![listener];
    for _ in 0..8 {
        let waiting = socket();
        waiting.set_nonblocking(true).unwrap();
        let _under_way = waiting.connect(&address);
        sockets.push(waiting);
    }
    sockets
}
