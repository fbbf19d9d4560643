//! Reader and writing joined: a value copied by commands, a bounded batch at a time.

use bytes::Bytes;
use thiserror::Error;

use super::answer::Answer;
use super::head::{Head, Type, head};
use super::reader::Elements;
use super::{CannotWrite, ReadError, Reader, Writing};
use crate::backend::{Broken, Connection};
use crate::capability::Capabilities;
use crate::diff::Kind;
use crate::resp::{Reply, Request};

/// Why a value was not copied.
#[derive(Debug, Error)]
pub enum TranscribeError {
    /// It could not be read.
    #[error("reading: {0}")]
    Read(#[from] ReadError),
    /// Commands can't say it to that server.
    #[error(transparent)]
    Cannot(#[from] CannotWrite),
    /// A module's type, or one of the future.
    #[error("values of type {0:?} can't be copied by commands")]
    Opaque(Bytes),
    /// The writing connection is broken.
    #[error("writing: {0}")]
    Broken(Broken),
    /// The writing side's error, code first.
    #[error("writing: {0}")]
    Refused(String),
}

/// A copy by commands whose batches the caller sends, in order, wherever it likes.
#[derive(Debug)]
pub struct Transcription {
    reader: Reader,
    writing: Writing,
    kind: Kind,
    expires_at: Option<i64>,
    finished: bool,
}

impl Transcription {
    /// The copy of a value of this kind that ends then (on the reading server's clock).
    pub fn new(
        key: Bytes,
        kind: Kind,
        expires_at: Option<i64>,
        from: Capabilities,
        to: Capabilities,
        clock_offset: i64,
    ) -> Self {
        let reader = Reader::new(key.clone(), kind, from);
        let writing = Writing::new(key, to, clock_offset);
        Self { reader, writing, kind, expires_at, finished: false }
    }

    /// Whether [`Self::read_again`] can make up for writes to single elements while the value is
    /// read, as long as the key is not replaced: one that may end by itself can be, unseen.
    pub fn can_catch_up(&self) -> bool {
        let by_name = matches!(self.kind, Kind::Set | Kind::Zset | Kind::Hash);
        by_name && self.expires_at.is_none()
    }

    /// Reads a batch of the named elements again, takes their names out, and says what to write.
    ///
    /// # Errors
    /// As [`Self::next_chunk`]'s.
    pub async fn read_again(
        &mut self,
        names: &mut Vec<Bytes>,
        from: &mut Connection,
    ) -> Result<Vec<Request>, TranscribeError> {
        let Elements { present, missing } = self.reader.again(self.kind, names, from).await?;
        let mut requests = self.writing.part(&present)?;
        requests.extend(self.writing.without(self.kind, &missing));
        Ok(requests)
    }

    /// Reads the next part and says what to write for it; the last batch puts the value into its
    /// place, and `None` follows. Every request of every batch must succeed; after a failure send
    /// [`Self::abandon`] and begin anew.
    ///
    /// # Errors
    /// The value can't be read, or not be said to the other server.
    pub async fn next_chunk(
        &mut self,
        from: &mut Connection,
    ) -> Result<Option<Vec<Request>>, TranscribeError> {
        if self.finished {
            return Ok(None);
        }
        if let Some(part) = self.reader.next(from).await? {
            return Ok(Some(self.writing.part(&part)?));
        }
        self.finished = true;
        Ok(Some(self.writing.finish(self.expires_at)))
    }

    /// What shows on the other server that nothing is missing, to be asked behind the last chunk, and
    /// the reading server's answer to it; `None` where they may differ.
    ///
    /// # Errors
    /// The value can't be read.
    pub async fn size(
        &self,
        from: &mut Connection,
    ) -> Result<Option<(Request, Reply)>, TranscribeError> {
        Ok(self.reader.size(self.kind, from).await?)
    }

    /// What removes a copy that was not finished.
    pub fn abandon(&self) -> Request {
        self.writing.abandon()
    }
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transcribed {
    /// The other server has it now.
    Copied,
    /// It is not there to be copied; the other server was told nothing.
    Gone,
}

/// Copies one key by commands from one server to another.
///
/// # Errors
/// It could not be read or written; what the other server held under the key is untouched.
pub async fn transcribe(
    key: &Bytes,
    (from, reads): (&mut Connection, &Capabilities),
    (to, writes): (&mut Connection, &Capabilities),
    clock_offset: i64,
) -> Result<Transcribed, TranscribeError> {
    let Some(Head { kind, expires_at }) = head(key, from, reads).await? else {
        return Ok(Transcribed::Gone);
    };
    let kind = match kind {
        Type::Known(kind) => kind,
        Type::Opaque(name) => return Err(TranscribeError::Opaque(name)),
    };
    let mut copy = Transcription::new(key.clone(), kind, expires_at, *reads, *writes, clock_offset);
    let result = send_all(&mut copy, from, to).await;
    if result.is_err() {
        // Best effort: what is left ends by itself.
        let _ = to.ask(&copy.abandon()).await;
    }
    result.map(|()| Transcribed::Copied)
}

async fn send_all(
    copy: &mut Transcription,
    from: &mut Connection,
    to: &mut Connection,
) -> Result<(), TranscribeError> {
    while let Some(requests) = copy.next_chunk(from).await? {
        let replies = to.ask_all(&requests).await.map_err(TranscribeError::Broken)?;
        replies.into_iter().try_for_each(success)?;
    }
    Ok(())
}

fn success(reply: Reply) -> Result<(), TranscribeError> {
    match Answer::new(reply, "a write") {
        Ok(_) => Ok(()),
        Err(error) => Err(TranscribeError::Refused(error.to_string())),
    }
}
