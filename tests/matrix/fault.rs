//! What may happen to a server, and how it ends.

use std::time::{Duration, Instant};

use crate::load::Load;
use crate::scene::{Scene, Side};
use crate::support::{Server, Temper, wait_until};

/// How long most faults last: longer than anything that takes one round trip.
const WHILE: Duration = Duration::from_millis(800);
/// How long a server is stopped: longer than any answer is waited for.
const LONG: Duration = Duration::from_secs(3);

/// Who it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server that follows.
    Secondary(Secondary),
    /// The server that serves.
    Primary(Primary),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secondary {
    Slow,
    Stopped,
    Restarted,
    RestartedEmpty,
    SomeoneElse,
    OutOfMemory,
    ReadOnly,
    RefusesACommand,
    CutWithoutReset,
    Lies,
    SpeaksNonsense,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Primary {
    ConnectionsCut,
    Restarted,
    FailedOver,
    Stopped,
    Loading,
}

impl Fault {
    pub(crate) const ALL: [Self; 16] = [
        Self::Secondary(Secondary::Slow),
        Self::Secondary(Secondary::Stopped),
        Self::Secondary(Secondary::Restarted),
        Self::Secondary(Secondary::RestartedEmpty),
        Self::Secondary(Secondary::SomeoneElse),
        Self::Secondary(Secondary::OutOfMemory),
        Self::Secondary(Secondary::ReadOnly),
        Self::Secondary(Secondary::RefusesACommand),
        Self::Secondary(Secondary::CutWithoutReset),
        Self::Secondary(Secondary::Lies),
        Self::Secondary(Secondary::SpeaksNonsense),
        Self::Primary(Primary::ConnectionsCut),
        Self::Primary(Primary::Restarted),
        Self::Primary(Primary::FailedOver),
        Self::Primary(Primary::Stopped),
        Self::Primary(Primary::Loading),
    ];

    /// Whether a server that serves in this state can't be trusted: it has lost its keys, or lies.
    pub(crate) fn destroys(self) -> bool {
        use Secondary::{Lies, RestartedEmpty, SomeoneElse};
        matches!(self, Self::Secondary(RestartedEmpty | SomeoneElse | Lies))
    }

    /// Lets it happen, and end.
    pub(crate) fn strike(self, scene: &mut Scene, load: &Load) {
        match self {
            Self::Secondary(fault) => fault.strike(scene.secondary()),
            Self::Primary(Primary::FailedOver) => fail_over(scene, load),
            Self::Primary(fault) => fault.strike(scene.primary()),
        }
    }
}

impl Secondary {
    fn strike(self, side: &mut Side) {
        let Side { server, tamer } = side;
        match self {
            Self::Slow => in_the_mood(side, Temper::Slow(Duration::from_millis(100))),
            Self::CutWithoutReset => in_the_mood(side, Temper::Swallow),
            Self::Lies => in_the_mood(side, Temper::Lie),
            Self::SpeaksNonsense => in_the_mood(side, Temper::Garble),
            Self::Stopped => stop(server),
            Self::Restarted => restart(server),
            Self::RestartedEmpty => server.restart_empty(),
            Self::SomeoneElse => {
                tamer.set(Temper::Refusing);
                server.restart_empty();
                server.client().pipeline((0..100).map(|n| format!("SET strange:{n} {n}")));
                server.client().pipeline((0..50).map(|n| format!("SET plain:{n} strange")));
                tamer.set(Temper::Calm);
            }
            Self::OutOfMemory => {
                between(server, "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0");
            }
            Self::ReadOnly => between(server, "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
            Self::RefusesACommand => {
                let refuse = "ACL SETUSER default -rpush -set -restore";
                between(server, refuse, "ACL SETUSER default +@all");
            }
        }
    }
}

impl Primary {
    fn strike(self, side: &mut Side) {
        match self {
            Self::ConnectionsCut => {
                for _ in 0..4 {
                    side.tamer.cut();
                    std::thread::sleep(WHILE / 4);
                }
            }
            Self::Restarted => restart(&mut side.server),
            Self::Stopped => stop(&side.server),
            Self::Loading => {
                // A twentieth of a second for a hundred commands, and an ear for questions all along.
                let slowly = ["--key-load-delay", "500"];
                let politely = ["--loading-process-events-interval-bytes", "1024"];
                side.server.restart_with(&[slowly, politely].concat());
            }
            Self::FailedOver => {}
        }
    }
}

fn in_the_mood(side: &Side, temper: Temper) {
    side.tamer.set(temper);
    std::thread::sleep(WHILE);
    side.tamer.set(Temper::Calm);
    if temper == Temper::Swallow {
        // What vanished is missing in the middle of the stream: no network would go on with it.
        side.tamer.cut();
    }
}

fn stop(server: &Server) {
    server.freeze();
    std::thread::sleep(LONG);
    server.thaw();
}

fn restart(server: &mut Server) {
    server.kill();
    std::thread::sleep(WHILE);
    server.restart();
}

fn between(server: &Server, begin: &str, end: &str) {
    server.ok(begin);
    std::thread::sleep(WHILE);
    server.ok(end);
}

/// A replica that has fallen behind takes the primary's place and address.
fn fail_over(scene: &mut Scene, load: &Load) {
    let side = scene.primary();
    let replica = Server::durable_source();
    replica.ok(format!("REPLICAOF 127.0.0.1 {}", side.server.port()));
    wait_until("the replica is in sync", || {
        replica.ok("INFO replication").text().contains("master_link_status:up")
    });
    let from = Instant::now();
    // What was acknowledged until now has arrived there. A ping tells the connection the present end.
    let mut client = scene.primary().server.client();
    client.ok("PING");
    assert_eq!(client.ok("WAIT 1 10000").integer(), 1, "the replica keeps up");
    replica.ok("REPLICAOF NO ONE");
    load.run_for(100);
    let side = scene.primary();
    side.tamer.switch(&replica.address());
    side.tamer.cut();
    side.server = replica;
    // A client that was told in time may note it late.
    scene.lost = Some((from, Instant::now() + Duration::from_secs(1)));
}
