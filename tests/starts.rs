//! What a start makes of servers that are away, or go away while they are looked at: whoever serves must
//! be there and is named when it is not; the other one, once it is known, keeps nobody waiting.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use support::{
    Crossfade, Launch, Outcome, Resp, Server, Tamer, Temper, assert_equal, source_with_keys,
    wait_until,
};
use tempfile::TempDir;

const KEYS: usize = 300;
const AWAY: &str = "is away: clients are served without it";

/// Two servers behind proxies that can hide them, and a place for state.
struct Scene {
    source: Server,
    target: Server,
    before_source: Tamer,
    before_target: Tamer,
    state: TempDir,
}

impl Scene {
    fn new(source: Server, target: Server) -> Self {
        let (before_source, before_target) =
            (Tamer::before(&source.address()), Tamer::before(&target.address()));
        Self { source, target, before_source, before_target, state: tempfile::tempdir().unwrap() }
    }

    fn filled() -> Self {
        Self::new(source_with_keys(KEYS), Server::target())
    }

    fn launch(&self) -> Launch {
        let launch = Launch::urls(&self.before_source.url(), &self.before_target.url());
        launch.state_dir(self.state.path())
    }

    /// Starts without one of the servers, which is named.
    fn start_without(&self, side: &str) -> Crossfade {
        let crossfade = self.launch().expect_log(AWAY).start();
        assert!(crossfade.log().contains(&format!("the {side} {AWAY}")));
        let status = crossfade.status();
        assert_eq!(status[side]["connected"], false, "{status:#}");
        assert_eq!(status[side]["version"], status[other(side)]["version"], "it is remembered");
        assert!(!status["ready"].as_bool().unwrap());
        crossfade
    }
}

fn other(side: &str) -> &str {
    if side == "source" { "target" } else { "source" }
}

/// Nobody connects to it any more.
fn hide(tamer: &Tamer) {
    tamer.set(Temper::Refusing);
    tamer.cut();
}

/// A write that the secondary does not get is seen to wait.
fn lags(crossfade: &Crossfade, client: &mut Resp) {
    client.ok("INCR counted");
    crossfade.wait_status("the write waits", |status| {
        status["mirror"]["lag_seconds"].as_f64() > Some(0.05)
            && status["mirror"]["dirty_keys"].as_u64().max(status["mirror"]["queued"].as_u64())
                > Some(0)
    });
}

#[test]
fn clients_that_were_cut_over_are_served_after_a_restart_without_the_source() {
    let scene = Scene::filled();
    let crossfade = scene.launch().start();
    crossfade.cut_over();
    crossfade.wait_settled();
    crossfade.kill();
    hide(&scene.before_source);
    let crossfade = scene.start_without("source");
    assert_eq!(crossfade.phase(), "cut_over");
    assert_eq!(crossfade.admin().get("/readyz").code, 200);
    let mut client = crossfade.client();
    assert_eq!(client.ok("GET plain:7").integer(), 7);
    assert!(!client.call("HELLO 3").is_error(), "nobody needs the source to come in");
    lags(&crossfade, &mut client);
    assert_ne!(crossfade.admin().rollback(300).code, 200);
    scene.before_source.set(Temper::Calm);
    crossfade.wait_settled();
    assert_eq!(scene.source.ok("GET counted").integer(), 1);
    assert!(!crossfade.log().contains("everything is copied again"), "it is the one that it was");
    crossfade.roll_back();
    assert_eq!(client.ok("INCR counted").integer(), 2);
    crossfade.wait_converged();
    assert_equal(&scene.source, &scene.target);
    drop(client);
    crossfade.finish();
}

#[test]
fn a_source_that_died_is_filled_again_when_another_process_is_there() {
    let mut scene = Scene::filled();
    let crossfade = scene.launch().start();
    crossfade.cut_over();
    crossfade.finish();
    scene.source.kill();
    let crossfade = scene.start_without("source");
    crossfade.client().ok("INCR counted");
    crossfade.kill();
    // Once more, with what the process before had not seen either.
    let crossfade = scene.start_without("source");
    crossfade.client().ok("INCR counted");
    scene.source.restart();
    crossfade.wait_status("the source is there", |status| status["source"]["connected"] == true);
    crossfade.wait_settled();
    let filled = KEYS as i64 + 2;
    wait_until("the counter is there, and the marker", || scene.source.size(0) == filled);
    crossfade.roll_back();
    assert_eq!(crossfade.client().ok("INCR counted").integer(), 3);
    crossfade.wait_converged();
    assert_equal(&scene.source, &scene.target);
    crossfade.kill();
    assert_eq!(scene.launch().start().status()["primary"], "source");
}

#[test]
fn another_server_at_the_address_of_one_that_was_away_is_not_taken_for_it() {
    let scene = Scene::filled();
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    crossfade.finish();
    hide(&scene.before_target);
    let crossfade = scene.start_without("target");
    let another = Server::target();
    another.ok("SET plain:7 other");
    another.ok("SET extra other");
    scene.before_target.switch(&another.address());
    scene.before_target.set(Temper::Calm);
    crossfade.wait_status("the target is there", |status| status["target"]["connected"] == true);
    crossfade.wait_settled();
    assert_equal(&scene.source, &another);
    crossfade.finish();
}

#[test]
fn clients_are_served_by_the_source_after_a_restart_without_the_target() {
    let mut scene = Scene::filled();
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    crossfade.kill();
    scene.target.kill();
    let crossfade = scene.start_without("target");
    let mut client = crossfade.client();
    assert_eq!(client.ok("GET plain:7").integer(), 7);
    lags(&crossfade, &mut client);
    assert_eq!(crossfade.admin().cutover(300, true).code, 409);
    scene.target.restart();
    crossfade.cut_over();
    assert_eq!(client.ok("INCR counted").integer(), 2);
    crossfade.wait_converged();
    assert_equal(&scene.source, &scene.target);
}

#[test]
fn a_backfill_goes_on_when_the_target_that_was_away_at_the_restart_is_back() {
    let scene = Scene::filled();
    let crossfade = scene.launch().option("--backfill-rate", "50").start();
    crossfade.client().ok("SET early 1");
    crossfade.kill();
    hide(&scene.before_target);
    let crossfade = scene.start_without("target");
    assert_eq!(crossfade.phase(), "backfilling");
    crossfade.client().ok("SET late 1");
    scene.before_target.set(Temper::Calm);
    crossfade.wait_phase("mirroring");
    crossfade.wait_converged();
    assert_equal(&scene.source, &scene.target);
    crossfade.finish();
}

#[test]
fn a_server_that_says_nothing_counts_as_away() {
    let scene = Scene::filled();
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    crossfade.finish();
    scene.target.freeze();
    let crossfade = scene.start_without("target");
    assert_eq!(crossfade.client().ok("INCR counted").integer(), 1);
    scene.target.thaw();
    crossfade.wait_converged();
    assert_equal(&scene.source, &scene.target);
}

fn is_named(outcome: &Outcome, server: &str) {
    assert_eq!(outcome.code, 3, "{server}: {}", outcome.stderr);
    let last = outcome.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("crossfade: {server}: ")), "{last}");
}

#[test]
fn without_the_server_that_serves_nothing_starts() {
    let scene = Scene::filled();
    let (source, target) = (scene.before_source.address(), scene.before_target.address());
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    crossfade.finish();
    hide(&scene.before_source);
    is_named(&scene.launch().refused(), &format!("source {source}"));
    scene.before_source.set(Temper::Calm);
    let crossfade = scene.launch().start();
    crossfade.cut_over();
    crossfade.kill();
    hide(&scene.before_target);
    is_named(&scene.launch().refused(), &format!("target {target}"));
}

#[test]
fn a_first_start_needs_both_servers_and_one_that_refuses_is_not_away() {
    let scene = Scene::filled();
    hide(&scene.before_target);
    let target = format!("target {}", scene.before_target.address());
    is_named(&scene.launch().refused(), &target);
    scene.before_target.set(Temper::Calm);
    let crossfade = scene.launch().start();
    crossfade.wait_settled();
    crossfade.finish();
    scene.target.ok("CONFIG SET requirepass secret");
    is_named(&scene.launch().refused(), &target);
}

/// How a server fails.
#[derive(Clone, Copy, Debug)]
enum Failing {
    Closes,
    TalksNonsense,
}

/// Passes so many pieces of requests on each connection, then fails; where it listens.
fn failing(server: &Server, pieces: usize, how: Failing) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.address();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&server).unwrap();
            std::thread::spawn(move || pass(client, server, pieces, how));
        }
    });
    address
}

fn pass(mut client: TcpStream, mut server: TcpStream, pieces: usize, how: Failing) {
    let mut bytes = vec![0; 64 * 1024];
    server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    for _ in 0..pieces {
        let Some(length) = client.read(&mut bytes).ok().filter(|length| *length > 0) else {
            return;
        };
        server.write_all(&bytes[..length]).unwrap();
        let Ok(length) = server.read(&mut bytes) else { return };
        if client.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
    let _request = client.read(&mut bytes);
    let _gone = match how {
        Failing::Closes => client.shutdown(Shutdown::Both),
        Failing::TalksNonsense => client.write_all(b"HTTP/1.1 400 Bad\r\n\r\n"),
    };
}

#[test]
fn a_server_that_fails_while_it_is_looked_at_is_named() {
    let (source, target) = (Server::source(), Server::target());
    for how in [Failing::Closes, Failing::TalksNonsense] {
        for pieces in 0..4 {
            let (before_source, before_target) =
                (failing(&source, pieces, how), failing(&target, pieces, how));
            let launch = |source: &str, target: &str| {
                Launch::urls(&format!("redis://{source}"), &format!("redis://{target}")).refused()
            };
            is_named(
                &launch(&before_source, &target.address()),
                &format!("source {before_source}"),
            );
            is_named(
                &launch(&source.address(), &before_target),
                &format!("target {before_target}"),
            );
        }
    }
}
