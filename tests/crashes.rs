//! `kill -9` of the proxy in every phase: with a state directory nothing acknowledged is lost, and the
//! restart converges without copying the world again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use support::{Crossfade, Launch, Rng, Server, assert_equal, fill, random_write};

/// A place for state that outlives the processes of a test.
struct Restartable {
    source: Server,
    target: Server,
    state: PathBuf,
    _directory: tempfile::TempDir,
}

impl Restartable {
    fn new(source: Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        Self { source, target: Server::target(), state, _directory: directory }
    }

    fn start(&self, options: &[(&str, &str)]) -> Crossfade {
        let launch = Launch::between(&self.source, &self.target).state_dir(Path::new(&self.state));
        options.iter().fold(launch, |launch, (name, value)| launch.option(name, value)).start()
    }
}

/// Writes in a pipeline until the proxy dies under it; returns how many were acknowledged.
fn write_until_killed(crossfade: Crossfade, list: &str) -> usize {
    let mut client = crossfade.client();
    let list = list.to_owned();
    let writer = std::thread::spawn(move || {
        let mut acknowledged = 0;
        loop {
            let burst = (0..20).map(|n| format!("RPUSH {list} {}", acknowledged + n));
            match client.try_pipeline(burst.collect::<Vec<_>>()) {
                Ok(replies) => acknowledged += replies.len(),
                Err(_) => return acknowledged,
            }
        }
    });
    crossfade
        .wait_status("clients write", |status| status["clients"]["commands"].as_u64() > Some(500));
    crossfade.kill();
    writer.join().unwrap()
}

fn nothing_is_lost(server: &Server, list: &str, acknowledged: usize) {
    let elements = server.ok(format!("LRANGE {list} 0 -1")).texts();
    assert!(
        elements.len() >= acknowledged,
        "{acknowledged} acknowledged, {} there",
        elements.len()
    );
    let expected: Vec<String> = (0..acknowledged).map(|n| n.to_string()).collect();
    assert!(elements[..acknowledged] == expected, "in order, and each once");
}

#[test]
fn a_kill_while_mirroring_loses_nothing_and_the_restart_converges() {
    let scene = Restartable::new(Server::source());
    let crossfade = scene.start(&[]);
    crossfade.wait_phase("mirroring");
    let acknowledged = write_until_killed(crossfade, "list");
    let again = scene.start(&[]);
    again.wait_converged();
    assert_equal(&scene.source, &scene.target);
    nothing_is_lost(&scene.target, "list", acknowledged);
}

#[test]
fn a_kill_while_backfilling_is_followed_by_a_complete_backfill() {
    let source = Server::source();
    source.client().pipeline((0..2_000).map(|n| format!("SET plain:{n} {n}")));
    let scene = Restartable::new(source);
    let crossfade = scene.start(&[("--backfill-rate", "500")]);
    let acknowledged = write_until_killed(crossfade, "list");
    let again = scene.start(&[]);
    again.wait_converged();
    assert_equal(&scene.source, &scene.target);
    nothing_is_lost(&scene.target, "list", acknowledged);
}

#[test]
fn a_kill_after_the_cutover_leaves_the_target_primary_and_the_source_following() {
    let scene = Restartable::new(Server::source());
    let crossfade = scene.start(&[]);
    crossfade.cut_over();
    let acknowledged = write_until_killed(crossfade, "list");
    let again = scene.start(&[]);
    assert_eq!(again.phase(), "cut_over");
    nothing_is_lost(&scene.target, "list", acknowledged);
    assert!(again.client().ok("LLEN list").integer() >= i64::try_from(acknowledged).unwrap());
    again.client().ok("SET after 1");
    again.wait_converged();
    assert_equal(&scene.source, &scene.target);
    again.roll_back();
    nothing_is_lost(&scene.source, "list", acknowledged);
}

/// Clients that write anything, and count. They end when the proxy dies under them.
struct Load(Vec<JoinHandle<i64>>);

impl Load {
    fn start(crossfade: &Crossfade, rng: &mut Rng) -> Self {
        let client = |index: u64| {
            let (mut client, mut rng) = (crossfade.client(), rng.fork());
            std::thread::spawn(move || {
                let mut acknowledged = 0;
                loop {
                    let mut burst: Vec<_> =
                        (0..rng.below(12)).map(|_| random_write(&mut rng)).collect();
                    burst.push(vec![b"INCR".to_vec(), counter(index).into_bytes()]);
                    match client.try_pipeline(burst) {
                        Ok(replies) => acknowledged = replies[replies.len() - 1].integer(),
                        Err(_) => return acknowledged,
                    }
                }
            })
        };
        Self((0..4).map(client).collect())
    }

    /// What each client was told last.
    fn acknowledged(self) -> Vec<i64> {
        self.0.into_iter().map(|client| client.join().unwrap()).collect()
    }
}

fn counter(client: u64) -> String {
    format!("counter:{client}")
}

/// Nothing that a client was told is missing.
fn counters_hold(server: &Server, acknowledged: &[i64]) {
    for (index, told) in (0..).zip(acknowledged) {
        let there = match server.ok(format!("GET {}", counter(index))) {
            support::Value::Null => 0,
            value => value.integer(),
        };
        assert!(there >= *told, "client {index} was told {told}, {there} is there");
    }
}

/// What an operator asks for just before the process is killed.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Nothing,
    CutOver,
    RollBack,
}

/// Kills under load at a random moment, starts again, and looks at everything.
fn kill_at_a_random_moment(scene: &Restartable, crossfade: Crossfade, asked: Asked, rng: &mut Rng) {
    let load = Load::start(&crossfade, rng);
    crossfade.wait_status("clients write", |status| {
        status["clients"]["commands"].as_u64() > Some(1_000)
    });
    let admin = crossfade.admin().address().to_owned();
    // Kept open until the process is dead: a caller that hangs up would end the request.
    let _asking = match asked {
        Asked::Nothing => None,
        Asked::CutOver => Some(post(&admin, "/v1/cutover", r#"{"timeout_ms":5000,"force":true}"#)),
        Asked::RollBack => Some(post(&admin, "/v1/rollback", r#"{"timeout_ms":5000}"#)),
    };
    std::thread::sleep(Duration::from_micros(rng.below(60_000)));
    crossfade.kill();
    let acknowledged = load.acknowledged();
    let again = scene.start(&[]);
    let primary = again.status()["primary"].as_str().unwrap().to_owned();
    let server = if primary == "source" { &scene.source } else { &scene.target };
    counters_hold(server, &acknowledged);
    let marked = scene.source.ok("EXISTS crossfade:cutover").integer() == 1;
    assert_eq!(marked, primary == "target", "the marker says who serves");
    again.client().ok("RPUSH after 1");
    again.wait_converged();
    assert_equal(&scene.source, &scene.target);
    counters_hold(&scene.source, &acknowledged);
}

/// Sends a request and does not wait for the answer.
fn post(admin: &str, path: &str, body: &str) -> std::net::TcpStream {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let mut asking = std::net::TcpStream::connect(admin).unwrap();
    std::io::Write::write_all(&mut asking, request.as_bytes()).unwrap();
    asking
}

/// A source that holds something of everything.
fn filled(rng: &mut Rng) -> Server {
    let source = Server::source();
    fill(&mut source.client(), rng, 300);
    source.client().pipeline((0..1_000).map(|n| format!("SET plain:{n} {n}")));
    source
}

#[test]
fn kills_at_random_moments_of_the_backfill_and_after_it_lose_nothing() {
    let mut rng = Rng::arbitrary();
    for _ in 0..4 {
        let scene = Restartable::new(filled(&mut rng));
        let rate = rng.pick(&["400", "4000"]);
        let crossfade = scene.start(&[("--backfill-rate", rate)]);
        kill_at_a_random_moment(&scene, crossfade, Asked::Nothing, &mut rng);
        let crossfade = scene.start(&[]);
        kill_at_a_random_moment(&scene, crossfade, Asked::Nothing, &mut rng);
    }
}

#[test]
fn kills_at_random_moments_after_the_cutover_lose_nothing() {
    let mut rng = Rng::arbitrary();
    let scene = Restartable::new(filled(&mut rng));
    let crossfade = scene.start(&[]);
    crossfade.cut_over();
    crossfade.kill();
    for _ in 0..4 {
        let crossfade = scene.start(&[]);
        assert_eq!(crossfade.phase(), "cut_over");
        kill_at_a_random_moment(&scene, crossfade, Asked::Nothing, &mut rng);
    }
}

#[test]
fn kills_in_the_middle_of_flips_under_load_end_on_one_side_or_the_other() {
    let mut rng = Rng::arbitrary();
    let scene = Restartable::new(filled(&mut rng));
    for _ in 0..10 {
        let crossfade = scene.start(&[]);
        crossfade.wait_converged();
        let asked = match crossfade.phase().as_str() {
            "mirroring" => Asked::CutOver,
            _ => Asked::RollBack,
        };
        kill_at_a_random_moment(&scene, crossfade, asked, &mut rng);
    }
}

#[test]
fn a_kill_after_a_rollback_or_finalize_is_remembered() {
    let scene = Restartable::new(Server::source());
    let crossfade = scene.start(&[]);
    crossfade.client().ok("SET a 1");
    crossfade.cut_over();
    crossfade.roll_back();
    crossfade.kill();
    let again = scene.start(&[]);
    again.wait_phase("mirroring");
    assert_eq!(again.status()["primary"], "source");
    again.cut_over();
    assert_eq!(again.admin().finalize().code, 200);
    again.kill();
    let last = scene.start(&[]);
    assert_eq!(last.phase(), "finalized");
    assert_eq!(last.client().ok("INCR a").integer(), 2);
    assert_eq!(scene.source.ok("GET a").integer(), 1);
}

#[test]
fn keys_deleted_between_a_kill_and_the_restart_come_back_on_neither_side() {
    let scene = Restartable::new(Server::source());
    let crossfade = scene.start(&[]);
    crossfade.wait_phase("mirroring");
    crossfade.client().pipeline((0..200).map(|n| format!("SET key:{n} 1")));
    crossfade.client().pipeline((0..200).map(|n| format!("DEL key:{}", n / 2)));
    crossfade.kill();
    let again = scene.start(&[]);
    again.wait_converged();
    assert_equal(&scene.source, &scene.target);
    assert_eq!(scene.target.size(0), 100);
}

#[test]
fn a_clean_stop_and_a_restart_need_no_second_backfill() {
    let source = Server::source();
    source.client().pipeline((0..500).map(|n| format!("SET plain:{n} {n}")));
    let scene = Restartable::new(source);
    let crossfade = scene.start(&[]);
    crossfade.wait_converged();
    crossfade.finish();
    let again = scene.start(&[]);
    assert_eq!(again.phase(), "mirroring");
    again.client().ok("SET after 1");
    again.wait_converged();
    assert_equal(&scene.source, &scene.target);
    again.finish();
}
