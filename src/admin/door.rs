//! Who comes in: sockets, over TLS where there is a certificate.
//!
//! *Guarantees:* a visitor who says nothing, or does not manage to speak TLS, keeps no other out; no
//! more than [`VISITORS`] are there at once.

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::net::{self, Stream};

/// Connections at once: operators, a scraper, probes.
const VISITORS: usize = 256;
/// How long to wait after the system refused a connection.
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
    _place: OwnedSemaphorePermit,
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
    let places = Arc::new(Semaphore::new(VISITORS));
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((tcp, address)) = listener.accept().await else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        let (tls, sender) = (tls.clone(), sender.clone());
        tokio::spawn(async move {
            let _ = net::tune(&tcp, SILENCE);
            match net::accept(tcp, tls.as_ref()).await {
                // Nobody is there to serve it once the API has stopped.
                Ok(stream) => drop(sender.send((Visitor { stream, _place: place }, address)).await),
                Err(error) => debug!(%error, "a visitor did not manage to speak TLS"),
            }
        });
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
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
