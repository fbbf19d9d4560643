//! The usual scene: a source, a target, and crossfade between them.

use super::crossfade::{Crossfade, Launch};
use super::resp::Resp;
use super::server::Server;
use super::snapshot;

/// Two servers and a running migration. Dropped in this order: first the proxy, then the servers.
pub struct Migration {
    /// The proxy.
    pub crossfade: Crossfade,
    /// The side that clients came from.
    pub source: Server,
    /// The side that they go to.
    pub target: Server,
}

impl Migration {
    /// A migration between two empty servers.
    pub fn start() -> Self {
        Self::of(Server::source())
    }

    /// A migration of what the source holds.
    pub fn of(source: Server) -> Self {
        Self::with(source, Server::target(), |launch| launch)
    }

    /// A migration with options.
    pub fn with(source: Server, target: Server, options: impl FnOnce(Launch) -> Launch) -> Self {
        let crossfade = options(Launch::between(&source, &target)).start();
        Self { crossfade, source, target }
    }

    /// A migration that keeps its state in a directory, so that a cut-over needs no force. The directory
    /// is inside the source's, and goes with it.
    pub fn lasting() -> Self {
        Self::lasting_of(Server::source())
    }

    /// The same of what the source holds.
    pub fn lasting_of(source: Server) -> Self {
        let state = source.directory().join("crossfade-state");
        Self::with(source, Server::target(), |launch| launch.state_dir(&state))
    }

    /// A migration whose backfill copies so many keys a second, so that traffic meets it.
    pub fn slowly(source: Server, rate: u64) -> Self {
        Self::with(source, Server::target(), |launch| {
            launch.option("--backfill-rate", &rate.to_string())
        })
    }

    /// Lets a slow backfill end.
    pub fn speed_up(&self) {
        assert_eq!(self.crossfade.admin().backfill(false, None).code, 200);
        self.crossfade.wait_phase("mirroring");
    }

    /// A client of the proxy.
    pub fn client(&self) -> Resp {
        self.crossfade.client()
    }

    /// Waits for convergence, then reads everything of both servers: they must be equal.
    pub fn assert_equal(&self) {
        self.crossfade.wait_converged();
        snapshot::assert_equal(&self.source, &self.target);
    }

    /// The same, and the end of it: a clean stop and a log without surprises.
    pub fn finish(self) {
        self.assert_equal();
        self.crossfade.finish();
    }
}

/// A source with so many plain keys, written in one pipeline.
pub fn source_with_keys(count: usize) -> Server {
    let source = Server::source();
    source.client().pipeline((0..count).map(|n| format!("SET plain:{n} {n}")));
    source
}
