//! Copying one value by commands, in chunks: a big one, so that neither server stalls, or one whose
//! payload the secondary does not read. It is built under a scratch name and renamed into place.

use std::time::Instant;

use smallvec::SmallVec;

use super::copier::Copier;
use crate::backend::Broken;
use crate::courtesy::SMALL_STEP;
use crate::effect::{Expect, Step};
use crate::engine::{Accepted, Copied, Lack, Ticket};
use crate::payload::Way;
use crate::resp::Request;
use crate::value::{CannotWrite, Head, ReadError, TranscribeError, Transcription, Type, head};

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
            self.part(ticket, vec![copy.abandon()]).await;
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
        let mut last: Option<Vec<Request>> = None;
        let mut began = Instant::now();
        while let Some(chunk) = copy.next_chunk(&mut self.connection).await? {
            if !in_position {
                self.route.courtesy.rest(SMALL_STEP, began.elapsed()).await;
                began = Instant::now();
            }
            if let Some(chunk) = last.replace(chunk) {
                self.part(ticket, chunk).await;
            }
            if !self.route.hub.with(|engine| engine.is_untouched(ticket)) {
                self.route.hub.with(|engine| engine.abandon(ticket));
                return Ok(false);
            }
        }
        let accepted = self.accept(ticket, &copied(last.unwrap_or_default(), in_position)).await;
        let placed = matches!(accepted, Accepted::At(_));
        if placed {
            self.route.progress.went(Way::Commands);
        }
        Ok(placed)
    }

    /// The secondary cannot hold the value, whatever is tried.
    pub(super) async fn leave_out(&self, ticket: &Ticket, in_position: bool, lack: &Lack) {
        let hub = &self.route.hub;
        let offer = || hub.with(|engine| engine.leave_out(ticket, in_position, lack.clone()));
        while offer() == Accepted::NoRoom {
            self.wait_for_room().await;
        }
    }

    /// Appends one chunk to the log, waiting for room.
    async fn part(&self, ticket: &Ticket, chunk: Vec<Request>) {
        let steps = steps(chunk);
        loop {
            self.wait_for_room().await;
            if self.route.hub.with(|engine| engine.append_part(ticket, &steps)) {
                return;
            }
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
