//! Effects, exact: whatever is written to one server, its effects make another one equal.

use std::collections::BTreeSet;
use std::time::Duration;

use crossfade::capability::{Capabilities, Family};
use crossfade::command::{self, Access, Serve};
use crossfade::effect::{self, Executed, Outcome, Step};
use crossfade::resp::{Reply, Request};

use super::server::{Client, Server};
use super::state;
use super::writes::{Random, WRITES, write};

/// Two servers, and what carries the writes of one to the other.
struct Pair {
    primary: Client,
    secondary: Client,
    capabilities: Capabilities,
    /// Entries that streams have or had.
    ids: Vec<String>,
    /// Commands whose effects were told by commands, not by a recopy.
    told: BTreeSet<&'static str>,
    mismatches: usize,
}

impl Pair {
    fn new(primary: Client, secondary: Client) -> Self {
        let capabilities = Capabilities { family: Family::Redis, version: (7, 0, 15) };
        let (ids, told) = (Vec::new(), BTreeSet::new());
        Self { primary, secondary, capabilities, ids, told, mismatches: 0 }
    }

    /// Runs `request` on the primary and carries its effect over. Says whether the secondary
    /// answered as expected.
    fn run(&mut self, request: &Request) -> bool {
        let command = command::lookup(request).unwrap();
        let probes = effect::probes(command, request, &self.capabilities);
        let (reply, probed) = self.execute(command.serve(request), request, &probes);
        self.remember(request, &reply);
        let outcome = effect::of(&Executed {
            command,
            request,
            reply: &reply,
            probes: &probed,
            primary: &self.capabilities,
            secondary: &self.capabilities,
            clock_offset: 0,
        });
        match outcome {
            Outcome::Nothing => true,
            Outcome::Recopy => {
                self.recopy(request);
                true
            }
            Outcome::Apply(effect) => {
                self.told.insert(command.name);
                let agreed = self.apply(effect.steps.iter().chain(&effect.checks));
                if !agreed {
                    self.mismatches += 1;
                    self.recopy(request);
                }
                agreed
            }
        }
    }

    /// Commands that may wait run as a transaction of one, which never does.
    fn execute(
        &mut self,
        serve: Serve,
        request: &Request,
        probes: &[Request],
    ) -> (Reply, Vec<Reply>) {
        let waits = serve == Serve::Blocking;
        let mut batch = Vec::new();
        batch.extend(waits.then(|| Request::new(["MULTI"])));
        batch.push(request.clone());
        batch.extend(waits.then(|| Request::new(["EXEC"])));
        let written = batch.len();
        batch.extend_from_slice(probes);
        let mut replies = self.primary.pipeline(&batch);
        let probed = replies.split_off(written);
        let reply = replies.pop().unwrap();
        if waits {
            let executed = reply.items().and_then(<[Reply]>::first).cloned();
            return (executed.unwrap_or(reply), probed);
        }
        (reply, probed)
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
            agreed &= step.accepts(&reply, 0);
        }
        agreed
    }

    fn recopy(&mut self, request: &Request) {
        let keys = command::lookup(request).unwrap().keys(request).unwrap();
        for key in keys.iter().filter(|key| key.access == Access::Write) {
            let key = request.arg(key.index).unwrap();
            let asked = [Request::new([b"PEXPIRETIME", key]), Request::new([b"DUMP", key])];
            let found = self.primary.pipeline(&asked);
            let copy = match (&found[0], &found[1]) {
                (Reply::Integer(time), Reply::Bulk(payload)) => {
                    let time = time.max(&0).to_string();
                    let options: [&[u8]; 2] = [b"REPLACE", b"ABSTTL"];
                    Request::new(
                        [b"RESTORE", key, time.as_bytes(), payload].into_iter().chain(options),
                    )
                }
                _ => Request::new([b"DEL", key]),
            };
            let reply = self.secondary.send(&copy);
            assert!(!reply.is_error(), "{copy:?}: {reply:?}");
        }
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

fn keys_of(request: &Request) -> Vec<String> {
    let keys = command::lookup(request).unwrap().keys(request).unwrap();
    keys.iter().map(|key| String::from_utf8_lossy(request.arg(key.index).unwrap()).into()).collect()
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
        for _ in 0..400 {
            let request = write(&mut random, &pair.ids, &[100_000, 200_000, 300_000]);
            let what = describe(seed, &request);
            let agreed = pair.run(&request);
            pair.assert_equal(keys_of(&request), &what);
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
        for _ in 0..500 {
            let request = write(&mut random, &pair.ids, &[1, 1, 2, 3]);
            pair.run(&request);
        }
        std::thread::sleep(Duration::from_millis(20));
        pair.assert_all_equal(&format!("seed {seed}"));
        pair.run(&Request::new(["FLUSHALL"]));
        pair.ids.clear();
    }
}
