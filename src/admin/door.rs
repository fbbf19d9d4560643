//! Who comes in: sockets, over TLS where there is a certificate.
//!
//! *Guarantees:* a visitor who says nothing, or does not manage to speak TLS, keeps no other out; no
//! more than [`VISITORS`] are there at once: for one more, whoever has been silent for longest goes.

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

use super::guest::{Guest, Guests};
use crate::net::{self, Stream};

/// Connections at once: operators, a scraper, probes.
const VISITORS: usize = 256;
/// How long to wait after the system refused a connection, or for a place.
const BACK_OFF: Duration = Duration::from_millis(100);
/// A visitor who has vanished is noticed after twice this.
const SILENCE: Duration = Duration::from_secs(30);

/// A listener whose introductions run beside each other.
pub(super) struct Door {
    visitors: mpsc::Receiver<(Visitor, SocketAddr)>,
    address: SocketAddr,
}

/// A connection that counts as long as it lives.
pub(super) struct Visitor {
    stream: Stream,
    guest: Arc<Guest>,
    /// Ready when they are to go; none once they are.
    leave: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _place: OwnedSemaphorePermit,
}

impl Visitor {
    fn new(stream: Stream, guest: Arc<Guest>, place: OwnedSemaphorePermit) -> Self {
        let leave = Some(Box::pin(guest.clone().leave()) as _);
        Self { stream, guest, leave, _place: place }
    }

    pub(super) fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    /// An error once they are to go.
    fn poll_stay(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.leave.as_mut().is_some_and(|leave| leave.as_mut().poll(cx).is_pending()) {
            return Ok(());
        }
        self.leave = None;
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Door {
    /// Opens until `stop`.
    ///
    /// # Errors
    /// The listener is broken.
    pub(super) fn open(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, visitors) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                () = receive(listener, tls, sender) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Self { visitors, address })
    }
}

async fn receive(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    sender: mpsc::Sender<(Visitor, SocketAddr)>,
) {
    let (places, mut guests) = (Arc::new(Semaphore::new(VISITORS)), Guests::default());
    loop {
        let Ok((tcp, address)) = listener.accept().await else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        let Some(place) = place(&places, &guests).await else { return };
        let guest = Guest::new();
        guests.enter(&guest);
        let (tls, sender) = (tls.clone(), sender.clone());
        tokio::spawn(async move {
            let _ = net::tune(&tcp, SILENCE);
            let accepted = tokio::select! {
                accepted = net::accept(tcp, tls.as_ref()) => accepted,
                () = guest.clone().leave() => return,
            };
            match accepted {
                // Nobody is there to serve it once the API has stopped.
                Ok(stream) => {
                    drop(sender.send((Visitor::new(stream, guest, place), address)).await);
                }
                Err(error) => debug!(%error, "a visitor did not manage to speak TLS"),
            }
        });
    }
}

/// A place for one more.
async fn place(places: &Arc<Semaphore>, guests: &Guests) -> Option<OwnedSemaphorePermit> {
    loop {
        match places.clone().try_acquire_owned() {
            Err(TryAcquireError::NoPermits) => guests.make_room(),
            place => return place.ok(),
        }
        // Nobody may have been silent; soon somebody will be.
        if let Ok(place) = timeout(BACK_OFF, places.clone().acquire_owned()).await {
            return place.ok();
        }
    }
}

impl Listener for Door {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        match self.visitors.recv().await {
            Some(visitor) => visitor,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let visitor = self.get_mut();
        visitor.poll_stay(cx)?;
        Pin::new(&mut visitor.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let visitor = self.get_mut();
        visitor.poll_stay(cx)?;
        let written = Pin::new(&mut visitor.stream).poll_write(cx, bytes);
        if written.is_ready() {
            visitor.guest.listened();
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
