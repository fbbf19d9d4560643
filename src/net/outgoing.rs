//! What waits to be written to one stream.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::Stream;

/// From this size on a piece is kept as it is instead of being copied to its neighbours, in bytes.
const LARGE: usize = 4096;
/// How many pieces one system call writes at most.
const GATHER: usize = 32;

/// A queue of bytes for one stream: small pieces are copied together, large ones shared.
#[derive(Debug, Default)]
pub struct Outgoing {
    ready: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Outgoing {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `bytes`.
    pub fn push(&mut self, bytes: &Bytes) {
        self.len += bytes.len();
        if bytes.len() < LARGE {
            self.tail.extend_from_slice(bytes);
        } else {
            self.seal();
            self.ready.push_back(bytes.clone());
        }
    }

    /// Appends whatever `write` writes.
    pub fn write(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.len += self.tail.len() - before;
    }

    /// Moves all of `other` behind what waits here.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        for piece in other.ready.drain(..) {
            self.push(&piece);
        }
        let tail = other.tail.split().freeze();
        self.push(&tail);
        other.len = 0;
    }

    /// All that waits, in one piece.
    pub fn into_bytes(mut self) -> BytesMut {
        let mut whole = BytesMut::with_capacity(self.len);
        self.seal();
        self.ready.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes until nothing waits (ready) or the stream takes no more (pending).
    ///
    /// # Errors
    /// The stream is broken; what was not written stays.
    pub fn poll_write(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.len > 0 {
            let written = if self.ready.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, &self.tail))?
            } else {
                self.seal();
                ready!(self.poll_gathered(stream, cx))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_gathered(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let pieces: smallvec::SmallVec<[IoSlice<'_>; GATHER]> =
            self.ready.iter().take(GATHER).map(|piece| IoSlice::new(piece)).collect();
        Pin::new(stream).poll_write_vectored(cx, &pieces)
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.ready.push_back(self.tail.split().freeze());
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while let Some(piece) = self.ready.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.ready.pop_front();
        }
        self.tail.advance(written);
        if self.len == 0 && self.tail.capacity() > LARGE {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn pieces_of_any_size_arrive_whole_and_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = Stream::Unix(ours);
        let mut outgoing = Outgoing::default();
        let mut expected = Vec::new();
        for round in 0..200usize {
            let piece = Bytes::from(vec![round as u8; round * 97 % 9000]);
            expected.extend_from_slice(&piece);
            outgoing.push(&piece);
        }
        assert_eq!(outgoing.len(), expected.len());
        let writer = tokio::spawn(async move {
            std::future::poll_fn(|cx| outgoing.poll_write(&mut stream, cx)).await.unwrap();
            assert!(outgoing.is_empty());
        });
        let mut received = vec![0; expected.len()];
        theirs.read_exact(&mut received).await.unwrap();
        writer.await.unwrap();
        assert!(received == expected);
    }
}
