//! Numbers of databases inside commands: a client sees the numbers of the source, whatever they are on the
//! server that serves, and none that is not migrated is reached by any command.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Launch, Migration, Resp, Server, Twins, Value, run_cli};

/// Databases 0 and 1 of a server, beside a plain one.
fn limited() -> Twins {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        launch.option("--databases", "0,1")
    });
    Twins { plain: Server::source(), migration }
}

/// Database 2 of the source into database 0 of the target.
struct Mapped {
    migration: Migration,
}

impl Mapped {
    fn start() -> Self {
        let (source, target) = (Server::source(), Server::target());
        let (from, to) = (Self::from(&source), Self::to(&target));
        let state = source.directory().join("state");
        let crossfade = Launch::urls(&from, &to).state_dir(&state).start();
        Self { migration: Migration { crossfade, source, target } }
    }

    fn from(source: &Server) -> String {
        format!("{}/2", source.url())
    }

    fn to(target: &Server) -> String {
        format!("{}/0", target.url())
    }

    /// A client in the migrated database, by the only number that it knows.
    fn client(&self) -> Resp {
        let mut client = self.migration.client();
        client.ok("SELECT 2");
        client
    }

    /// The two databases are equal, and nothing has got into any other.
    fn assert_equal(&self) {
        let Migration { crossfade, source, target } = &self.migration;
        crossfade.wait_converged();
        let (from, to) = (Self::from(source), Self::to(target));
        let compared = run_cli(&["compare", "--source", &from, "--target", &to]);
        assert_eq!(compared.code, 0, "{}{}", compared.stdout, compared.stderr);
        assert_eq!(target.size(2), 0, "nothing is in the target's database of that number");
        let marker = source.ok("EXISTS crossfade:cutover").integer();
        assert_eq!(source.size(0), marker, "nothing else is in the source's database 0");
    }
}

/// Everything that names a database, in all the ways in which it can be sent.
fn name_databases(client: &mut Resp, round: &str) {
    let key = |name: &str| format!("{name}:{round}");
    let (k, copied) = (key("k"), key("copied"));
    client.ok(["SET", &k, "1"]);
    assert_eq!(client.ok(["COPY", &k, &copied, "DB", "2"]).integer(), 1, "{round}");
    assert_eq!(client.ok(["GET", &copied]).text(), "1", "{round}");
    let same = "ERR source and destination objects are the same";
    assert_eq!(client.call(["MOVE", &k, "2"]).text(), same, "{round}");
    assert_eq!(client.ok("SWAPDB 2 2").text(), "OK", "{round}");
    for line in ["SELECT 0", "COPY a b DB 0", "MOVE a 0", "SWAPDB 2 0"] {
        let refused = client.call(line).text();
        assert_eq!(refused, "ERR crossfade: database 0 is not migrated", "{round}: {line}");
    }
    let queued = [
        "MULTI".to_owned(),
        "SELECT 2".to_owned(),
        format!("SET {} 1", key("queued")),
        format!("COPY {k} {} DB 2", key("queued-copy")),
        "CLIENT INFO".to_owned(),
        "EXEC".to_owned(),
    ];
    let block = ["MULTI".to_owned(), format!("COPY {k} {} DB 2", key("block")), "EXEC".to_owned()];
    for stepwise in [true, false] {
        let answers = |client: &mut Resp, lines: &[String]| {
            if stepwise {
                lines.iter().map(|line| client.ok(line)).last().unwrap()
            } else {
                client.pipeline(lines).pop().unwrap()
            }
        };
        client.ok(format!("DEL {} {}", key("queued-copy"), key("block")));
        let done = answers(client, &queued).texts();
        assert_eq!(done[..3], ["OK", "OK", "1"], "{round}");
        assert!(done[3].contains(" db=2 "), "{round}: {}", done[3]);
        assert_eq!(answers(client, &block).texts(), ["1"], "{round}");
        assert_eq!(client.ok(["GET", &key("queued")]).text(), "1", "{round}");
    }
    client.ok(["WATCH", &k]);
    client.ok("MULTI");
    client.ok(["COPY", &k, &key("watched"), "DB", "2"]);
    assert_eq!(client.ok("EXEC").texts(), ["1"], "{round}");
    assert!(client.ok("CLIENT INFO").text().contains(" db=2 "), "{round}");
}

#[test]
fn a_client_names_databases_by_the_sources_numbers_in_every_phase() {
    let mapped = Mapped::start();
    let crossfade = &mapped.migration.crossfade;
    let mut plain = mapped.client();
    let mut caching = mapped.client();
    caching.ok("HELLO 3");
    caching.ok("CLIENT TRACKING ON BCAST PREFIX none");
    name_databases(&mut plain, "mirroring");
    name_databases(&mut caching, "mirroring-session");
    mapped.assert_equal();
    crossfade.cut_over();
    assert!(matches!(caching.reply(), Value::Push(_)), "it drops its cache");
    name_databases(&mut plain, "cut-over");
    name_databases(&mut caching, "cut-over-session");
    mapped.assert_equal();
    crossfade.roll_back();
    assert!(matches!(caching.reply(), Value::Push(_)), "it drops its cache");
    name_databases(&mut plain, "rolled-back");
    name_databases(&mut caching, "rolled-back-session");
    mapped.assert_equal();
    drop((plain, caching));
    mapped.migration.crossfade.finish();
}

#[test]
fn what_is_queued_before_a_flip_names_the_same_databases_after_it() {
    let mapped = Mapped::start();
    let mut client = mapped.client();
    client.ok("SET k 1");
    for line in ["MULTI", "SELECT 2", "SET queued 1", "COPY k copied DB 2"] {
        client.ok(line);
    }
    mapped.migration.crossfade.cut_over();
    assert_eq!(client.ok("EXEC").texts(), ["OK", "OK", "1"]);
    assert_eq!(client.ok("MGET queued copied").texts(), ["1", "1"]);
    assert_eq!(mapped.migration.target.ok("MGET queued copied").texts(), ["1", "1"]);
    assert!(client.ok("CLIENT INFO").text().contains(" db=2 "));
    mapped.assert_equal();
}

#[test]
fn a_database_that_is_not_migrated_is_out_of_reach_of_every_command() {
    let migration = limited().migration;
    let mut client = migration.client();
    client.ok("SET k 1");
    let refusal = "ERR crossfade: database 2 is not migrated";
    for line in ["SELECT 2", "MOVE k 2", "COPY k c DB 2", "COPY k c DB 1 DB 2", "SWAPDB 0 2"] {
        assert_eq!(client.call(line).text(), refusal, "{line}");
        client.ok("MULTI");
        client.ok("SET k 2");
        assert_eq!(client.call(line).text(), refusal, "{line}, queued");
        assert!(client.call("EXEC").text().starts_with("EXECABORT"), "{line}");
        let whole = client.pipeline(["MULTI", "SET k 2", line, "SET k 3", "EXEC"]);
        assert_eq!(whole[2].text(), refusal, "{line}, in one packet");
        assert!(whole[4].text().starts_with("EXECABORT"), "{line}");
    }
    assert_eq!(client.ok("GET k").text(), "1");
    assert_eq!(migration.source.size(2), 0);
    drop(client);
    migration.finish();
}

#[test]
fn all_else_that_is_said_to_a_command_with_a_number_is_the_servers() {
    let twins = limited();
    let lines = [
        "SET k 1",
        "COPY k c DB 1",
        "COPY k c DB x",
        "COPY k c DB",
        "COPY k c DB 1 REPLACE",
        "COPY db db DB 1",
        "COPY k c DB -1",
        "MOVE k 1",
        "MOVE k 1",
        "MOVE c x",
        "MOVE c -1",
        "MOVE c 0",
        "MOVE",
        "SELECT x",
        "SELECT -1",
        "SELECT",
        "SELECT 1 2",
        "SWAPDB 0 x",
        "SWAPDB 0",
        "SWAPDB 0 1",
        "GET k",
        "MULTI",
        "SELECT 1",
        "SET k 2",
        "MOVE k 0",
        "COPY c d DB 0",
        "SELECT x",
        "SELECT -1",
        "SELECT 0",
        "GET k",
        "EXEC",
        "GET k",
        "MULTI",
        "SELECT 1",
        "SET k 3",
        "NOSUCH",
        "EXEC",
        "GET k",
    ];
    twins.agree_on(&lines.map(|line| (0, line)));
    twins.migration.finish();
}

#[test]
fn a_queued_select_that_fails_leaves_the_transaction_where_it_was() {
    let twins = Twins::start();
    twins.agree_on(
        &[
            "SELECT 3",
            "MULTI",
            "SELECT 99",
            "SET k 1",
            "RPUSH list a",
            "EXEC",
            "GET k",
            "MULTI",
            "SELECT 4",
            "SET k 2",
            "SELECT 99",
            "INCR k",
            "EXEC",
            "GET k",
        ]
        .map(|line| (0, line)),
    );
    twins.migration.finish();
}

#[test]
fn a_client_that_wants_no_replies_is_where_its_transaction_went() {
    let migration = Migration::start();
    let mut client = migration.client();
    for line in ["CLIENT REPLY OFF", "MULTI", "SELECT 1", "CLIENT SETNAME quiet", "SET k 1", "EXEC"]
    {
        client.send(line);
    }
    client.send("CLIENT REPLY ON");
    assert_eq!(client.reply().text(), "OK");
    assert_eq!(client.ok("GET k").text(), "1");
    let info = client.ok("CLIENT INFO").text();
    assert!(info.contains(" db=1 ") && info.contains(" name=quiet "), "{info}");
    drop(client);
    migration.finish();
}

/// Keys in databases that are nobody's business here.
fn strangers(servers: [&Server; 2], dbs: &[u32]) {
    for server in servers {
        for db in dbs {
            server.client().pipeline([format!("SELECT {db}"), "SET stranger 1".to_owned()]);
        }
    }
}

fn strangers_are_there(servers: [&Server; 2], dbs: &[u32]) {
    for server in servers {
        for db in dbs {
            assert_eq!(server.size(*db), 1, "database {db}");
        }
    }
}

/// Empties both databases in all ways that a client has, and holds the answers against a server's.
fn flush_both(twins: &Twins, phase: &str) {
    let Migration { crossfade, source, target } = &twins.migration;
    for flush in ["FLUSHALL", "FLUSHALL ASYNC", "flushall SYNC"] {
        let lines = ["SET k 1", "SELECT 1", "SET k 1", flush, "DBSIZE", "SELECT 0", "DBSIZE"];
        twins.agree_on(&lines.map(|line| (0, line)));
        crossfade.wait_converged();
        let left = [source.size(1), target.size(0), target.size(1)];
        assert_eq!(left, [0; 3], "{phase}: {flush}");
        strangers_are_there([source, target], &[2]);
    }
    let lines = ["SET k 1", "FLUSHALL x", "FLUSHALL ASYNC SYNC", "GET k", "FLUSHALL"];
    twins.agree_on(&lines.map(|line| (0, line)));
}

#[test]
fn flushall_empties_every_database_that_is_migrated_and_no_other() {
    let migration = Migration::with(Server::source(), Server::target(), |launch| {
        let launch = launch.option("--databases", "0,1");
        launch.option("--target-policy", "overwrite")
    });
    let twins = Twins { plain: Server::source(), migration };
    let Migration { crossfade, source, target } = &twins.migration;
    strangers([source, target], &[2]);
    flush_both(&twins, "mirroring");
    let mut client = twins.migration.client();
    client.ok("SET k 1");
    client.ok("MULTI");
    let refused = client.call("FLUSHALL").text();
    assert_eq!(refused, "ERR crossfade: FLUSHALL can't be used in a transaction");
    assert!(client.call("EXEC").text().starts_with("EXECABORT"));
    for line in ["CLIENT REPLY SKIP", "FLUSHALL", "INCR k"] {
        client.send(line);
    }
    assert_eq!(client.reply().integer(), 1, "the first that is answered");
    crossfade.wait_converged();
    assert_eq!(crossfade.admin().cutover(5_000, true).code, 200);
    flush_both(&twins, "cut over");
    strangers_are_there([source, target], &[2]);
    drop(client);
}

#[test]
fn flushall_empties_a_mapped_database_alone_wherever_it_is() {
    let mapped = Mapped::start();
    let Migration { crossfade, source, target } = &mapped.migration;
    strangers([source, target], &[5]);
    for phase in ["mirroring", "cut over", "rolled back"] {
        let mut client = mapped.client();
        for flush in [&["FLUSHALL"][..], &["MULTI", "INCR n", "FLUSHALL", "EXEC"]] {
            client.ok("SET k 1");
            let answers: Vec<Value> = flush.iter().map(|line| client.ok(*line)).collect();
            assert_eq!(client.ok("DBSIZE").integer(), 0, "{phase}: {answers:?}");
            client.ok("SET k 1");
            client.pipeline(flush.iter().copied());
            assert_eq!(client.ok("DBSIZE").integer(), 0, "{phase}, in one packet");
            mapped.assert_equal();
            strangers_are_there([source, target], &[5]);
        }
        match phase {
            "mirroring" => drop(crossfade.cut_over()),
            "cut over" => drop(crossfade.roll_back()),
            _ => {}
        }
    }
}
