//! Effects, exact: whatever is written to one server, its effects make another one equal.

use std::collections::BTreeSet;
use std::time::Duration;

use crossfade::engine::effect::{self, Executed, Outcome, Step};
use crossfade::protocol::capability::{Capabilities, Family};
use crossfade::protocol::command::{self, Access, Serve};
use crossfade::protocol::resp::{Reply, Request};

use super::server::{Client, Server};
use super::state;
use super::writes::{Random, WRITES, write};

/// What both servers are.
const REAL: Capabilities = Capabilities { family: Family::Redis, version: (7, 0, 15) };

/// Two servers, and what carries the writes of one to the other.
struct Pair {
    primary: Client,
    secondary: Client,
    /// What the primary is taken for.
    taken_for: Capabilities,
    /// How long the secondary lags behind, at most.
    lag: Duration,
    /// Entries that streams have or had.
    ids: Vec<String>,
    /// Commands whose effects were told by commands, not by a recopy.
    told: BTreeSet<&'static str>,
}

impl Pair {
    fn new(primary: Client, secondary: Client) -> Self {
        let (ids, told) = (Vec::new(), BTreeSet::new());
        Self { primary, secondary, taken_for: REAL, lag: Duration::ZERO, ids, told }
    }

    /// Runs one request on the primary and carries its effect over. Says whether the secondary
    /// answered as expected.
    fn run(&mut self, request: &Request) -> bool {
        let serve = command::lookup(request).unwrap().serve(request);
        self.run_block(std::slice::from_ref(request), serve == Serve::Blocking)
    }

    /// The same for several requests, as a transaction if it is one. Commands that may wait are a
    /// transaction of one, which never does.
    fn run_block(&mut self, requests: &[Request], transaction: bool) -> bool {
        let (replies, probed) = self.execute(requests, transaction);
        std::thread::sleep(self.lag);
        let mut block = Block::default();
        for ((request, reply), probed) in requests.iter().zip(&replies).zip(&probed) {
            self.remember(request, reply);
            let (outcome, name) = self.outcome(request, reply, probed);
            if matches!(outcome, Outcome::Apply(_)) {
                self.told.insert(name);
            }
            block.add(request, outcome);
        }
        let agreed = self.apply(block.steps.iter().chain(&block.checks));
        let dirty = if agreed { block.dirty } else { requests.iter().flat_map(written).collect() };
        for key in &dirty {
            self.recopy(key);
        }
        agreed
    }

    fn outcome(
        &self,
        request: &Request,
        reply: &Reply,
        probed: &[Reply],
    ) -> (Outcome, &'static str) {
        let command = command::lookup(request).unwrap();
        let outcome = effect::of(&Executed {
            command,
            request,
            reply,
            probes: probed,
            primary: &self.taken_for,
            secondary: &REAL,
            clock_offset: 0,
        });
        (outcome, command.name)
    }

    /// The replies, and for each request those to its probes, asked behind all of them.
    fn execute(
        &mut self,
        requests: &[Request],
        transaction: bool,
    ) -> (Vec<Reply>, Vec<Vec<Reply>>) {
        let probes =
            |request| effect::probes(command::lookup(request).unwrap(), request, &self.taken_for);
        let probes: Vec<_> = requests.iter().map(probes).collect();
        let mut batch = Vec::new();
        batch.extend(transaction.then(|| Request::new(["MULTI"])));
        batch.extend_from_slice(requests);
        batch.extend(transaction.then(|| Request::new(["EXEC"])));
        let written = batch.len();
        batch.extend(probes.iter().flatten().cloned());
        let mut replies = self.primary.pipeline(&batch);
        let mut rest = replies.split_off(written).into_iter();
        let answers =
            probes.iter().map(|asked| rest.by_ref().take(asked.len()).collect()).collect();
        if transaction {
            replies = replies.pop().unwrap().items().unwrap().to_vec();
        }
        (replies, answers)
    }

    fn remember(&mut self, request: &Request, reply: &Reply) {
        if request.is(0, "XADD") {
            self.ids.extend(reply.text().map(|id| String::from_utf8_lossy(id).into_owned()));
        }
    }

    fn apply<'a>(&mut self, steps: impl Iterator<Item = &'a Step>) -> bool {
        let mut agreed = true;
        for step in steps {
            let reply = self.secondary.send(&step.request);
            agreed &= step.expect.accepts(&reply, 0);
        }
        agreed
    }

    fn recopy(&mut self, key: &[u8]) {
        let asked = [Request::new([b"PEXPIRETIME", key]), Request::new([b"DUMP", key])];
        let found = self.primary.pipeline(&asked);
        let copy = match (&found[0], &found[1]) {
            (Reply::Integer(time), Reply::Bulk(payload)) => {
                let time = time.max(&0).to_string();
                let options: [&[u8]; 2] = [b"REPLACE", b"ABSTTL"];
                let args = [b"RESTORE", key, time.as_bytes(), payload];
                Request::new(args.into_iter().chain(options))
            }
            _ => Request::new([b"DEL", key]),
        };
        let reply = self.secondary.send(&copy);
        assert!(!reply.is_error(), "{copy:?}: {reply:?}");
    }

    fn assert_equal(&mut self, keys: impl IntoIterator<Item = String>, after: &str) {
        for key in keys {
            let (ours, theirs) =
                (state::of(&mut self.primary, &key), state::of(&mut self.secondary, &key));
            assert_eq!(ours, theirs, "{key} after {after}");
        }
    }

    fn assert_all_equal(&mut self, after: &str) {
        let (ours, theirs) = (state::keys(&mut self.primary), state::keys(&mut self.secondary));
        assert_eq!(ours, theirs, "after {after}");
        self.assert_equal(ours, after);
    }
}

/// The effects of several requests. A key that is to be copied again is not told about any more,
/// and neither is what was made from it.
#[derive(Default)]
struct Block {
    steps: Vec<Step>,
    checks: Vec<Step>,
    dirty: BTreeSet<Vec<u8>>,
}

impl Block {
    fn add(&mut self, request: &Request, outcome: Outcome) {
        let keys = command::lookup(request).unwrap().keys(request).unwrap_or_default();
        let stale = keys.iter().any(|key| self.dirty.contains(request.arg(key.index).unwrap()));
        match outcome {
            Outcome::Nothing => {}
            Outcome::Apply(effect) if !stale => {
                self.steps.extend(effect.steps);
                self.checks.extend(effect.checks);
            }
            Outcome::Apply(_) | Outcome::Recopy => self.dirty.extend(written(request)),
        }
    }
}

fn written(request: &Request) -> Vec<Vec<u8>> {
    let keys = command::lookup(request).unwrap().keys(request).unwrap_or_default();
    let written = keys.iter().filter(|key| key.access == Access::Write);
    written.map(|key| request.arg(key.index).unwrap().to_vec()).collect()
}

fn keys_of(requests: &[Request]) -> BTreeSet<String> {
    let name =
        |request: &Request, index| String::from_utf8_lossy(request.arg(index).unwrap()).into();
    let keys = |request| command::lookup(request).unwrap().keys(request).unwrap();
    let found =
        |request| keys(request).into_iter().map(|key| name(request, key.index)).collect::<Vec<_>>();
    requests.iter().flat_map(found).collect()
}

fn describe(seed: u64, request: &Request) -> String {
    let args: Vec<_> = request.args().map(String::from_utf8_lossy).collect();
    format!("{} (seed {seed})", args.join(" "))
}

#[test]
fn random_writes_leave_both_servers_equal_without_a_mismatch() {
    let (one, other) = (Server::start(), Server::start());
    let mut pair = Pair::new(one.connect(), other.connect());
    for seed in 1..=40 {
        let mut random = Random::new(seed);
        for _ in 0..300 {
            let request = write(&mut random, &pair.ids, &[100_000, 200_000, 300_000]);
            let what = describe(seed, &request);
            let agreed = pair.run(&request);
            pair.assert_equal(keys_of(std::slice::from_ref(&request)), &what);
            assert!(agreed, "a mismatch after {what}");
        }
        pair.assert_all_equal(&format!("seed {seed}"));
        pair.run(&Request::new(["FLUSHALL"]));
        pair.ids.clear();
    }
    let untold: Vec<_> = names().filter(|name| !pair.told.contains(name)).collect();
    assert_eq!(
        untold,
        [
            "BITOP",
            "COPY",
            "GEORADIUS",
            "GEORADIUSBYMEMBER",
            "GEOSEARCHSTORE",
            "PFMERGE",
            "SDIFFSTORE",
            "SINTERSTORE",
            "SORT",
            "SUNIONSTORE",
            "ZDIFFSTORE",
            "ZINTERSTORE",
            "ZRANGESTORE",
            "ZUNIONSTORE",
        ]
    );
}

/// The commands that the random writes are made of.
fn names() -> impl Iterator<Item = &'static str> {
    let lookup = |text: &&str| command::lookup(&Request::new(text.split(' '))).unwrap().name;
    WRITES.iter().map(lookup).collect::<BTreeSet<_>>().into_iter()
}

#[test]
fn keys_that_expire_at_any_moment_leave_no_zombie() {
    let (one, other) = (Server::start(), Server::start());
    let mut pair = Pair::new(one.connect(), other.connect());
    for seed in 1..=20 {
        let mut random = Random::new(seed);
        for _ in 0..300 {
            pair.lag = Duration::from_millis([0, 0, 0, 1, 3][random.below(5)]);
            let request = write(&mut random, &pair.ids, &[1, 2, 3, 5]);
            pair.run(&request);
        }
        std::thread::sleep(Duration::from_millis(20));
        pair.assert_all_equal(&format!("seed {seed}"));
        pair.run(&Request::new(["FLUSHALL"]));
        pair.ids.clear();
    }
}

#[test]
fn transactions_whose_probes_come_at_their_end_leave_both_servers_equal() {
    let (one, other) = (Server::start(), Server::start());
    let mut pair = Pair::new(one.connect(), other.connect());
    for seed in 1..=40 {
        let mut random = Random::new(seed);
        for _ in 0..150 {
            let times = [100_000, 200_000, 300_000];
            let block: Vec<_> =
                (0..=random.below(4)).map(|_| write(&mut random, &pair.ids, &times)).collect();
            pair.run_block(&block, true);
            let what: Vec<_> = block.iter().map(|request| describe(seed, request)).collect();
            pair.assert_equal(keys_of(&block), &what.join("; "));
        }
        pair.run(&Request::new(["FLUSHALL"]));
        pair.ids.clear();
    }
}

#[test]
fn a_primary_that_tells_only_the_time_left_agrees_within_the_tolerance() {
    let (one, other) = (Server::start(), Server::start());
    let mut pair = Pair::new(one.connect(), other.connect());
    pair.taken_for.version = (6, 2, 0);
    let mut random = Random::new(7);
    for _ in 0..3000 {
        let request = write(&mut random, &pair.ids, &[100_000, 200_000, 300_000]);
        assert!(pair.run(&request), "a mismatch after {}", describe(7, &request));
    }
}

#[test]
fn a_restored_value_and_what_barriers_do_are_carried_over() {
    let (one, other) = (Server::start(), Server::start());
    let mut pair = Pair::new(one.connect(), other.connect());
    pair.run(&Request::new(["RPUSH", "l0", "a", "b"]));
    let dump = pair.primary.ask("DUMP l0");
    let payload = dump.text().unwrap().as_ref();
    let restore = |key: &'static str, ttl: &'static str, option: &'static str| {
        let name: &[u8] = b"RESTORE";
        Request::new([name, key.as_bytes(), ttl.as_bytes(), payload, option.as_bytes()])
    };
    for request in [
        restore("l1", "0", "REPLACE"),
        restore("l1", "5000", "REPLACE"),
        restore("l2", "99999999999999", "ABSTTL"),
        restore("l0", "1", "ABSTTL"),
        Request::new(["FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', print)"]),
        Request::new(["SCRIPT", "LOAD", "return 1"]),
        Request::new(["SWAPDB", "0", "1"]),
        Request::new(["SET", "s0", "x"]),
        Request::new(["SWAPDB", "1", "0"]),
    ] {
        assert!(pair.run(&request), "a mismatch after {}", describe(0, &request));
        pair.assert_all_equal(&describe(0, &request));
    }
    for question in
        ["FUNCTION LIST WITHCODE", "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db"]
    {
        assert_eq!(pair.primary.ask(question), pair.secondary.ask(question), "{question}");
    }
    pair.run(&Request::new(["FLUSHALL", "ASYNC"]));
    assert_eq!(pair.secondary.ask("DBSIZE"), Reply::Integer(0));
}

/// Writes whose replies are the same whether the key was there or not.
const BLIND_WRITES: [(&str, &str); 6] = [
    ("SADD k a", "SADD k b"),
    ("HSET k f v", "HMSET k g v"),
    ("HSET k f v", "HINCRBYFLOAT k g 1"),
    ("SET k v", "SETBIT k 99 1"),
    ("ZADD k 1 a", "ZINCRBY k 1 b"),
    ("XADD k * f v", "XADD k * g w"),
];

fn request(text: &str) -> Request {
    Request::new(text.split(' '))
}

#[test]
fn a_write_that_arrives_after_its_key_has_expired_leaves_no_zombie() {
    let (one, other) = (Server::start(), Server::start());
    let mut pair = Pair::new(one.connect(), other.connect());
    for (create, write) in BLIND_WRITES {
        pair.run(&request(create));
        pair.run(&request("PEXPIRE k 40"));
        pair.lag = Duration::from_millis(60);
        pair.run(&request(write));
        pair.lag = Duration::ZERO;
        assert_eq!(state::of(&mut pair.secondary, "k"), "none", "{write}");
    }
}

#[test]
fn a_write_to_a_key_that_the_secondary_has_not_expired_yet_makes_it_anew() {
    let (one, other) = (Server::start(), Server::start());
    let mut pair = Pair::new(one.connect(), other.connect());
    for (create, write) in BLIND_WRITES {
        pair.run(&request(create));
        pair.run(&request("PEXPIRE k 5"));
        pair.secondary.ask("PEXPIRE k 100000");
        std::thread::sleep(Duration::from_millis(10));
        pair.run(&request(write));
        pair.assert_all_equal(write);
        pair.run(&request("DEL k"));
    }
}
