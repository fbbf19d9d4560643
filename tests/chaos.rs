//! Everything at once, for a while: clients that write, wait, swap databases and run scripts that name
//! none of their keys, under flips, cut connections, kills and restarts. Whenever the proxy says after
//! that that nothing stands between the two servers, they hold the same; nothing acknowledged is lost or
//! done twice.
//!
//! Rounds of a second or two follow each other for `CROSSFADE_CHAOS_SECONDS` (20).
//! `CROSSFADE_TEST_SEED` repeats the choices of a run, though not the races between them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use support::mischief::{beside_a_waiter, script, selection, upheaval, waiting};
use support::{
    Crossfade, Dialect, Launch, Resp, Rng, Server, Tamer, Temper, Value, assert_equal, random_write,
};

/// Clients that do anything, and clients that count.
const WILD: usize = 8;
const KEEPERS: usize = 2;

/// The keepers' database: nothing flushes or swaps it.
const QUIET: u32 = 7;

/// What is answered survives a kill, and so do the users.
const OPTIONS: [&str; 11] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "no",
    "--user",
    "app",
    "on",
    ">pw",
    "~*",
    "&*",
    "+@all",
];

/// The servers, the moody networks before them, and the proxy between.
struct Scene {
    source: Server,
    target: Server,
    source_side: Tamer,
    target_side: Tamer,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (source, target) = (Server::source_with(&OPTIONS), Server::target_with(&OPTIONS));
        let (source_side, target_side) =
            (Tamer::before(&source.address()), Tamer::before(&target.address()));
        let directory = tempfile::tempdir().unwrap();
        Self { source, target, source_side, target_side, directory }
    }

    fn start(&self) -> Crossfade {
        Launch::urls(&self.source_side.url(), &self.target_side.url())
            .state_dir(&self.directory.path().join("state"))
            .start()
    }

    fn primary(&self, crossfade: &Crossfade) -> &Server {
        if crossfade.status()["primary"] == "source" { &self.source } else { &self.target }
    }
}

/// What a keeper was told of its own counters and jobs.
#[derive(Default)]
struct Account {
    acknowledged: BTreeMap<String, i64>,
    in_doubt: BTreeMap<String, i64>,
    jobs: Vec<String>,
    rounds: u64,
}

impl Account {
    /// Counts in every way that there is, queues a job, and moves one on.
    fn round(&mut self, client: &mut Resp, name: usize) -> io::Result<()> {
        let (plain, hidden) = (format!("plain:{name}"), format!("hidden:{name}"));
        let job = format!("{name}:{}", self.rounds);
        self.rounds += 1;
        let requests = vec![
            line(&format!("INCR {plain}")),
            line("EVAL body 0"),
            line("MULTI"),
            line(&format!("INCR {plain}")),
            line("EXEC"),
            line(&format!("RPUSH jobs {job}")),
            line("BLMOVE jobs done LEFT RIGHT 0.02"),
        ]
        .into_iter()
        .map(|mut request| {
            if request[0] == b"EVAL" {
                request[1] = format!("return redis.call('INCR', '{hidden}')").into_bytes();
            }
            request
        });
        match client.try_pipeline(requests.collect::<Vec<_>>()) {
            Ok(replies) => {
                self.told(&plain, &replies[0], 1);
                self.told(&hidden, &replies[1], 1);
                match &replies[4] {
                    Value::Array(done) => self.told(&plain, &done[0], 1),
                    other => self.told(&plain, other, 1),
                }
                if matches!(replies[5], Value::Integer(_)) {
                    self.jobs.push(job);
                }
                Ok(())
            }
            Err(error) => {
                *self.in_doubt.entry(plain).or_default() += 2;
                *self.in_doubt.entry(hidden).or_default() += 1;
                Err(error)
            }
        }
    }

    /// A number is an acknowledgement; of an error nobody knows whether it was done.
    fn told(&mut self, counter: &str, reply: &Value, by: i64) {
        let account = if reply.is_error() { &mut self.in_doubt } else { &mut self.acknowledged };
        *account.entry(counter.to_owned()).or_default() += by;
    }

    /// Holds a server against what was told.
    fn check(&self, client: &mut Resp) {
        for (counter, acknowledged) in &self.acknowledged {
            let doubtful = self.in_doubt.get(counter).copied().unwrap_or_default();
            let there = client.ok(format!("GET {counter}")).integer();
            assert!(
                (*acknowledged..=acknowledged + doubtful).contains(&there),
                "{counter} is {there}, with {acknowledged} acknowledged and {doubtful} in doubt"
            );
        }
        let mut held: BTreeMap<String, usize> = BTreeMap::new();
        for list in ["jobs", "done"] {
            for job in client.ok(format!("LRANGE {list} 0 -1")).texts() {
                *held.entry(job).or_default() += 1;
            }
        }
        let lost: Vec<_> = self.jobs.iter().filter(|job| !held.contains_key(*job)).collect();
        assert!(lost.is_empty(), "acknowledged jobs are lost: {lost:?}");
        let doubled: Vec<_> = held.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "jobs are there twice: {doubled:?}");
    }
}

fn line(text: &str) -> Vec<Vec<u8>> {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// A connection as one of two users in one of two protocols, as soon as there can be one.
fn connect(address: &str, rng: &mut Rng) -> io::Result<Resp> {
    let mut client = Resp::try_connect(address)?;
    if rng.one_in(2) {
        client.try_call("HELLO 3")?;
    }
    if rng.one_in(3) {
        client.try_call("AUTH app pw")?;
    }
    Ok(client)
}

/// Nobody may be left without an answer; a connection may go.
fn gone(error: &io::Error) {
    let silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    assert!(!silent, "a client waits for an answer that does not come");
    std::thread::sleep(Duration::from_millis(20));
}

/// Does anything until the time is over.
fn run_wild(address: &str, mut rng: Rng, until: Instant) {
    while Instant::now() < until {
        let outcome = connect(address, &mut rng).and_then(|mut client| {
            while Instant::now() < until {
                client.try_pipeline(burst(&mut rng))?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            gone(&error);
        }
    }
}

/// What a client says in one go.
fn burst(rng: &mut Rng) -> Vec<Vec<Vec<u8>>> {
    match rng.below(20) {
        0..=2 => vec![waiting(rng)],
        3 => vec![beside_a_waiter(rng), waiting(rng), beside_a_waiter(rng)],
        4..=6 => (0..3).map(|_| beside_a_waiter(rng)).collect(),
        7 => vec![selection(rng)],
        8 if rng.one_in(10) => vec![upheaval(rng)],
        8 | 9 => transaction(rng),
        10..=12 => vec![any(rng), script(rng)],
        _ => (0..=rng.below(20)).map(|_| any(rng)).collect(),
    }
}

fn any(rng: &mut Rng) -> Vec<Vec<u8>> {
    if rng.one_in(8) { script(rng) } else { random_write(rng, Dialect::FULL) }
}

fn transaction(rng: &mut Rng) -> Vec<Vec<Vec<u8>>> {
    let mut requests = vec![line("MULTI")];
    for _ in 0..=rng.below(4) {
        requests.push(match rng.below(8) {
            0 => waiting(rng),
            1 => selection(rng),
            _ => any(rng),
        });
    }
    requests.push(line(if rng.one_in(6) { "DISCARD" } else { "EXEC" }));
    requests
}

/// Counts until the time is over.
fn keep(address: &str, name: usize, account: &mut Account, until: Instant) {
    while Instant::now() < until {
        let outcome = Resp::try_connect(address).and_then(|mut client| {
            client.try_call(format!("SELECT {QUIET}"))?;
            while Instant::now() < until {
                account.round(&mut client, name)?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            gone(&error);
        }
    }
}

/// One thing that goes wrong, or that an operator does.
fn disturb(scene: &mut Scene, crossfade: &Crossfade, rng: &mut Rng) {
    match rng.below(12) {
        0 => scene.source_side.cut(),
        1 => scene.target_side.cut(),
        2 => restart(&mut scene.source),
        3 => restart(&mut scene.target),
        4 => freeze(if rng.one_in(2) { &scene.source } else { &scene.target }, rng),
        5 => _ = crossfade.admin().post("/v1/verify", &serde_json::json!({})),
        _ => flip(crossfade),
    }
}

fn restart(server: &mut Server) {
    server.kill();
    server.restart();
}

fn freeze(server: &Server, rng: &mut Rng) {
    server.freeze();
    std::thread::sleep(Duration::from_millis(rng.below(500)));
    server.thaw();
}

/// To the other side, or a refusal with its reasons.
fn flip(crossfade: &Crossfade) {
    let answer = match crossfade.phase().as_str() {
        "mirroring" => {
            let _result = crossfade.admin().post("/v1/verify", &serde_json::json!({}));
            crossfade.wait_status("no verification runs", |status| {
                status["verify"]["state"] != "running"
            });
            crossfade.admin().cutover(3_000, false)
        }
        "cut_over" => crossfade.admin().rollback(3_000),
        _ => return,
    };
    assert!([200, 409, 504].contains(&answer.code), "a flip: {}", answer.text);
}

/// A second or two of everything. Returns a crossfade that runs: perhaps another one.
fn round(
    scene: &mut Scene,
    crossfade: Crossfade,
    accounts: &mut [Account],
    rng: &mut Rng,
) -> Crossfade {
    let until = Instant::now() + Duration::from_millis(800 + rng.below(1_200));
    let killed = rng.one_in(4);
    for side in [&scene.source_side, &scene.target_side] {
        side.set(Temper::Uneven(Duration::from_millis(rng.below(12))));
    }
    let address = crossfade.address();
    std::thread::scope(|scope| {
        for _ in 0..WILD {
            let (address, rng) = (&address, rng.fork());
            scope.spawn(move || run_wild(address, rng, until));
        }
        for (name, account) in accounts.iter_mut().enumerate() {
            let address = &address;
            scope.spawn(move || keep(address, name, account, until));
        }
        while Instant::now() + Duration::from_millis(200) < until {
            std::thread::sleep(Duration::from_millis(rng.below(400)));
            disturb(scene, &crossfade, rng);
        }
        if !killed {
            return crossfade;
        }
        crossfade.kill();
        scene.start()
    })
}

#[test]
fn after_any_load_and_any_fault_both_servers_hold_the_same() {
    let seconds = std::env::var("CROSSFADE_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    let over = Instant::now() + Duration::from_secs(seconds.unwrap_or(20));
    let mut rng = Rng::seeded(1);
    let mut scene = Scene::new();
    let mut crossfade = scene.start();
    crossfade.wait_phase("mirroring");
    let mut accounts: Vec<Account> = (0..KEEPERS).map(|_| Account::default()).collect();
    while Instant::now() < over {
        crossfade = round(&mut scene, crossfade, &mut accounts, &mut rng);
        crossfade.wait_converged();
        assert_equal(&scene.source, &scene.target);
        let mut client = scene.primary(&crossfade).client();
        client.ok(format!("SELECT {QUIET}"));
        for account in &accounts {
            account.check(&mut client);
        }
    }
}
