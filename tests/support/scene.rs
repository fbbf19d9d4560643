//! Two servers, each behind a proxy that can delay and lose what passes, and state that outlives
//! processes.

use std::path::PathBuf;

use super::crossfade::{Crossfade, Launch};
use super::server::Server;
use super::tamer::{Tamer, Temper};

/// Where crossfade is killed and started again.
pub struct Scene {
    pub source: Server,
    pub target: Server,
    pub before_source: Tamer,
    pub before_target: Tamer,
    pub state: PathBuf,
}

impl Scene {
    /// Between this source and an empty target.
    pub fn new(source: Server) -> Self {
        let target = Server::target();
        let (before_source, before_target) =
            (Tamer::before(&source.address()), Tamer::before(&target.address()));
        let state = source.directory().join("crossfade-state");
        Self { source, target, before_source, before_target, state }
    }

    /// A crossfade with the state of those before it.
    pub fn launch(&self) -> Launch {
        self.launch_without_state().state_dir(&self.state)
    }

    pub fn launch_without_state(&self) -> Launch {
        Launch::urls(&self.before_source.url(), &self.before_target.url())
    }

    /// Kills crossfade and whatever is on its way to either server.
    pub fn kill(&self, crossfade: Crossfade) {
        crossfade.kill();
        for tamer in [&self.before_source, &self.before_target] {
            tamer.cut();
            tamer.set(Temper::Calm);
        }
    }
}
