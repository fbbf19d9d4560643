//! Values copied and compared between real servers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong in a test is to be seen"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use crossfade::config::TargetPolicy;
use crossfade::failure::ServerError;
use crossfade::protocol::capability::{Capabilities, Family};
use crossfade::protocol::databases::Databases;
use crossfade::protocol::payload::{Acceptance, Payload, Way};
use crossfade::protocol::resp::{Reply, Request};
use crossfade::server::{Connection, Endpoint, ServerInfo, Setup};
use crossfade::value::diff::{Difference, Leeway};
use crossfade::value::{
    CannotWrite, Comparer, Fault, Side, TranscribeError, Transcribed, Verdict, probe, transcribe,
};
use crossfade::{check, compare};
use tempfile::TempDir;

#[path = "support/programs.rs"]
mod programs;

use programs::all_servers;

/// A server of its own, gone with the test.
struct Server {
    process: Child,
    home: TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::of(Path::new("redis-server")).await
    }

    async fn of(binary: &Path) -> Self {
        let home = TempDir::new().unwrap();
        let process = Command::new(binary)
            .args(["--port", "0", "--unixsocket", "socket", "--save", "", "--dir"])
            .arg(home.path())
            .current_dir(home.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, home };
        for _ in 0..500 {
            if Connection::open(&server.endpoint(), &Setup::default()).await.is_ok() {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} did not start", binary.display());
    }

    fn endpoint(&self) -> Endpoint {
        format!("unix://{}", self.home.path().join("socket").display()).parse().unwrap()
    }

    async fn connect(&self) -> Connection {
        Connection::open(&self.endpoint(), &Setup::default()).await.unwrap()
    }

    async fn side(&self) -> Side {
        let mut connection = self.connect().await;
        let server = ServerInfo::ask(&mut connection).await.unwrap().capabilities;
        Side { connection, server }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn run(connection: &mut Connection, line: &str) -> Reply {
    let reply = connection.command(line.split(' ')).await.unwrap();
    assert!(!reply.is_error(), "{line}: {reply:?}");
    reply
}

async fn run_all(connection: &mut Connection, requests: impl Iterator<Item = Request>) {
    let requests: Vec<_> = requests.collect();
    for batch in requests.chunks(1000) {
        for reply in connection.ask_all(batch).await.unwrap() {
            assert!(!reply.is_error(), "{reply:?}");
        }
    }
}

/// One key of every type and encoding, the strange ones too.
async fn fill(to: &mut Connection) -> Vec<Bytes> {
    for line in [
        "SET text:int 12345",
        "SET text:short abc",
        "SET text:expiring abc",
        "PEXPIREAT text:expiring 33330000000000",
        "SETBIT text:bits 100000 1",
        "PFADD text:hll a b c d e f",
        "RPUSH list:small a 1 -1 abcdefghij",
        "SADD set:ints 1 2 3 -9223372036854775808",
        "SADD set:small a b c",
        "ZADD zset:small 1 a 0.1 b -inf c inf d -0 e 5e-324 f 1.7976931348623157e308 g 3 h",
        "GEOADD zset:geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
        "HSET hash:small a 1 b 2 c 3",
        "XADD stream:small 1-1 a 1 b 2",
        "XADD stream:small 1-2 a 1 b 2",
        "XADD stream:small 5-0 c 3",
        "XADD stream:small 6-0 c 3",
        "XADD stream:small 7-0 c 3",
        "XGROUP CREATE stream:small readers 0",
        "XGROUP CREATE stream:small idle $",
        "XREADGROUP GROUP readers one COUNT 2 STREAMS stream:small >",
        "XREADGROUP GROUP readers two COUNT 2 STREAMS stream:small >",
        "XCLAIM stream:small readers two 0 1-2",
        "XDEL stream:small 1-2 7-0",
        "XADD stream:gone 1-1 a 1",
        "XGROUP CREATE stream:gone g 0",
        "XREADGROUP GROUP g c STREAMS stream:gone >",
        "XTRIM stream:gone MAXLEN 0",
        "XADD stream:empty 9-9 a 1",
        "XDEL stream:empty 9-9",
        "XGROUP CREATE stream:new g $ MKSTREAM",
    ] {
        run(to, line).await;
    }
    // What only newer servers know.
    for line in [
        "XGROUP CREATECONSUMER stream:small readers three",
        "HSET hash:ending a 1 b 2 c 3",
        "HPEXPIREAT hash:ending 33330000000000 FIELDS 2 a b",
    ] {
        to.command(line.split(' ')).await.unwrap();
    }
    let empty = Request::new(["SET", "text:empty", ""]);
    let large = Request::new([b"SET".as_ref(), b"text:large", &vec![b'x'; 3_000_000]]);
    run_all(to, [empty, large].into_iter()).await;
    let huge = (0..40).map(|n| {
        Request::new([b"RPUSH".as_ref(), b"list:huge-elements", &vec![b'a' + n % 26; 100_000]])
    });
    run_all(to, huge).await;
    for n in 1..20_000 {
        let (name, score) = (format!("m{n}"), (f64::from(n) / 7.0).to_string());
        for args in [
            &["RPUSH", "list:large", &name][..],
            &["SADD", "set:large", &name],
            &["ZADD", "zset:large", &score, &name],
            &["HSET", "hash:large", &name, &score],
            &["XADD", "stream:large", &format!("{n}-1"), &name, &score],
        ] {
            to.queue(&Request::new(args));
        }
        if n % 500 == 0 || n == 19_999 {
            let queued = if n == 19_999 { 499 } else { 500 };
            for _ in 0..5 * queued {
                assert!(!to.answer().await.unwrap().is_error());
            }
        }
    }
    keys(to).await
}

async fn keys(of: &mut Connection) -> Vec<Bytes> {
    let reply = run(of, "KEYS *").await;
    let mut keys: Vec<_> =
        reply.items().unwrap().iter().map(|key| key.text().unwrap().clone()).collect();
    keys.sort_unstable();
    keys
}

async fn verdict(comparer: &mut Comparer, key: &str) -> Verdict {
    let key = Bytes::copy_from_slice(key.as_bytes());
    comparer.compare(&[key]).await.unwrap()[0]
}

const LEEWAY: Leeway = Leeway { clock_offset: 0, tolerance: 50 };

#[tokio::test]
async fn every_value_copied_by_commands_is_equal_and_leaves_no_scratch_key() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (mut from, mut to) = (one.side().await, two.side().await);
    let filled = fill(&mut from.connection).await;
    for key in &filled {
        let copied = transcribe(
            key,
            (&mut from.connection, &from.server),
            (&mut to.connection, &to.server),
            0,
        )
        .await;
        assert_eq!(copied.unwrap(), Transcribed::Copied, "{key:?}");
    }
    assert_eq!(keys(&mut to.connection).await, filled);
    let mut comparer = Comparer::new(one.side().await, two.side().await, LEEWAY);
    for (key, verdict) in filled.iter().zip(comparer.compare(&filled).await.unwrap()) {
        assert_eq!(verdict, Verdict::Equal, "{key:?}");
    }
}

#[tokio::test]
async fn pending_entries_keep_their_age_and_their_number_of_deliveries() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (mut from, mut to) = (one.side().await, two.side().await);
    fill(&mut from.connection).await;
    let mut seen = Vec::new();
    for key in ["stream:small", "stream:gone"].map(Bytes::from) {
        let copied = transcribe(
            &key,
            (&mut from.connection, &from.server),
            (&mut to.connection, &to.server),
            0,
        );
        assert_eq!(copied.await.unwrap(), Transcribed::Copied);
    }
    for side in [&mut from, &mut to] {
        let small = run(&mut side.connection, "XPENDING stream:small readers - + 10").await;
        let gone = run(&mut side.connection, "XPENDING stream:gone g - + 10").await;
        seen.push([pending(&small), pending(&gone)].concat());
    }
    assert_eq!(seen[0].len(), 5);
    for (a, b) in seen[0].iter().zip(&seen[1]) {
        assert_eq!((&a.0, a.2), (&b.0, b.2));
        assert!((b.1 - a.1).abs() < 1000, "{a:?} {b:?}");
    }
}

/// ID and consumer, age, deliveries.
fn pending(reply: &Reply) -> Vec<(String, i64, i64)> {
    let entry = |entry: &Reply| {
        let entry = entry.items().unwrap();
        let who = format!("{:?} {:?}", entry[0], entry[1]);
        (who, entry[2].integer().unwrap(), entry[3].integer().unwrap())
    };
    reply.items().unwrap().iter().map(entry).collect()
}

#[tokio::test]
async fn a_key_that_is_gone_is_not_copied_and_an_old_value_is_replaced_whole() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (mut from, mut to) = (one.side().await, two.side().await);
    run(&mut to.connection, "SADD k old").await;
    let key = Bytes::from_static(b"k");
    for (line, expected) in [("PING", Transcribed::Gone), ("RPUSH k new", Transcribed::Copied)] {
        run(&mut from.connection, line).await;
        let copied = transcribe(
            &key,
            (&mut from.connection, &from.server),
            (&mut to.connection, &to.server),
            0,
        );
        assert_eq!(copied.await.unwrap(), expected);
    }
    let mut comparer = Comparer::new(one.side().await, two.side().await, LEEWAY);
    assert_eq!(verdict(&mut comparer, "k").await, Verdict::Equal);
}

#[tokio::test]
async fn the_same_value_in_another_encoding_is_equal() {
    let (one, two) = (Server::start().await, Server::start().await);
    let mut other = two.connect().await;
    for setting in
        ["hash-max-listpack-entries", "zset-max-listpack-entries", "set-max-intset-entries"]
    {
        run(&mut other, &format!("CONFIG SET {setting} 0")).await;
    }
    let mut comparer = Comparer::new(one.side().await, two.side().await, LEEWAY);
    for server in [&one, &two] {
        let mut connection = server.connect().await;
        run(&mut connection, "HSET hash a 1 b 2").await;
        run(&mut connection, "ZADD zset 1 a 2.5 b -0 c").await;
        run(&mut connection, "SADD set 1 2 3").await;
    }
    for key in ["hash", "zset", "set"] {
        assert_eq!(verdict(&mut comparer, key).await, Verdict::Equal, "{key}");
    }
}

#[tokio::test]
async fn every_kind_of_difference_is_found() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (mut a, mut b) = (one.connect().await, two.connect().await);
    fill(&mut a).await;
    fill(&mut b).await;
    let mut comparer = Comparer::new(one.side().await, two.side().await, LEEWAY);
    for (change, key, difference) in [
        ("DEL text:int", "text:int", Difference::Missing),
        ("SET only:there x", "only:there", Difference::Extra),
        ("RENAME set:small text:short", "text:short", Difference::Type),
        ("PEXPIRE text:expiring 9000000", "text:expiring", Difference::Expiry),
        ("PERSIST text:expiring", "text:expiring", Difference::Expiry),
        ("EXPIRE text:empty 1000", "text:empty", Difference::Expiry),
        ("SETBIT text:bits 7 1", "text:bits", Difference::Value),
        ("SETRANGE text:large 2999999 y", "text:large", Difference::Value),
        ("APPEND text:hll x", "text:hll", Difference::Value),
        ("LSET list:small 2 -2", "list:small", Difference::Value),
        ("LSET list:large 19998 x", "list:large", Difference::Value),
        ("RPUSH list:huge-elements x", "list:huge-elements", Difference::Value),
        ("SADD set:ints 4", "set:ints", Difference::Value),
        ("SMOVE set:large trash m7", "set:large", Difference::Value),
        ("ZINCRBY zset:large 0.00000001 m3", "zset:large", Difference::Value),
        ("HSET hash:small b 3", "hash:small", Difference::Value),
        ("HSET hash:large m19999 x", "hash:large", Difference::Value),
        ("XADD stream:large * x y", "stream:large", Difference::Value),
        ("XACK stream:small readers 5-0", "stream:small", Difference::Value),
        ("XGROUP CREATECONSUMER stream:new g c", "stream:new", Difference::Value),
        ("XSETID stream:empty 9-10", "stream:empty", Difference::Value),
    ] {
        run(&mut b, change).await;
        assert_eq!(verdict(&mut comparer, key).await, Verdict::Different(difference), "{change}");
    }
    assert_eq!(verdict(&mut comparer, "nowhere").await, Verdict::Absent);
    run(&mut b, "SADD set:large m7").await;
    assert_eq!(verdict(&mut comparer, "set:large").await, Verdict::Equal);
}

#[tokio::test]
async fn a_key_that_becomes_equal_soon_is_equal_once_settled() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (mut a, mut b) = (one.connect().await, two.connect().await);
    run(&mut a, "SET late 1").await;
    run(&mut a, "SET lasting 1").await;
    let mut comparer = Comparer::new(one.side().await, two.side().await, LEEWAY);
    let writer = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        run(&mut b, "SET late 1").await;
    });
    let keys = ["late", "lasting"].map(Bytes::from);
    let verdicts = comparer.settle(&keys).await.unwrap();
    assert_eq!(verdicts, [Verdict::Equal, Verdict::Different(Difference::Missing)]);
    writer.await.unwrap();
}

#[tokio::test]
async fn a_server_answers_the_probe_as_the_table_says_and_keeps_nothing() {
    let server = Server::start().await;
    let Side { mut connection, server: capabilities } = server.side().await;
    let probed = probe(&capabilities, &mut connection).await.unwrap();
    assert_eq!(probed, Acceptance::expected(&capabilities));
    assert_eq!(run(&mut connection, "DBSIZE").await, Reply::Integer(0));
}

#[tokio::test]
async fn a_payload_of_a_newer_version_is_restored_under_a_footer_written_anew() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (mut from, mut to) = (one.side().await, two.side().await);
    let filled = fill(&mut from.connection).await;
    let acceptance = Acceptance::expected(&to.server);
    for key in &filled {
        let dump = from.connection.command([b"DUMP".as_ref(), key]).await.unwrap();
        let newer = Payload::new(dump.text().unwrap()).unwrap().with_version(99);
        assert_eq!(acceptance.way(Family::Redis, &newer), Way::Footer(acceptance.version()));
        let restore =
            |payload: &Payload<'_>| Request::new([b"RESTORE".as_ref(), key, b"0", payload.raw()]);
        assert!(to.connection.ask(&restore(&newer)).await.unwrap().is_error());
        let carried = newer.by(acceptance.way(Family::Redis, &newer)).unwrap();
        assert!(to.connection.ask(&restore(&carried)).await.unwrap().is_ok(), "{key:?}");
    }
    run(&mut from.connection, "PERSIST text:expiring").await;
    let mut comparer = Comparer::new(one.side().await, two.side().await, LEEWAY);
    let verdicts = comparer.compare(&filled).await.unwrap();
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Equal), "{verdicts:?}");
}

#[tokio::test]
async fn an_old_servers_relative_times_are_compared_as_absolute_ones() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (mut a, mut b) = (one.connect().await, two.connect().await);
    run(&mut a, "SET k 1 PXAT 4102444800000").await;
    run(&mut b, "SET k 1 PXAT 4102444800000").await;
    let mut old = one.side().await;
    old.server = Capabilities { family: Family::Redis, version: (6, 0, 0) };
    let mut comparer = Comparer::new(old, two.side().await, LEEWAY);
    assert_eq!(verdict(&mut comparer, "k").await, Verdict::Equal);
    run(&mut b, "PEXPIRE k 6000000").await;
    assert_eq!(verdict(&mut comparer, "k").await, Verdict::Different(Difference::Expiry));
}

/// By payload where that goes, else by commands; whether the value is there now.
async fn carry(key: &Bytes, from: &mut Side, to: &mut Side, taken: Acceptance) -> bool {
    let dump = from.connection.command([b"DUMP".as_ref(), key]).await.unwrap();
    let payload = Payload::new(dump.text().unwrap()).unwrap();
    if let Some(payload) = payload.by(taken.way(from.server.family, &payload)) {
        let restore = [b"RESTORE".as_ref(), key, b"0", payload.raw()];
        let reply = to.connection.command(restore).await.unwrap();
        assert!(reply.is_ok(), "{key:?} {} {reply:?}", payload.type_byte());
        return true;
    }
    let copied =
        transcribe(key, (&mut from.connection, &from.server), (&mut to.connection, &to.server), 0);
    match copied.await {
        Ok(copied) => copied == Transcribed::Copied,
        Err(error) => {
            assert!(matches!(error, TranscribeError::Cannot(CannotWrite::FieldExpiry)), "{error}");
            false
        }
    }
}

#[tokio::test]
async fn every_value_gets_from_every_version_to_every_other() {
    let binaries = all_servers();
    if binaries.len() == 1 {
        eprintln!("SKIPPED: no other servers in CROSSFADE_TEST_SERVERS or .cache/servers");
        return;
    }
    for source in &binaries {
        let one = Server::of(source).await;
        let mut from = one.side().await;
        let filled = fill(&mut from.connection).await;
        run(&mut from.connection, "PERSIST text:expiring").await;
        for target in &binaries {
            let two = Server::of(target).await;
            let mut to = two.side().await;
            let taken = probe(&to.server, &mut to.connection).await.unwrap();
            let mut there = Vec::new();
            for key in &filled {
                if carry(key, &mut from, &mut to, taken).await {
                    there.push(key.clone());
                }
            }
            let lost = filled.len() - there.len();
            let ends = from.server.expires_hash_fields() && !to.server.expires_hash_fields();
            assert_eq!(lost, usize::from(ends), "{source:?} to {target:?}");
            let mut comparer = Comparer::new(one.side().await, two.side().await, LEEWAY);
            for (key, verdict) in there.iter().zip(comparer.compare(&there).await.unwrap()) {
                assert_eq!(verdict, Verdict::Equal, "{key:?} {source:?} to {target:?}");
            }
        }
    }
}

fn compare_options(source: &Server, target: &Server) -> compare::Options {
    compare::Options {
        source: source.endpoint(),
        target: target.endpoint(),
        databases: Databases::All,
        expiry_tolerance: Duration::from_millis(50),
        show: 10,
        progress: tokio::sync::watch::Sender::default(),
    }
}

#[tokio::test]
async fn compare_goes_both_ways_through_every_database_and_changes_nothing() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (mut a, mut b) = (one.connect().await, two.connect().await);
    let mut keys = 0;
    for connection in [&mut a, &mut b] {
        keys = fill(connection).await.len() as u64;
        run(connection, "SELECT 3").await;
    }
    assert!(compare::run(compare_options(&one, &two)).await.unwrap().is_equal());
    run(&mut a, "SET here 1").await;
    run(&mut b, "SET there 1").await;
    run(&mut a, "SET both 1").await;
    run(&mut b, "SET both 2").await;
    run(&mut a, "SET ends 1 EX 100").await;
    run(&mut b, "SET ends 1 EX 200").await;
    run(&mut b, "SELECT 0").await;
    run(&mut b, "SET crossfade:cutover 1").await;
    let report = compare::run(compare_options(&one, &two)).await.unwrap();
    assert_eq!((report.missing, report.extra, report.value, report.expiry), (1, 1, 1, 1));
    assert_eq!((report.equal, report.different()), (keys, 4));
    let shown = report.differences.iter().find(|shown| shown.key == "there").unwrap();
    assert_eq!((shown.database, shown.difference), (3, Difference::Extra));
}

#[tokio::test]
async fn compare_can_join_databases_of_two_numbers() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (mut a, mut b) = (one.connect().await, two.connect().await);
    run(&mut a, "SET k 1").await;
    run(&mut b, "SELECT 5").await;
    run(&mut b, "SET k 1").await;
    let all = compare::run(compare_options(&one, &two)).await.unwrap();
    assert_eq!((all.missing, all.extra), (1, 1));
    let databases = Databases::one(0, 5);
    let options = compare::Options { databases, ..compare_options(&one, &two) };
    assert!(compare::run(options).await.unwrap().is_equal());
}

fn check_options(source: Endpoint, target: Endpoint) -> check::Options {
    check::Options {
        source,
        target,
        databases: Databases::All,
        target_policy: TargetPolicy::RequireEmpty,
    }
}

#[tokio::test]
async fn two_good_servers_are_ready_and_the_check_leaves_nothing_behind() {
    let (one, two) = (Server::start().await, Server::start().await);
    run(&mut one.connect().await, "SET k 1").await;
    let report = check::run(check_options(one.endpoint(), two.endpoint())).await.unwrap();
    assert!(report.ready, "{report}");
    assert!(report.findings.iter().all(|finding| finding.level == check::Level::Ok), "{report}");
    assert_eq!(run(&mut one.connect().await, "DBSIZE").await, Reply::Integer(1));
    assert_eq!(run(&mut two.connect().await, "DBSIZE").await, Reply::Integer(0));
}

#[tokio::test]
async fn one_server_twice_and_a_lacking_permission_are_blockers() {
    let (one, two) = (Server::start().await, Server::start().await);
    let twice = check::run(check_options(one.endpoint(), one.endpoint())).await.unwrap();
    assert!(!twice.ready, "{twice}");
    run(&mut two.connect().await, "ACL SETUSER default -restore").await;
    let report = check::run(check_options(one.endpoint(), two.endpoint())).await.unwrap();
    assert!(!report.ready && report.to_string().contains("+restore"), "{report}");
}

#[tokio::test]
async fn a_server_that_refuses_the_password_is_named() {
    let (one, two) = (Server::start().await, Server::start().await);
    run(&mut two.connect().await, "CONFIG SET requirepass secret").await;
    let error = check::run(check_options(one.endpoint(), two.endpoint())).await.unwrap_err();
    assert!(matches!(error, ServerError::Target(Fault::Connect(_))), "{error}");
}
