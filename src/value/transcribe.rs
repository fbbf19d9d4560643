//! Reader and writing joined: a value copied by commands, a bounded batch at a time.

use bytes::Bytes;
use thiserror::Error;

use super::answer::Answer;
use super::key_info::{KeyInfo, Type, key_info};
use super::reader::Elements;
use super::{CannotWrite, ReadError, Reader, Writing};
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Reply, Request};
use crate::server::{Broken, Connection};
use crate::value::diff::{Kind, Part};

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

/// A copy by commands that the caller sends, in order, wherever it likes.
#[derive(Debug)]
pub(crate) struct Transcription {
    key: Bytes,
    reader: Reader,
    writing: Writing,
    kind: Kind,
    expires_at: Option<i64>,
    from: Capabilities,
}

/// Elements of which a few may be read again at once, and blocks of a string.
const FEW: usize = 256;
const FEW_BLOCKS: usize = 8;

impl Transcription {
    /// The copy of a value of this kind that ends then (on the reading server's clock).
    pub(crate) fn new(
        key: Bytes,
        kind: Kind,
        expires_at: Option<i64>,
        from: Capabilities,
        to: Capabilities,
        clock_offset: i64,
    ) -> Self {
        let reader = Reader::new(key.clone(), kind, from);
        let writing = Writing::new(key.clone(), to, clock_offset);
        Self { key, reader, writing, kind, expires_at, from }
    }

    /// Whether a value of this type can be copied while it is written.
    pub(crate) fn follows(kind: &Type) -> bool {
        !matches!(kind, Type::Known(Kind::Stream) | Type::Opaque(_))
    }

    /// Whether [`Self::read_again`] can make up for writes to pieces of the value while it is read,
    /// as long as the key is not replaced.
    pub(crate) fn can_catch_up(&self) -> bool {
        matches!(self.kind, Kind::Set | Kind::Zset | Kind::Hash | Kind::String)
    }

    /// Whether it is a list, which is read by [`Self::next_elements`] when it is written meanwhile.
    pub(crate) fn is_list(&self) -> bool {
        self.kind == Kind::List
    }

    /// How many pieces may be read again in a moment.
    pub(crate) fn few(&self) -> usize {
        if self.kind == Kind::String { FEW_BLOCKS } else { FEW }
    }

    /// Reads a batch of the named pieces again, takes their names out, and says what to write.
    pub(crate) async fn read_again(
        &mut self,
        names: &mut Vec<Bytes>,
        from: &mut Connection,
    ) -> Result<Vec<Request>, TranscribeError> {
        if self.kind == Kind::String {
            let again = self.reader.bytes_again(names, from).await?;
            let overwrite = |(place, bytes): (_, Bytes)| self.writing.overwrite(place, &bytes);
            return Ok(again.map(overwrite).into_iter().collect());
        }
        let Elements { present, missing } = self.reader.again(self.kind, names, from).await?;
        let mut requests = self.writing.part(&present)?;
        requests.extend(self.writing.without(self.kind, &missing));
        Ok(requests)
    }

    /// Reads the elements of a list behind the first so many, says what to write for them, and tells
    /// how many they are and how many the list has.
    pub(crate) async fn next_elements(
        &mut self,
        copied: usize,
        from: &mut Connection,
    ) -> Result<(Vec<Request>, usize, usize), TranscribeError> {
        let (elements, length) = self.reader.elements_at(copied, from).await?;
        let read = elements.len();
        Ok((self.writing.part(&Part::Elements(elements))?, read, length))
    }

    /// What does this to what has been written so far.
    pub(crate) fn edit(&self, command: &str, arguments: &[Bytes]) -> Request {
        self.writing.edit(command, arguments)
    }

    /// Reads the next part and says what to write for it; `None` after the last, behind which
    /// [`Self::finish`] puts the value into its place. Every request must succeed; after a failure
    /// send [`Self::abandon`] and begin anew.
    ///
    /// # Errors
    /// The value can't be read, or not be said to the other server.
    pub(crate) async fn next_part(
        &mut self,
        from: &mut Connection,
    ) -> Result<Option<Vec<Request>>, TranscribeError> {
        let part = self.reader.next(from).await?;
        Ok(part.map(|part| self.writing.part(&part)).transpose()?)
    }

    /// What puts the value into its place.
    pub(crate) fn finish(&self) -> Vec<Request> {
        self.writing.finish(self.expires_at)
    }

    /// Asks when the value ends by now, while nobody writes to it; `noted` is the first of the ends
    /// that it was given since. False when it may have ended, and another begun.
    pub(crate) async fn still_lives(
        &mut self,
        noted: Option<i64>,
        from: &mut Connection,
    ) -> Result<bool, TranscribeError> {
        let first = self.expires_at.into_iter().chain(noted).min();
        let Some(info) = key_info(&self.key, from, &self.from).await? else { return Ok(false) };
        self.expires_at = info.expires_at;
        let Some(first) = first else { return Ok(info.kind == Type::Known(self.kind)) };
        let now = from.command(["TIME"]).await.map_err(ReadError::from)?;
        let now = Answer::new(now, "TIME")?.milliseconds()?;
        Ok(now < first && info.kind == Type::Known(self.kind))
    }

    /// What shows on the other server that nothing is missing, to be asked behind the last chunk, and
    /// the reading server's answer to it; `None` where they may differ.
    pub(crate) async fn size(
        &self,
        from: &mut Connection,
    ) -> Result<Option<(Request, Reply)>, TranscribeError> {
        Ok(self.reader.size(self.kind, from).await?)
    }

    /// What removes a copy that was not finished.
    pub(crate) fn abandon(&self) -> Request {
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
    let Some(KeyInfo { kind, expires_at }) = key_info(key, from, reads).await? else {
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
    while let Some(requests) = copy.next_part(from).await? {
        send(&requests, to).await?;
    }
    send(&copy.finish(), to).await
}

async fn send(requests: &[Request], to: &mut Connection) -> Result<(), TranscribeError> {
    let replies = to.ask_all(requests).await.map_err(TranscribeError::Broken)?;
    replies.into_iter().try_for_each(success)
}

fn success(reply: Reply) -> Result<(), TranscribeError> {
    match Answer::new(reply, "a write") {
        Ok(_) => Ok(()),
        Err(error) => Err(TranscribeError::Refused(error.to_string())),
    }
}
