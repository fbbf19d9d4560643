//! Accepting clients.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Shared;
use super::client::Client;
use crate::net::{self, RateLimited};

/// How long to wait after the system refused a connection (no descriptors left), so as not to spin.
const BACK_OFF: Duration = Duration::from_millis(100);
/// A client that has vanished is noticed after twice this. It is long, because it also ends a client
/// that takes no byte of its replies for so long.
const SILENCE: Duration = Duration::from_secs(150);

/// Bounds on clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once; one more is told so and closed.
    pub clients: usize,
    /// Replies that a client has not read, in bytes; past it, it is disconnected.
    pub output: usize,
    /// Whether clients must log in before they may send anything large.
    pub login: bool,
}

/// The listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Listener {
    /// Listens; with `tls` for nothing else.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, tls })
    }

    /// Where.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop`.
    pub(crate) async fn run(
        self,
        shared: Arc<Shared>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        tasks.spawn(wake_clients(shared.clone(), stop.clone()));
        tasks.spawn(bound_memory(shared.clone(), stop.clone()));
        let complaints = RateLimited::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((socket, _)) => {
                    let welcome = welcome(socket, self.tls.clone(), shared.clone(), stop.clone());
                    tasks.spawn(welcome);
                }
                Err(error) => {
                    if let Some(untold) = complaints.ask() {
                        warn!(%error, untold, "can't accept a client (ulimit -n, LimitNOFILE)");
                    }
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }
}

/// Serves one client from its first byte to its last.
async fn welcome(
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    if let Err(error) = net::tune(&socket, SILENCE) {
        // It has gone already.
        debug!(%error, "client socket can't be tuned");
        return;
    }
    let addresses = (socket.peer_addr().ok(), socket.local_addr().ok());
    let stream = tokio::select! {
        stream = net::accept(socket, tls.as_ref()) => stream,
        () = stop.cancelled() => return,
    };
    match stream {
        Ok(stream) => {
            let mut client = Client::new(shared, stream, addresses, stop);
            client.run().await;
        }
        Err(error) => debug!(%error, "a client did not manage to speak TLS"),
    }
}

/// Tells every client when the stage has changed or everything ends. It is done for all by one, so
/// that a client that waits for its next command waits for its own replies and socket only.
async fn wake_clients(shared: Arc<Shared>, stop: CancellationToken) {
    let mut stage = shared.stage.clone();
    loop {
        let over = tokio::select! {
            changed = stage.changed() => changed.is_err(),
            () = stop.cancelled() => true,
        };
        shared.registry.wake_all();
        if over {
            return;
        }
    }
}

/// Disconnects who reads least, each time that all clients together have left too much.
async fn bound_memory(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = shared.unread.overflow() => shared.registry.evict(),
            () = stop.cancelled() => return,
        }
        tokio::task::yield_now().await;
    }
}
