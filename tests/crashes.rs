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
use std::time::Duration;
use support::{Crossfade, Launch, Server, assert_equal};

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

#[test]
fn a_kill_in_the_middle_of_a_flip_ends_in_one_phase_or_the_other() {
    for delay in [0, 2, 5, 10] {
        let scene = Restartable::new(Server::source());
        let crossfade = scene.start(&[]);
        crossfade.wait_converged();
        crossfade.verify();
        let mut client = crossfade.client();
        let acknowledged =
            (0..200).filter(|n| !client.call(format!("RPUSH list {n}")).is_error()).count();
        let admin = crossfade.admin().address().to_owned();
        let mut asking = std::net::TcpStream::connect(&admin).unwrap();
        let body = r#"{"timeout_ms":5000,"force":false}"#;
        let length = body.len();
        let request = format!(
            "POST /v1/cutover HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        std::io::Write::write_all(&mut asking, request.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        crossfade.kill();
        let again = scene.start(&[]);
        let phase = again.phase();
        assert!(["backfilling", "mirroring", "cut_over"].contains(&phase.as_str()), "{phase}");
        again.client().ok("RPUSH list last");
        again.wait_converged();
        assert_equal(&scene.source, &scene.target);
        nothing_is_lost(&scene.target, "list", acknowledged);
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
