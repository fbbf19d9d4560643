//! Accepting clients.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::Shared;
use super::client::Client;
use crate::net::Stream;

/// How long to wait after the system refused a connection (no descriptors left), so as not to spin.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Bounds on clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; one more is told so and closed.
    pub clients: usize,
    /// Replies that a client has not read, in bytes; past it, it is disconnected.
    pub output: usize,
}

/// The listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// The system's.
    pub async fn bind(address: &str) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await? })
    }

    /// Where.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop`.
    pub async fn run(self, shared: Arc<Shared>, tasks: TaskTracker, stop: CancellationToken) {
        tasks.spawn(call_clients(shared.clone(), stop.clone()));
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((socket, _)) => {
                    if let Err(error) = socket.set_nodelay(true) {
                        warn!(%error, "client socket can't be tuned");
                    }
                    let client = Client::new(shared.clone(), Stream::Tcp(socket), stop.clone());
                    tasks.spawn(client.run());
                }
                Err(error) => {
                    warn!(%error, "can't accept a client");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }
}

/// Tells every client when the stage has changed or everything ends. It is done for all by one, so
/// that a client that waits for its next command waits for its own mailbox and socket only.
async fn call_clients(shared: Arc<Shared>, stop: CancellationToken) {
    let mut stage = shared.stage.clone();
    loop {
        let over = tokio::select! {
            changed = stage.changed() => changed.is_err(),
            () = stop.cancelled() => true,
        };
        shared.registry.call_all();
        if over {
            return;
        }
    }
}
