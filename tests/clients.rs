//! `CLIENT`, `MONITOR`, and sessions of every kind: clients see each other, not the connections that
//! crossfade has behind them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;
use support::{Migration, Resp, Twins, Value, assert_same, encode, wait_for, wait_until};

/// Long enough to see that something does not happen.
const SILENCE: Duration = Duration::from_millis(150);

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn resp3(migration: &Migration) -> Resp {
    Resp::connect_resp3(&migration.crossfade.address())
}

/// The line of `CLIENT LIST` about the client of that number.
fn listed(observer: &mut Resp, id: i64) -> Option<String> {
    let list = observer.ok("CLIENT LIST").text();
    list.lines().find(|line| line.starts_with(&format!("id={id} "))).map(str::to_owned)
}

/// Waits until that client is listed with all these fields.
fn wait_listed(observer: &mut Resp, id: i64, fields: &str) {
    wait_until(&format!("client {id} is listed with {fields}"), || {
        let line = listed(observer, id).unwrap_or_default();
        fields.split(' ').all(|field| line.split(' ').any(|own| own == field))
    });
}

/// What `INFO` counts of clients, as the lines of it that a migration can know.
fn counted(info: &str) -> Vec<String> {
    let told = ["connected", "blocked", "tracking", "pubsub", "watching"];
    let is_told = |name: &str| {
        name == "clients_in_timeout_table"
            || name.strip_suffix("_clients").is_some_and(|name| told.contains(&name))
    };
    let lines = info.lines();
    lines.filter(|line| line.split(':').next().is_some_and(is_told)).map(str::to_owned).collect()
}

/// What comes back to a client that says this and closes its end.
fn said_to(address: &str, conversation: &[u8]) -> Vec<u8> {
    let mut client = Resp::connect(address);
    client.send_raw(conversation);
    client.finish_sending();
    client.read_to_close()
}

#[test]
fn who_has_finished_sending_still_gets_what_it_asked_for() {
    let twins = Twins::start();
    let proxy = twins.migration.crossfade.address();
    let conversations = [
        b"PING\r\n".to_vec(),
        b"SET a 1\r\nGET a\r\nGET a".to_vec(),
        encode("INCR n").repeat(3000),
        b"MULTI\r\nINCR n\r\nWATCH a\r\nEXEC\r\n".to_vec(),
        b"SUBSCRIBE channel\r\n".to_vec(),
        b"BLPOP nothing 0\r\n".to_vec(),
    ];
    for conversation in conversations {
        let [plain, proxied] =
            [twins.plain.address(), proxy.clone()].map(|address| said_to(&address, &conversation));
        assert_same(&conversation.escape_ascii().to_string(), &plain, &proxied);
    }
    let value = vec![b'x'; 300_000];
    let set = encode([b"SET".as_slice(), b"large", &value]);
    let all = said_to(&proxy, &[set, encode("GET large").repeat(20)].concat());
    assert_eq!(all.len(), "+OK\r\n".len() + 20 * "$300000\r\n\r\n".len() + 20 * value.len());
    twins.migration.assert_equal();
}

#[test]
fn a_line_about_a_client_has_the_fields_of_the_servers_version() {
    let twins = Twins::start();
    let addresses = [twins.plain.address(), twins.migration.crossfade.address()];
    let [plain, proxied] = addresses.map(|address| {
        let mut client = Resp::connect(&address);
        let own = format!("CLIENT LIST ID {}", client.ok("CLIENT ID").integer());
        let same = ["qbuf", "multi", "sub", "events", "cmd", "resp", "flags", "redir", "user"];
        ["CLIENT LIST", "CLIENT INFO", &own].map(|line| {
            let told = client.ok(line).text();
            let fields = told.lines().next().unwrap().split(' ').map(|field| {
                let (name, _) = field.split_once('=').unwrap();
                if same.contains(&name) { field.to_owned() } else { name.to_owned() }
            });
            fields.collect::<Vec<_>>()
        })
    });
    assert_eq!(plain, proxied);
}

#[test]
fn info_counts_the_clients_of_the_proxy_as_the_server_does_its_own() {
    let twins = Twins::start();
    let mut sides = [&twins.plain.address(), &twins.migration.crossfade.address()].map(|address| {
        let mut observer = Resp::connect_resp3(address);
        observer.ok("XGROUP CREATE stream g $ MKSTREAM");
        let mut clients: Vec<Resp> = (0..6).map(|_| Resp::connect(address)).collect();
        clients[0].send("BLPOP queue 0");
        clients[1].send("BZPOPMIN zset 1000");
        clients[2].send("XREADGROUP GROUP g c BLOCK 100000 STREAMS stream >");
        clients[3].ok("WATCH a b");
        clients[4].send("SUBSCRIBE channel");
        clients[5].ok("CLIENT TRACKING ON BCAST");
        (observer, clients)
    });
    let agree = |sides: &mut [(Resp, Vec<Resp>); 2], what: &str| {
        wait_until(&format!("INFO counts alike: {what}"), || {
            let [plain, proxied] =
                sides.each_mut().map(|(observer, _)| counted(&observer.ok("INFO clients").text()));
            plain.len() >= 4 && plain == proxied
        });
    };
    agree(&mut sides, "waiting, watching, listening, tracking");
    for (observer, clients) in &mut sides {
        observer.ok("CLIENT PAUSE 100000 WRITE");
        clients[3].send("SET a 1");
    }
    agree(&mut sides, "paused");
    let counts = sides.each_mut().map(|(observer, _)| {
        let whole = ["INFO", "INFO all", "INFO everything", "INFO server clients"];
        let mut counts: Vec<_> = whole.map(|line| counted(&observer.ok(line).text())).to_vec();
        observer.send("INFO clients");
        assert!(observer.raw_reply().starts_with(b"="), "a verbatim string in RESP3");
        observer.ok("MULTI");
        observer.ok("INFO clients");
        counts.extend(observer.ok("EXEC").texts().iter().map(|info| counted(info)));
        assert!(counted(&observer.ok("INFO server").text()).is_empty());
        counts
    });
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0].iter().all(|count| *count == counts[0][0]), "{counts:?}");
    for (observer, clients) in &mut sides {
        observer.ok("CLIENT UNPAUSE");
        observer.ok("RPUSH queue x");
        clients.truncate(2);
    }
    agree(&mut sides, "most of them gone");
}

#[test]
fn what_the_server_says_to_a_wrong_client_command_is_said_here_too() {
    Twins::start().agree_on(
        &[
            "CLIENT",
            "CLIENT NOSUCH",
            "CLIENT ID x",
            "CLIENT LIST TYPE nosuch",
            "CLIENT LIST ID",
            "CLIENT LIST ID x",
            "CLIENT LIST NOSUCH x",
            "CLIENT KILL",
            "CLIENT KILL 1.2.3.4:5",
            "CLIENT KILL ID x",
            "CLIENT KILL ID 0",
            "CLIENT KILL ID 999999 TYPE nosuch",
            "CLIENT KILL ID 999999 USER nosuch",
            "CLIENT KILL SKIPME maybe",
            "CLIENT KILL ID 999999",
            "CLIENT UNBLOCK x",
            "CLIENT UNBLOCK 999999",
            "CLIENT UNBLOCK 999999 NOSUCH",
            "CLIENT PAUSE",
            "CLIENT PAUSE x",
            "CLIENT PAUSE -1",
            "CLIENT PAUSE 1 NOSUCH",
            "CLIENT PAUSE 0",
            "CLIENT UNPAUSE",
            "CLIENT UNPAUSE x",
            "CLIENT SETNAME a\x01b",
            "CLIENT SETINFO LIB-NAME x",
            "CLIENT SETINFO NOSUCH x",
            "CLIENT NO-EVICT ON",
            "CLIENT NO-EVICT maybe",
            "CLIENT NO-TOUCH ON",
            "CLIENT REPLY maybe",
            "CLIENT GETREDIR",
            "CLIENT TRACKINGINFO",
            "CLIENT TRACKING maybe",
            "CLIENT TRACKING ON",
            "CLIENT TRACKING ON REDIRECT 999999",
            "CLIENT TRACKING ON REDIRECT x",
            "CLIENT TRACKING ON OPTIN OPTOUT",
            "CLIENT CACHING YES",
            "CLIENT TRACKING OFF",
        ]
        .map(|line| (0, line)),
    );
}

#[test]
fn a_client_that_may_not_is_told_so_and_does_nothing() {
    let twins = Twins::start();
    let rules = ["ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", "-client|kill"];
    twins.plain.ok(rules);
    twins.migration.source.ok(rules);
    twins.plain.ok("CONFIG SET requirepass locked");
    twins.migration.source.ok("CONFIG SET requirepass locked");
    let (mut plain, mut proxied) = (twins.plain.client(), twins.migration.client());
    for line in [
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "MONITOR",
        "AUTH limited secret",
        "CLIENT KILL TYPE normal",
        "CLIENT KILL ID 1",
    ] {
        assert_eq!(plain.call(line), proxied.call(line), "{line}");
    }
}

#[test]
fn client_list_shows_what_each_client_is_doing() {
    let migration = Migration::start();
    let mut observer = migration.client();
    let mut worker = migration.client();
    let id = worker.ok("CLIENT ID").integer();
    worker.ok("CLIENT SETNAME worker");
    worker.ok("SELECT 3");
    wait_listed(&mut observer, id, "name=worker db=3 cmd=select flags=N multi=-1 user=default");
    worker.ok("WATCH a b");
    worker.ok("MULTI");
    worker.ok("GET a");
    wait_listed(&mut observer, id, "cmd=get flags=x multi=1");
    worker.ok("DISCARD");
    worker.send("BLPOP queue 0");
    wait_listed(&mut observer, id, "cmd=blpop flags=b multi=-1");
    assert_eq!(observer.ok(format!("CLIENT UNBLOCK {id} ERROR")).integer(), 1);
    assert!(worker.reply().text().starts_with("UNBLOCKED"));
    let mut modern = resp3(&migration);
    let id = modern.ok("CLIENT ID").integer();
    modern.ok("CLIENT TRACKING ON BCAST PREFIX a:");
    modern.ok("SUBSCRIBE one two");
    modern.reply();
    modern.ok("PSUBSCRIBE p*");
    wait_listed(&mut observer, id, "flags=PtB sub=2 psub=1 ssub=0 redir=0 resp=3 cmd=psubscribe");
    assert_eq!(observer.ok("CLIENT LIST TYPE pubsub").text().lines().count(), 1);
    let own = observer.ok("CLIENT INFO").text();
    assert!(own.contains(" cmd=client|info ") && own.contains(" resp=2"), "{own}");
    modern.send("CLIENT INFO");
    assert!(modern.raw_reply().starts_with(b"="), "a verbatim string, as of the server");
}

#[test]
fn client_kill_reaches_every_client_that_it_describes_and_spares_who_asks() {
    let migration = Migration::start();
    let mut killer = migration.client();
    let own = killer.ok("CLIENT ID").integer();
    assert_eq!(killer.ok(format!("CLIENT KILL ID {own}")).integer(), 0);
    let mut blocked = migration.client();
    let id = blocked.ok("CLIENT ID").integer();
    blocked.send("BLPOP queue 0");
    wait_listed(&mut killer, id, "flags=b");
    assert_eq!(killer.ok(format!("CLIENT KILL ID {id} SKIPME no")).integer(), 1);
    assert_eq!(listed(&mut killer, id), None, "it is gone at once");
    assert!(blocked.read_to_close().is_empty());
    let mut subscriber = migration.client();
    subscriber.ok("SUBSCRIBE news");
    wait_until("the subscriber is seen", || killer.ok("CLIENT LIST TYPE pubsub").text() != "");
    assert_eq!(killer.ok("CLIENT KILL TYPE pubsub").integer(), 1);
    assert!(subscriber.read_to_close().is_empty());
    let mut other = migration.client();
    let line = other.ok("CLIENT INFO").text();
    let address = line.split(' ').find_map(|field| field.strip_prefix("addr=")).unwrap();
    assert_eq!(killer.ok(format!("CLIENT KILL {address}")).text(), "OK");
    assert!(other.read_to_close().is_empty());
    let local = migration.crossfade.address();
    assert_eq!(killer.ok(format!("CLIENT KILL LADDR {local} SKIPME no")).integer(), 1);
    assert!(killer.read_to_close().is_empty());
    migration.client().ok("RPUSH queue element");
    migration.finish();
}

#[test]
fn a_pause_of_writes_lets_reads_pass_until_it_is_ended() {
    let migration = Migration::start();
    let (mut operator, mut writer) = (migration.client(), migration.client());
    operator.ok("SET a 1");
    operator.ok("CLIENT PAUSE 100000 WRITE");
    assert_eq!(writer.ok("GET a").text(), "1");
    writer.ok("MULTI");
    writer.ok("INCR a");
    writer.send("EXEC");
    let mut publisher = migration.client();
    publisher.send("PUBLISH channel message");
    assert_eq!(writer.reply_within(SILENCE), None);
    assert_eq!(publisher.reply_within(SILENCE), None);
    assert_eq!(operator.ok("GET a").text(), "1");
    operator.ok("CLIENT UNPAUSE");
    assert_eq!(writer.reply(), Value::Array(vec![Value::Integer(2)]));
    assert_eq!(publisher.reply(), Value::Integer(0));
    migration.assert_equal();
}

#[test]
fn a_pause_of_everything_ends_by_itself_and_does_not_hinder_a_flip() {
    let migration = Migration::lasting();
    let mut client = migration.client();
    client.ok("SET a 1");
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    client.ok("CLIENT PAUSE 3000");
    client.send("INCR a");
    assert_eq!(migration.crossfade.cut_over().code, 200);
    assert_eq!(client.reply(), Value::Integer(2));
    assert_eq!(migration.target.ok("GET a").text(), "2");
    migration.finish();
}

#[test]
fn a_client_that_goes_away_while_paused_is_let_go() {
    let migration = Migration::start();
    let mut operator = migration.client();
    operator.ok("CLIENT PAUSE 100000 WRITE");
    let mut writer = migration.client();
    let id = writer.ok("CLIENT ID").integer();
    writer.send("SET never 1");
    assert_eq!(writer.reply_within(SILENCE), None);
    drop(writer);
    wait_until("it is gone", || listed(&mut operator, id).is_none());
    operator.ok("CLIENT UNPAUSE");
    assert_eq!(operator.ok("EXISTS never").integer(), 0);
}

/// A RESP2 client that caches, and another connection of it that hears what is out of date.
fn redirected(migration: &Migration) -> (Resp, Resp) {
    let (mut cache, mut ear) = (migration.client(), migration.client());
    let id = ear.ok("CLIENT ID").integer();
    ear.ok("SUBSCRIBE __redis__:invalidate");
    let mut observer = migration.client();
    wait_listed(&mut observer, id, "flags=P");
    cache.ok(format!("CLIENT TRACKING ON REDIRECT {id}"));
    assert_eq!(cache.ok("CLIENT GETREDIR").integer(), id);
    let info = cache.ok("CLIENT TRACKINGINFO").elements();
    assert_eq!(info[3], Value::Integer(id), "{info:?}");
    (cache, ear)
}

#[test]
fn invalidations_are_redirected_to_another_client_also_after_a_flip() {
    let migration = Migration::lasting();
    let (mut cache, mut ear) = redirected(&migration);
    let hears =
        |keys: Value| Value::Array(vec![bulk("message"), bulk("__redis__:invalidate"), keys]);
    let mut writer = migration.client();
    cache.call("GET cached");
    writer.ok("SET cached 1");
    assert_eq!(ear.reply(), hears(Value::Array(vec![bulk("cached")])));
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    assert_eq!(migration.crossfade.cut_over().code, 200);
    assert_eq!(ear.reply(), hears(Value::Null), "everything may be out of date");
    cache.call("GET cached");
    writer.ok("SET cached 2");
    assert_eq!(ear.reply(), hears(Value::Array(vec![bulk("cached")])));
    cache.ok("CLIENT TRACKING OFF");
    assert_eq!(cache.ok("CLIENT GETREDIR").integer(), -1);
    migration.finish();
}

#[test]
fn a_client_that_changes_its_protocol_goes_on_tracking_and_watching() {
    let migration = Migration::start();
    let (mut cache, mut writer) = (migration.client(), migration.client());
    cache.ok("CLIENT TRACKING ON NOLOOP");
    cache.call("GET cached");
    cache.ok("WATCH watched");
    cache.ok("HELLO 3");
    cache.call("GET cached");
    writer.ok("SET cached 1");
    let invalidation = Value::Push(vec![bulk("invalidate"), Value::Array(vec![bulk("cached")])]);
    assert_eq!(cache.reply(), invalidation);
    writer.ok("SET watched 1");
    cache.ok("MULTI");
    cache.ok("SET watched 2");
    assert_eq!(cache.call("EXEC"), Value::Null);
    migration.assert_equal();
}

#[test]
fn what_a_client_invalidates_itself_is_told_behind_its_reply() {
    let migration = Migration::start();
    let mut cache = resp3(&migration);
    cache.ok("CLIENT TRACKING ON");
    let invalidation = Value::Push(vec![bulk("invalidate"), Value::Array(vec![bulk("cached")])]);
    for n in 1..=50 {
        cache.call("GET cached");
        assert_eq!(cache.call("INCR cached"), Value::Integer(n));
        assert_eq!(cache.reply(), invalidation);
    }
    migration.assert_equal();
}

#[test]
fn tracking_by_choice_caches_only_what_was_chosen() {
    let migration = Migration::start();
    let (mut cache, mut writer) = (resp3(&migration), migration.client());
    cache.ok("CLIENT TRACKING ON OPTIN");
    cache.call("GET unchosen");
    cache.ok("CLIENT CACHING YES");
    cache.call("GET chosen");
    cache.ok("SELECT 0");
    writer.ok("SET unchosen 1");
    writer.ok("SET chosen 1");
    let invalidation = Value::Push(vec![bulk("invalidate"), Value::Array(vec![bulk("chosen")])]);
    assert_eq!(cache.reply(), invalidation);
    migration.assert_equal();
}

#[test]
fn a_session_goes_along_when_its_client_selects_a_database() {
    Twins::start().agree_on(&[
        (0, "WATCH a"),
        (0, "SELECT 1"),
        (0, "MULTI"),
        (0, "SET a one"),
        (0, "EXEC"),
        (0, "GET a"),
        (0, "SELECT 0"),
        (0, "EXISTS a"),
        (0, "MULTI"),
        (0, "SELECT 2"),
        (0, "NOSUCH"),
        (0, "EXEC"),
        (0, "SET b zero"),
        (0, "MULTI"),
        (0, "SELECT 2"),
        (0, "SET b two"),
        (0, "EXEC"),
        (0, "GET b"),
        (0, "SELECT 0"),
        (0, "GET b"),
        (0, "CLIENT NO-EVICT ON"),
        (0, "SELECT 99"),
        (0, "SELECT x"),
        (0, "GET b"),
    ]);
}

#[test]
fn a_monitor_sees_the_commands_of_clients_and_nothing_of_crossfade() {
    let migration = Migration::start();
    let mut monitor = migration.client();
    assert_eq!(monitor.ok("MONITOR").text(), "OK");
    let mut client = migration.client();
    client.ok("SELECT 2");
    client.ok([b"SET".as_slice(), b"a \"key\"", b"\x00\xff\n"]);
    client.call("AUTH secret");
    client.call("CONFIG SET maxmemory 0");
    client.send_raw(b"GET a\r\n");
    client.reply();
    let mut seen = || {
        let line = monitor.reply().text();
        let (when, rest) = line.split_once(" [").unwrap();
        assert!(when.parse::<f64>().unwrap() > 1e9, "{line}");
        let (origin, words) = rest.split_once("] ").unwrap();
        format!("{} {words}", origin.split(' ').next().unwrap())
    };
    assert_eq!(seen(), r#"0 "SELECT" "2""#);
    assert_eq!(seen(), r#"2 "SET" "a \"key\"" "\x00\xff\n""#);
    assert_eq!(seen(), r#"2 "GET" "a""#);
    drop(monitor);
    migration.finish();
}

#[test]
fn a_monitor_that_resets_is_an_ordinary_client_again() {
    let migration = Migration::start();
    let (mut monitor, mut client) = (migration.client(), migration.client());
    monitor.ok("MONITOR");
    for n in 0..20 {
        client.ok(format!("SET k {n}"));
    }
    monitor.send("RESET");
    let before = |monitor: &mut Resp| {
        std::iter::repeat_with(|| monitor.reply().text()).take_while(|text| text != "RESET").count()
    };
    assert_eq!(before(&mut monitor), 20);
    client.ok("SET k 20");
    assert_eq!(monitor.ok("GET k").text(), "20");
    migration.finish();
}

#[test]
fn a_script_without_end_is_killed_through_the_proxy() {
    let migration = Migration::start();
    migration.source.ok("CONFIG SET lua-time-limit 10");
    let (mut runner, mut other) = (migration.client(), migration.client());
    assert_eq!(other.call("GET a"), Value::Null);
    runner.send(["EVAL", "while true do end", "0"]);
    wait_for("the script is killed", || {
        let answer = other.call("SCRIPT KILL").text();
        (answer == "OK").then_some(())
    });
    assert!(runner.reply().is_error());
    assert_eq!(runner.ok("INCR a").integer(), 1);
    migration.assert_equal();
}

#[test]
fn reads_that_must_not_touch_leave_the_idle_time_alone() {
    let migration = Migration::start();
    if !migration.source.is_at_least(7, 2) {
        return;
    }
    let mut client = migration.client();
    client.ok("SET a 1");
    client.ok("CLIENT NO-TOUCH ON");
    wait_until("the key has been idle", || {
        client.ok("GET a");
        client.ok("OBJECT IDLETIME a").integer() >= 1
    });
    client.ok("CLIENT NO-TOUCH OFF");
    client.ok("GET a");
    assert_eq!(client.ok("OBJECT IDLETIME a").integer(), 0);
}
