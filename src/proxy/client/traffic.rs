//! Replies out, requests in: what a client's task does while it waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use tokio_util::io::poll_read_buf;

use super::{Client, Close, Presence};
use crate::lane::STEP;
use crate::metrics::ClientErrorKind;

/// How much room a read is given at most, when a large value is on its way, in bytes.
const READ_ROOM_MAX: usize = 1024 * 1024;
/// What a subscriber may leave unread, in bytes, before it is disconnected: Redis' default too.
const UNREAD_MESSAGES_MAX: usize = 32 * 1024 * 1024;
/// Requests that are read ahead while the client waits for a command to end, in bytes.
const READ_AHEAD_MAX: usize = 1024 * 1024;
/// And while it waits for room, in bytes: only to see whether it is still there.
const GLIMPSE_MAX: usize = 64 * 1024;

/// What a server reads of a client at once, in bytes.
const SERVERS_READ: usize = 16 * 1024;

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Until {
    /// More requests.
    Input,
    /// The client's end, or a reason to end it; it may write ahead a little meanwhile.
    Gone,
    /// Every step answered.
    Drained,
    /// Room for one more step, the client's end, or something that concerns every client.
    Room,
}

impl Client {
    /// Moves replies to the client until what is waited for is there.
    pub(in crate::proxy) async fn pump(&mut self, until: Until) -> Result<(), Close> {
        std::future::poll_fn(|cx| self.poll(cx, until)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, until: Until) -> Poll<Result<(), Close>> {
        loop {
            let replies = self.poll_replies(cx)?;
            let messages = self.poll_messages(cx)?;
            if self.loses_on_write(cx, until) && matches!(until, Until::Input | Until::Gone) {
                let goes_on = until == Until::Input && self.takes_what_is_left(cx);
                return Poll::Ready(if goes_on { Ok(()) } else { Err(Close::Now) });
            }
            if let Poll::Ready(answered) = replies {
                self.stopwatch.stop(answered, &self.entry.tally);
            }
            self.bound_output()?;
            if self.has_come(until) {
                return Poll::Ready(Ok(()));
            }
            if self.may_read(until)
                && let Poll::Ready(read) = self.poll_read(cx, until)
            {
                if read.is_ok() && until != Until::Input && self.is_here() {
                    continue;
                }
                return Poll::Ready(read);
            }
            if replies.is_pending() && messages.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Takes what lanes have answered: how many steps.
    fn poll_replies(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64, Close>> {
        let replies = self.withheld.as_deref_mut().unwrap_or(&mut self.out);
        let before = replies.len();
        let Poll::Ready(news) = self.replies.poll_take(cx, replies) else { return Poll::Pending };
        self.under_way.answer(news.answered, replies.len() - before);
        self.would_block |= news.would_block;
        if news.spoiled {
            self.session.spoil();
        }
        self.woken |= news.woken;
        for _ in 0..news.refused {
            self.blame(ClientErrorKind::Upstream);
        }
        Poll::Ready(if news.evicted {
            self.shared.complain(self.entry.id, "it reads least, and all leave too much");
            self.blame(ClientErrorKind::SlowReader);
            Err(Close::Now)
        } else if news.disowned {
            Err(Close::Gracefully)
        } else if news.disconnected {
            self.blame(ClientErrorKind::Upstream);
            Err(Close::Now)
        } else {
            Ok(news.answered)
        })
    }

    fn poll_messages(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Close>> {
        match &mut self.subscriber {
            Some(subscriber) => subscriber.poll(cx, &mut self.session.channels, &mut self.out),
            None => Poll::Pending,
        }
    }

    /// Writes what the client takes; whether it was found to be gone.
    fn loses_on_write(&mut self, cx: &mut Context<'_>, until: Until) -> bool {
        let counts = self.out.len() >= STEP;
        let written = self.out.poll_write(&mut self.stream, cx);
        let is_lost = matches!(written, Poll::Ready(Err(_))) || self.has_parted(cx, until);
        if is_lost {
            self.lose();
        }
        if counts {
            self.replies.left_to_write(self.out.len());
        }
        is_lost
    }

    /// Reads what a client that is gone has sent before, as much as a server reads at once: it would
    /// have had it already.
    fn takes_what_is_left(&mut self, cx: &mut Context<'_>) -> bool {
        self.incoming.reserve(SERVERS_READ);
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.incoming);
        matches!(read, Poll::Ready(Ok(1..)))
    }

    fn bound_output(&self) -> Result<(), Close> {
        if self.out.len() <= self.output_limit() {
            return Ok(());
        }
        self.shared.complain(self.entry.id, "it does not read its replies");
        self.blame(ClientErrorKind::SlowReader);
        Err(Close::Now)
    }

    /// Messages come unasked, so a subscriber that does not read them is given less time.
    fn output_limit(&self) -> usize {
        let limit = self.shared.limits.output;
        if self.subscriber.is_some() { limit.min(UNREAD_MESSAGES_MAX) } else { limit }
    }

    /// Whether what is waited for is there without a look at the socket.
    fn has_come(&self, until: Until) -> bool {
        match until {
            Until::Input => self.woken,
            Until::Gone => false,
            Until::Drained => self.under_way.is_empty() && self.session.channels.is_confirmed(),
            Until::Room => self.woken || self.room() > 0,
        }
    }

    fn may_read(&self, until: Until) -> bool {
        match until {
            _ if matches!(self.presence, Presence::Parting(_)) => false,
            Until::Input => self.under_way.may_grow(self.out.len()),
            Until::Gone => self.incoming.len() < READ_AHEAD_MAX,
            Until::Room => self.incoming.len() < GLIMPSE_MAX,
            Until::Drained => false,
        }
    }

    /// Ready when something has come, or the client has gone.
    fn poll_read(&mut self, cx: &mut Context<'_>, until: Until) -> Poll<Result<(), Close>> {
        let wanted = self.decoder.wanted(&self.incoming);
        self.incoming.reserve(wanted.clamp(self.read_size.bytes(), READ_ROOM_MAX));
        match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.incoming) {
            Poll::Ready(Ok(0)) if self.begins_to_part(until) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(0) | Err(_)) => {
                self.lose();
                Poll::Ready(if until == Until::Room { Ok(()) } else { Err(Close::Now) })
            }
            Poll::Ready(Ok(read)) => {
                if until == Until::Input {
                    self.read_size.learn(read);
                    self.came = Instant::now();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                self.rest();
                Poll::Pending
            }
        }
    }

    fn is_here(&self) -> bool {
        matches!(self.presence, Presence::Here)
    }

    /// The client has closed its end: whether it is answered all the same. One that waits for data is
    /// not, nor does a server go on with it.
    fn begins_to_part(&mut self, until: Until) -> bool {
        let parting = if until == Until::Gone { None } else { self.shared.partings.begin() };
        let parts = parting.is_some();
        if let Some(parting) = parting {
            self.presence = Presence::Parting(parting);
        }
        parts
    }

    /// Whether a client that had closed its end is gone for good.
    fn has_parted(&mut self, cx: &mut Context<'_>, until: Until) -> bool {
        match &mut self.presence {
            Presence::Parting(parting) => until == Until::Gone || parting.is_over(cx),
            Presence::Here | Presence::Gone => false,
        }
    }

    /// Nothing has come and nothing is under way: an idle client keeps no buffers.
    fn rest(&mut self) {
        if self.incoming.is_empty() && self.under_way.is_empty() {
            self.incoming = BytesMut::new();
        }
    }
}
