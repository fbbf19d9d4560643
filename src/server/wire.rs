//! Requests out and replies in on one stream, from one task.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio_util::io::poll_read_buf;

use super::nodes::Tether;
use crate::net::{Outgoing, Stream};
use crate::protocol::resp::{Frame, ReplyError, Scanner};

/// How much room a read is given at least, in bytes.
const READ_ROOM: usize = 32 * 1024;

/// Why a connection can't be used any more.
#[derive(Debug, Error)]
pub enum Broken {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server closed it.
    #[error("connection closed by the server")]
    Closed,
    /// Another server takes the writes now.
    #[error("another server takes the writes now")]
    Left,
    /// What came is not RESP.
    #[error("{0}")]
    Protocol(#[from] ReplyError),
}

/// A stream that speaks RESP, without any idea which reply belongs to what.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    incoming: BytesMut,
    scanner: Scanner,
    /// What is to be written.
    pub outgoing: Outgoing,
    /// The number that the server gave this connection, where it says.
    pub id: Option<i64>,
    /// Where it may lead to a server that another one takes the place of.
    tether: Option<Tether>,
}

impl Wire {
    /// Wraps a connected stream.
    pub(super) fn new(stream: Stream, tether: Option<Tether>) -> Self {
        Self {
            stream,
            tether,
            incoming: BytesMut::new(),
            scanner: Scanner::default(),
            outgoing: Outgoing::default(),
            id: None,
        }
    }

    /// Queues a request's bytes.
    pub fn push(&mut self, raw: &Bytes) {
        self.outgoing.push(raw);
    }

    /// Writes until nothing waits (ready) or the server takes no more (pending).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let written = self.outgoing.poll_write(&mut self.stream, cx).map_err(Broken::Io);
        written.map_err(|error| self.broken(error))
    }

    /// The next reply among the bytes that are here already.
    pub fn buffered(&mut self) -> Result<Option<Frame>, Broken> {
        Ok(self.scanner.next(&mut self.incoming)?)
    }

    /// Reads once; ready when bytes have come.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.tether.as_mut().is_some_and(|tether| tether.poll(cx).is_ready()) {
            return Poll::Ready(Err(Broken::Left));
        }
        self.incoming.reserve(READ_ROOM);
        match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.incoming)) {
            Ok(0) => Poll::Ready(Err(self.broken(Broken::Closed))),
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.broken(error.into()))),
        }
    }

    /// Where the server of a broken connection may have been replaced, that is found out.
    fn broken(&self, error: Broken) -> Broken {
        if let Some(tether) = &self.tether {
            tether.broke();
        }
        error
    }

    /// Whether another server takes the writes now: what this one has answered may be lost with it.
    pub fn has_left(&self) -> bool {
        self.tether.as_ref().is_some_and(Tether::has_left)
    }

    /// Waits for the next reply, writing what is queued meanwhile.
    pub async fn frame(&mut self) -> Result<Frame, Broken> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Waits for the next `replies` replies, as one frame. None of them may be a push.
    pub async fn row(&mut self, replies: usize) -> Result<Bytes, Broken> {
        if replies == 0 {
            return Ok(Bytes::new());
        }
        self.scanner = Scanner::of_row(replies);
        Ok(self.frame().await?.raw)
    }

    /// Steps over the replies that are here already and read exactly `plain`, up to `most` of them.
    /// How many there were.
    pub fn skip(&mut self, plain: &[u8], most: usize) -> usize {
        let replies = self.incoming.chunks_exact(plain.len()).take(most);
        let count = replies.take_while(|reply| *reply == plain).count();
        self.incoming.advance(count * plain.len());
        count
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Broken>> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Poll::Ready(Ok(frame));
            }
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_fill(cx))?;
        }
    }
}
