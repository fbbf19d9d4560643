//! The listening socket of the API, with TLS where there is a certificate.
//!
//! *Guarantees:* a peer that sends nothing, or does not manage the TLS handshake, keeps no other out;
//! no more than [`MOST_PEERS`] are connected at once: for one more, the one that has been silent for
//! longest is closed.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::peer::{Peer, Peers};
use crate::net::{self, Stream};

/// Connected at once: operators, a scraper, probes.
const MOST_PEERS: usize = 256;
/// How long to wait after the system refused a connection, or for a place.
const BACK_OFF: Duration = Duration::from_millis(100);
/// A peer that has vanished is noticed after twice this.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A listener whose TLS handshakes run beside each other.
pub(super) struct ApiListener {
    accepted: mpsc::Receiver<(PeerStream, SocketAddr)>,
    address: SocketAddr,
}

/// A connection that counts as long as it lives.
pub(super) struct PeerStream {
    stream: Stream,
    peer: Arc<Peer>,
    /// Ready when it is to be closed; none once it is.
    closed: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _place: OwnedSemaphorePermit,
}

impl PeerStream {
    fn new(stream: Stream, peer: Arc<Peer>, place: OwnedSemaphorePermit) -> Self {
        let closed = Some(Box::pin(peer.clone().closed()) as _);
        Self { stream, peer, closed, _place: place }
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// An error once it is to be closed.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.closed.as_mut().is_some_and(|closed| closed.as_mut().poll(cx).is_pending()) {
            return Ok(());
        }
        self.closed = None;
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl ApiListener {
    /// Accepts until `stop`.
    pub(super) fn open(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, accepted) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                () = receive(listener, tls, sender) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Self { accepted, address })
    }
}

async fn receive(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    sender: mpsc::Sender<(PeerStream, SocketAddr)>,
) {
    let (places, mut peers) = (Arc::new(Semaphore::new(MOST_PEERS)), Peers::default());
    loop {
        let Ok((tcp, address)) = listener.accept().await else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        let Some(place) = place(&places, &peers).await else { return };
        let peer = Peer::new();
        peers.add(&peer);
        let (tls, sender) = (tls.clone(), sender.clone());
        tokio::spawn(async move {
            let _ = net::tune(&tcp, KEEPALIVE);
            let accepted = tokio::select! {
                accepted = net::accept(tcp, tls.as_ref()) => accepted,
                () = peer.clone().closed() => return,
            };
            match accepted {
                // Nobody is there to serve it once the API has stopped.
                Ok(stream) => {
                    drop(sender.send((PeerStream::new(stream, peer, place), address)).await);
                }
                Err(error) => debug!(%error, "the TLS handshake failed"),
            }
        });
    }
}

/// A place for one more.
async fn place(places: &Arc<Semaphore>, peers: &Peers) -> Option<OwnedSemaphorePermit> {
    loop {
        match places.clone().try_acquire_owned() {
            Err(TryAcquireError::NoPermits) => peers.close_one(),
            place => return place.ok(),
        }
        // All may be in the middle of a call; soon one will not.
        if let Ok(place) = timeout(BACK_OFF, places.clone().acquire_owned()).await {
            return place.ok();
        }
    }
}

impl Listener for ApiListener {
    type Io = PeerStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (PeerStream, SocketAddr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let peer = self.get_mut();
        peer.poll_open(cx)?;
        Pin::new(&mut peer.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let peer = self.get_mut();
        peer.poll_open(cx)?;
        let written = Pin::new(&mut peer.stream).poll_write(cx, bytes);
        if written.is_ready() {
            peer.peer.has_read();
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
