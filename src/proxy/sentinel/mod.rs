//! What clients that ask sentinels are told: the primary of every name is the proxy, and always will
//! be.
//!
//! *What it is:* a listener for the questions of Sentinel clients, so that an application which
//! finds its server that way needs another list of sentinels and nothing else. The clients' own
//! connections then come to the proxy like any other.
//!
//! *Guarantees:* no more than [`GUESTS`] are there at once; what one sends and has not read is bounded.

mod answers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::answers::{Announced, Guest, Next};
use super::Stage;
use super::authority::Decision;
use crate::lane::Identity;
use crate::net;
use crate::protocol::resp::{self, Decoder, Request};
use crate::server::Secret;

/// Connections at once.
const GUESTS: usize = 1024;
/// How long to wait after the system refused a connection.
const BACK_OFF: Duration = Duration::from_millis(100);
/// A guest who has vanished, or reads nothing, is noticed after twice this.
const SILENCE: Duration = Duration::from_secs(30);

/// What the guests are told.
#[derive(Debug)]
pub(crate) struct Signpost {
    /// The names by which the servers' own sentinels know them.
    pub(crate) names: Vec<String>,
    /// Where the proxy is; else where the guest has connected to, at this port.
    pub(crate) announce: Option<(String, u16)>,
    /// The proxy's port.
    pub(crate) port: u16,
    /// What the guests' sentinels have asked for until now.
    pub(crate) password: Option<Secret>,
    /// Who knows the clients.
    pub(crate) stage: watch::Receiver<Stage>,
    /// Over TLS where clients are spoken to so.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

impl Signpost {
    /// Answers until `stop`.
    pub(crate) async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let (signpost, places) = (Arc::new(self), Arc::new(Semaphore::new(GUESTS)));
        let receiving = async {
            loop {
                // One more waits outside until there is a place.
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let Ok((tcp, _)) = listener.accept().await else {
                    sleep(BACK_OFF).await;
                    continue;
                };
                let (signpost, stop) = (signpost.clone(), stop.clone());
                tokio::spawn(async move {
                    // Whatever ends it concerns the guest alone.
                    let _ = stop.run_until_cancelled(signpost.receive(tcp)).await;
                    drop(place);
                });
            }
        };
        stop.run_until_cancelled(receiving).await;
    }

    async fn receive(&self, tcp: TcpStream) -> std::io::Result<()> {
        net::tune(&tcp, SILENCE)?;
        let local = tcp.local_addr()?;
        let mut stream = net::accept(tcp, self.tls.as_ref()).await?;
        let mut guest = Guest::new(self.announced(local));
        let (mut decoder, mut incoming) = (Decoder::default(), BytesMut::new());
        // Nobody has anything large to ask.
        decoder.restrict(true);
        while stream.read_buf(&mut incoming).await? > 0 {
            let mut out = BytesMut::new();
            let stays = self.answer(&mut guest, &mut decoder, &mut incoming, &mut out).await;
            stream.write_all(&out).await?;
            if !stays {
                break;
            }
        }
        Ok(())
    }

    fn announced(&self, local: SocketAddr) -> Announced {
        let (host, port) = match &self.announce {
            Some((host, port)) => (host.clone(), *port),
            None => (local.ip().to_canonical().to_string(), self.port),
        };
        Announced { names: self.names.clone(), host, port }
    }

    /// Answers what has come; false when the guest is to go.
    async fn answer(
        &self,
        guest: &mut Guest,
        decoder: &mut Decoder,
        incoming: &mut BytesMut,
        out: &mut BytesMut,
    ) -> bool {
        loop {
            let request = match decoder.next(incoming) {
                Ok(Some(request)) => request,
                Ok(None) => return true,
                Err(error) => {
                    resp::error(out, &format!("ERR {error}"));
                    return false;
                }
            };
            match guest.answer(&request, out) {
                Next::Stay => {}
                Next::Leave => return false,
                Next::LogIn(login, greets) => match self.refusal(&login).await {
                    Some(refusal) => out.extend_from_slice(&refusal),
                    None if greets => guest.greet(out),
                    None => resp::simple(out, "OK"),
                },
            }
        }
    }

    /// Why a login is refused: whoever may be a client may ask, and whoever might ask the sentinels.
    async fn refusal(&self, login: &Request) -> Option<Bytes> {
        let password = login.args().next_back().unwrap_or_default();
        if self.password.as_ref().is_some_and(|own| own.reveal().as_bytes() == password) {
            return None;
        }
        let reply = self.decide(login).await;
        let reply =
            reply.unwrap_or(Bytes::from_static(b"-ERR crossfade: nobody can be asked now\r\n"));
        (reply.first() == Some(&b'-')).then_some(reply)
    }

    async fn decide(&self, login: &Request) -> Option<Bytes> {
        let route = self.stage.borrow().route.clone();
        let source = route.authority.source();
        if let Some(reply) = route.authority.ask(source.ask_behind(&[], login)).await {
            return Some(reply);
        }
        match route.authority.known()?.judge(login, &Identity::Anonymous) {
            Decision::Answer(text) => Some(Bytes::from_static(text.as_bytes())),
            Decision::Ask(login, _) => route.pool.upstream().ask_behind(&[], &login).await,
        }
    }
}
