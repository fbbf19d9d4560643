//! The channels that a client has open, as the server confirms them.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::protocol::resp::{Reply, Request};

/// What can be subscribed to, each in its own name space.
const KINDS: [&[u8]; 3] = [b"subscribe", b"psubscribe", b"ssubscribe"];

/// Channels, patterns and shard channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Channels {
    open: [BTreeSet<Bytes>; 3],
    /// Confirmations and other replies that are still to come.
    expected: usize,
}

impl Channels {
    /// How many are open of each kind.
    pub(in crate::proxy) fn counts(&self) -> [usize; 3] {
        self.open.each_ref().map(BTreeSet::len)
    }

    pub(in crate::proxy) fn count(&self) -> usize {
        self.counts().iter().sum()
    }

    /// Whether everything that was sent has been answered.
    pub(in crate::proxy) fn is_confirmed(&self) -> bool {
        self.expected == 0
    }

    /// Whether any channel, or pattern (true), is such a one.
    pub(in crate::proxy) fn any(&self, is: impl Fn(&[u8], bool) -> bool) -> bool {
        let [channels, patterns, _] = &self.open;
        channels.iter().any(|name| is(name, false)) || patterns.iter().any(|name| is(name, true))
    }

    /// A request of a subscriber has been sent.
    pub(in crate::proxy) fn sent(&mut self, request: &Request) {
        let name = request.name().to_ascii_lowercase();
        let open = kind_of(&name).and_then(|kind| self.open.get(kind)).map(BTreeSet::len);
        // Without a channel, an end confirms each that was open; a beginning is an error, one reply,
        // and so is what a subscriber may not ask.
        self.expected += match (open, request.len() - 1) {
            (Some(open), 0) if is_end(&name) => open.max(1),
            (None, _) | (_, 0) => 1,
            (_, named) => named,
        };
    }

    /// Something has come.
    pub(in crate::proxy) fn note(&mut self, frame: &Bytes) {
        let reply = Reply::parse(frame).unwrap_or(Reply::Null);
        let items = reply.items().unwrap_or_default();
        let name = items.first().and_then(Reply::text).cloned().unwrap_or_default();
        if matches!(name.as_ref(), b"message" | b"pmessage" | b"smessage") {
            return;
        }
        self.expected = self.expected.saturating_sub(1);
        let channel = items.get(1).and_then(Reply::text).cloned();
        let (Some(kind), Some(channel)) = (kind_of(&name), channel) else { return };
        let Some(open) = self.open.get_mut(kind) else { return };
        if is_end(&name) {
            open.remove(&channel);
        } else {
            open.insert(Bytes::copy_from_slice(&channel));
        }
    }

    /// What another connection has to be told; as many confirmations will come as channels are open.
    pub(super) fn told_again(&self) -> Vec<Request> {
        let kinds = KINDS.iter().zip(&self.open).filter(|(_, open)| !open.is_empty());
        let subscribe = |(kind, open): (&&[u8], &BTreeSet<Bytes>)| {
            Request::new(std::iter::once(*kind).chain(open.iter().map(Bytes::as_ref)))
        };
        kinds.map(subscribe).collect()
    }
}

fn kind_of(name: &[u8]) -> Option<usize> {
    let name = match name {
        b"unsubscribe" => b"subscribe",
        b"punsubscribe" => b"psubscribe".as_ref(),
        b"sunsubscribe" => b"ssubscribe",
        name => name,
    };
    KINDS.iter().position(|kind| *kind == name)
}

fn is_end(name: &[u8]) -> bool {
    matches!(name, b"unsubscribe" | b"punsubscribe" | b"sunsubscribe")
}
