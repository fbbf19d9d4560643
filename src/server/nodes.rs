//! Which node of a deployment takes writes now, and the connections that end when it is another one.
//!
//! *What it is:* a standalone server is one node whose address never changes; of several, the
//! [sentinels](super::sentinel) say which. All clones of an [`Endpoint`] share what is known, and every
//! connection is dialled through it.
//!
//! *Guarantees:* a connection to a node that another has replaced breaks at once, whether or not the
//! node still answers ([`Broken::Left`](super::Broken::Left)), and before the first to the new one is
//! open. While nobody doubts it the known node is dialled without asking; the sentinels are asked by one
//! at a time, and not more often than every 100 ms.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::{info, warn};

use super::sentinel::{Heard, Said, Sentinels};
use super::{Address, ConnectError, Endpoint, Setup};

/// How long a server that nobody needs now is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The sentinels are asked not more often.
const PAUSE: Duration = Duration::from_millis(100);

/// What a URL says of where to go.
#[derive(Clone, Debug)]
pub enum Place {
    /// There, always.
    Server(Address),
    /// To the primary that they name.
    Sentinels(Sentinels),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(address) => address.fmt(f),
            Self::Sentinels(sentinels) => sentinels.fmt(f),
        }
    }
}

/// A server of a deployment.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    /// Cancelled once another one takes the writes.
    left: CancellationToken,
}

impl Node {
    fn new(address: Address) -> Self {
        Self { address, left: CancellationToken::new() }
    }

    fn is(&self, other: &Self) -> bool {
        self.address == other.address && self.left.is_cancelled() == other.left.is_cancelled()
    }
}

/// What is known of a deployment's nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    known: Mutex<Known>,
    /// Held by who asks the sentinels.
    asking: tokio::sync::Mutex<()>,
    doubted: Notify,
}

#[derive(Debug, Default)]
struct Known {
    serving: Option<Node>,
    /// Which configuration of the deployment that was.
    epoch: u64,
    /// Whether a connection to it was lost or refused since it was named last.
    is_doubted: bool,
    /// When the sentinels were asked last.
    asked: Option<Instant>,
    /// Why they did not tell.
    failure: Option<String>,
}

impl Nodes {
    pub(super) fn new(place: &Place) -> Arc<Self> {
        let nodes = Self::default();
        if let Place::Server(address) = place {
            nodes.known.lock().serving = Some(Node::new(address.clone()));
        }
        Arc::new(nodes)
    }

    fn trusted(&self) -> Option<Node> {
        let known = self.known.lock();
        known.serving.clone().filter(|_| !known.is_doubted)
    }

    fn known(&self) -> Option<Node> {
        self.known.lock().serving.clone()
    }

    /// A connection to it was lost or refused, or it takes no writes.
    fn doubt(&self, node: &Node) {
        let mut known = self.known.lock();
        if known.serving.as_ref().is_some_and(|serving| serving.is(node)) {
            known.is_doubted = true;
            self.doubted.notify_one();
        }
    }

    /// Whether the sentinels may be asked again; they are, then.
    fn may_ask(&self) -> bool {
        let mut known = self.known.lock();
        let may = known.asked.is_none_or(|asked| asked.elapsed() >= PAUSE);
        if may {
            known.asked = Some(Instant::now());
        }
        may
    }

    /// From now on this one takes the writes.
    fn settle_on(&self, heard: &Heard) {
        let mut known = self.known.lock();
        (known.is_doubted, known.failure, known.epoch) = (false, None, heard.epoch);
        let before = known.serving.as_ref();
        if before.is_some_and(|node| node.address == heard.address) {
            return;
        }
        if let Some(before) = known.serving.replace(Node::new(heard.address.clone())) {
            info!(from = %before.address, to = %heard.address, "another server takes the writes now");
            before.left.cancel();
        }
    }

    /// Nobody tells where to go: what is known stays.
    fn fail(&self, reason: String) {
        self.known.lock().failure = Some(reason);
    }

    /// Whether this is news that is to be believed.
    fn believes(&self, heard: &Heard) -> bool {
        heard.epoch >= self.known.lock().epoch || heard.by_most
    }
}

impl Endpoint {
    /// Where it is now, as far as is known, for messages.
    pub fn address(&self) -> String {
        self.nodes.known().map_or_else(|| self.place.to_string(), |node| node.address.to_string())
    }

    /// The server that was connected to last does not take writes, whatever it answers.
    pub fn doubt(&self) {
        if let Some(node) = self.nodes.known() {
            self.nodes.doubt(&node);
        }
    }

    /// The node to connect to.
    pub(super) async fn serving(&self) -> Result<Node, ConnectError> {
        let Place::Sentinels(sentinels) = &self.place else { return self.whatever_is_known() };
        if let Some(node) = self.nodes.trusted() {
            return Ok(node);
        }
        let _turn = self.nodes.asking.lock().await;
        if self.nodes.trusted().is_none() && self.nodes.may_ask() {
            self.seek(sentinels).await;
        }
        self.whatever_is_known()
    }

    pub(super) fn whatever_is_known(&self) -> Result<Node, ConnectError> {
        let known = self.nodes.known.lock();
        known.serving.clone().ok_or_else(|| ConnectError::Unreachable {
            address: self.place.to_string(),
            reason: known.failure.clone().unwrap_or_default(),
        })
    }

    /// Asks the sentinels, and goes where they say.
    async fn seek(&self, sentinels: &Sentinels) {
        match sentinels.ask(self).await {
            Ok(heard) if !self.nodes.believes(&heard) => {
                warn!(address = %heard.address, "a sentinel names a server of the past");
            }
            Ok(heard) if self.is_there(&heard) => self.nodes.settle_on(&heard),
            Ok(heard) => match self.try_out(&heard.address).await {
                Ok(()) => self.nodes.settle_on(&heard),
                Err(error) => self.nodes.fail(error.to_string()),
            },
            Err(reason) => self.nodes.fail(reason),
        }
    }

    fn is_there(&self, heard: &Heard) -> bool {
        self.nodes.known().is_some_and(|node| node.address == heard.address)
    }

    /// Whether a server that the sentinels name takes writes.
    async fn try_out(&self, address: &Address) -> Result<(), ConnectError> {
        let node = Node::new(address.clone());
        self.connect_to(&node, &Setup::own(self, 0, "crossfade-sentinel")).await.map(drop)
    }

    /// Goes where the sentinels say, as soon as one of them tells of a change, or somebody doubts
    /// what is known. Where there are none, nothing ever changes.
    pub async fn follow_sentinels(self) {
        let Place::Sentinels(sentinels) = self.place.clone() else { return };
        for seed in sentinels.seeds.iter().cycle() {
            self.listen_to(&sentinels, seed).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Hears what a sentinel tells, for as long as it is there.
    async fn listen_to(&self, sentinels: &Sentinels, seed: &Address) {
        let Ok(mut news) = sentinels.subscribe(self, seed).await else { return };
        loop {
            {
                let _turn = self.nodes.asking.lock().await;
                if self.nodes.may_ask() {
                    self.seek(sentinels).await;
                }
            }
            tokio::select! {
                more = news.next() => if more.is_err() { return },
                () = self.nodes.doubted.notified() => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ties a connection to the node that it leads to.
    pub(super) fn tether(&self, node: &Node) -> Option<Tether> {
        matches!(self.place, Place::Sentinels(_)).then(|| Tether {
            nodes: self.nodes.clone(),
            node: node.clone(),
            left: Box::pin(node.left.clone().cancelled_owned()),
        })
    }

    /// A connection to this node could not be had.
    pub(super) fn doubt_node(&self, node: &Node) {
        self.nodes.doubt(node);
    }

    /// Who says where it is, where anybody does.
    pub fn sentinels(&self) -> Option<&Sentinels> {
        match &self.place {
            Place::Server(_) => None,
            Place::Sentinels(sentinels) => Some(sentinels),
        }
    }

    /// Tries the way to a server that the sentinels announce.
    ///
    /// # Errors
    /// It can't be reached; why.
    pub async fn try_announced(&self, announced: &Address) -> Result<(), String> {
        let reached = timeout(PATIENCE, self.stream(&self.nat.reach(announced))).await;
        let late = |_| format!("no answer for {} s", PATIENCE.as_secs());
        reached.map_err(late)?.map(drop).map_err(|error| error.to_string())
    }

    /// What each sentinel says, for people.
    pub async fn ask_sentinels(&self) -> Vec<Said> {
        match self.sentinels() {
            Some(sentinels) => sentinels.ask_each(self).await,
            None => Vec::new(),
        }
    }
}

/// Breaks a connection when its node is left, and doubts the node when the connection breaks.
#[derive(Debug)]
pub(super) struct Tether {
    nodes: Arc<Nodes>,
    node: Node,
    left: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Tether {
    /// Ready once another node takes the writes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.left.as_mut().poll(cx)
    }

    pub(super) fn has_left(&self) -> bool {
        self.node.left.is_cancelled()
    }

    pub(super) fn broke(&self) {
        self.nodes.doubt(&self.node);
    }
}
