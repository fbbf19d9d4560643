//! Copying one value by commands, in chunks: a big one, so that neither server stalls, or one whose
//! payload the secondary does not read. It is built under a scratch name and renamed into place.
//!
//! Where elements have names, the copy follows the writes to them: what they changed is read again
//! behind the chunks, and the last few while the key is held. So a value that is written without a
//! pause is copied too, and nobody waits for longer than those few take.

use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::time::timeout;

use super::copier::Copier;
use crate::backend::Broken;
use crate::courtesy::SMALL_STEP;
use crate::effect::{Digest, Expect, Step};
use crate::engine::{Accepted, Copied, Lack, Ticket};
use crate::lane::Held;
use crate::payload::Way;
use crate::resp::Request;
use crate::value::{CannotWrite, Head, ReadError, TranscribeError, Transcription, Type, head};

/// For so long a key stays held for want of room in the log.
const HELD: Duration = Duration::from_secs(1);
/// So many elements are read again while the key is held, when it goes well.
const FEW: usize = 256;
/// How often it is tried to have no more than those left.
const ROUNDS: usize = 16;

impl Copier {
    /// Copies one value in chunks. Every chunk takes its place in the log; the last one, which puts
    /// the value in place, only if nobody has written to the key meanwhile.
    pub(super) async fn copy_whole(
        &mut self,
        ticket: &Ticket,
        in_position: bool,
    ) -> Result<(), Broken> {
        match self.transcribe(ticket, in_position).await {
            Ok(()) => Ok(()),
            Err(TranscribeError::Read(ReadError::Broken(broken))) => Err(broken),
            Err(TranscribeError::Read(ReadError::Changed)) => {
                self.route.hub.with(|engine| engine.abandon(ticket));
                Ok(())
            }
            Err(TranscribeError::Cannot(CannotWrite::FieldExpiry)) => {
                self.leave_out(ticket, in_position, &Lack::FieldExpiry).await;
                Ok(())
            }
            Err(error) => {
                self.refuse(&[ticket], &error);
                Ok(())
            }
        }
    }

    async fn transcribe(
        &mut self,
        ticket: &Ticket,
        in_position: bool,
    ) -> Result<(), TranscribeError> {
        let route = self.route.clone();
        let key = ticket.key().clone();
        if !in_position {
            // Before anything is read: also what the key is, and when it ends.
            route.hub.with(|engine| engine.follow(ticket));
        }
        let head = head(&key, &mut self.connection, &route.from).await?;
        let Some(Head { kind, expires_at }) = head else {
            let delete = Request::new([b"DEL".as_ref(), &key]);
            self.accept(ticket, &copied(vec![delete], in_position)).await;
            return Ok(());
        };
        let kind = match kind {
            Type::Known(kind) => kind,
            Type::Opaque(name) => {
                return self.copy_opaque(ticket, in_position, name, expires_at).await;
            }
        };
        let (from, to, offset) = (route.from, route.to, route.clock_offset());
        let mut copy = Transcription::new(key, kind, expires_at, from, to, offset);
        let result = self.send_chunks(ticket, &mut copy, in_position).await;
        if !matches!(result, Ok(true)) {
            self.part(ticket, vec![copy.abandon()], in_position).await;
        }
        result.map(drop)
    }

    /// True when the value was put in place.
    async fn send_chunks(
        &mut self,
        ticket: &Ticket,
        copy: &mut Transcription,
        in_position: bool,
    ) -> Result<bool, TranscribeError> {
        let hub = self.route.hub.clone();
        let mut last: Option<Vec<Request>> = None;
        let mut began = Instant::now();
        while let Some(chunk) = copy.next_chunk(&mut self.connection).await? {
            if !in_position {
                self.route.courtesy.rest(SMALL_STEP, began.elapsed()).await;
                began = Instant::now();
            }
            let sent = match last.replace(chunk) {
                Some(chunk) => self.part(ticket, chunk, in_position).await,
                None => true,
            };
            if !sent || !hub.with(|engine| engine.is_untouched(ticket)) {
                hub.with(|engine| engine.abandon(ticket));
                return Ok(false);
            }
        }
        let last = last.unwrap_or_default();
        let accepted = if !in_position && copy.can_catch_up() {
            self.catch_up(ticket, copy, last).await?
        } else {
            self.accept(ticket, &copied(last, in_position)).await
        };
        let placed = matches!(accepted, Accepted::At(_));
        if placed {
            self.route.progress.went(Way::Commands);
        }
        Ok(placed)
    }

    /// Reads again what was written while the chunks were read, the last of it while nobody writes
    /// to the key, and puts the value in place by the `last` chunk.
    async fn catch_up(
        &mut self,
        ticket: &Ticket,
        copy: &mut Transcription,
        last: Vec<Request>,
    ) -> Result<Accepted, TranscribeError> {
        let hub = self.route.hub.clone();
        for _ in 0..ROUNDS {
            if hub.with(|engine| engine.noted(ticket)) <= FEW {
                break;
            }
            self.read_again(ticket, copy, false).await?;
        }
        self.wait_for_room().await;
        let held = Held::take(&hub, ticket.named()).await;
        if !self.read_again(ticket, copy, true).await? {
            hub.with(|engine| engine.abandon(ticket));
            return Ok(Accepted::Again);
        }
        let mut copied = copied(last, true);
        if let Some((request, reply)) = copy.size(&mut self.connection).await? {
            // A primary that evicts may have let the key go unseen, and begun it anew.
            copied.steps.push(Step { request, expect: Expect::Reply(Digest::of(&reply)) });
        }
        let accepted = self.accept(ticket, &copied).await;
        drop(held);
        Ok(accepted)
    }

    /// Reads the elements that are noted by now; false when they could not be sent.
    async fn read_again(
        &mut self,
        ticket: &Ticket,
        copy: &mut Transcription,
        in_position: bool,
    ) -> Result<bool, TranscribeError> {
        let mut names = self.route.hub.with(|engine| engine.take_noted(ticket));
        while !names.is_empty() {
            let chunk = copy.read_again(&mut names, &mut self.connection).await?;
            if !self.part(ticket, chunk, in_position).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The secondary cannot hold the value, whatever is tried.
    pub(super) async fn leave_out(&self, ticket: &Ticket, in_position: bool, lack: &Lack) {
        let hub = &self.route.hub;
        let offer = || hub.with(|engine| engine.leave_out(ticket, in_position, lack.clone()));
        while offer() == Accepted::NoRoom {
            self.wait_for_room().await;
        }
    }

    /// Appends one chunk to the log, waiting for room. False when it took too long for a key that is
    /// held meanwhile: nobody waits for a secondary that is away.
    async fn part(&self, ticket: &Ticket, chunk: Vec<Request>, in_position: bool) -> bool {
        let steps = steps(chunk);
        let append = async {
            loop {
                self.wait_for_room().await;
                if self.route.hub.with(|engine| engine.append_part(ticket, &steps)) {
                    return;
                }
            }
        };
        if in_position {
            timeout(HELD, append).await.is_ok()
        } else {
            append.await;
            true
        }
    }
}

fn steps(requests: Vec<Request>) -> SmallVec<[Step; 1]> {
    let step = |request| Step { request, expect: Expect::Success };
    requests.into_iter().map(step).collect()
}

pub(super) fn copied(requests: Vec<Request>, in_position: bool) -> Copied {
    Copied { steps: steps(requests), in_position }
}
