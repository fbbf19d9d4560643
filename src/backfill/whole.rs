//! Copying one value by commands, in chunks: a big one, so that neither server stalls, or one whose
//! payload the secondary does not read. It is built under a scratch name and renamed into place.
//!
//! The copy follows the writes that come meanwhile. Where pieces have names or places that stay
//! (elements of sets, sorted sets and hashes, bytes of strings), what was written is read again behind
//! the chunks, and the last few while the key is held. Of a list each chunk is read while the key is
//! held, and what happens between two chunks is done to those before. So a value that is written
//! without a pause is copied too, and no write waits for longer than a chunk takes.

use std::time::Instant;

use smallvec::SmallVec;

use super::copier::Copier;
use crate::engine::effect::{Digest, Expect, Step};
use crate::engine::{Accepted, Copied, Lack, Ticket};
use crate::lane::KeyGuard;
use crate::protocol::payload::Way;
use crate::protocol::resp::Request;
use crate::server::Broken;
use crate::server::throttle::SMALL_STEP;
use crate::value::{
    CannotWrite, KeyInfo, ReadError, TranscribeError, Transcription, Type, key_info,
};

/// How often it is tried to have no more than a few pieces left to be read again.
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
                self.route.engine.with(|engine| engine.abandon(ticket));
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
            route.engine.with(|engine| engine.follow(ticket));
        }
        let info = key_info(&key, &mut self.connection, &route.from).await?;
        let Some(KeyInfo { kind, expires_at }) = info else {
            let delete = Request::new([b"DEL".as_ref(), &key]);
            self.accept(ticket, &copied(vec![delete], in_position)).await;
            return Ok(());
        };
        if !in_position && !Transcription::follows(&kind) {
            route.engine.with(|engine| engine.follow_no_more(ticket));
        }
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
        let placed = if copy.is_list() && !in_position {
            self.copy_list(ticket, copy).await?
        } else if !self.send_parts(ticket, copy, in_position).await? {
            false
        } else if copy.can_catch_up() && !in_position {
            self.catch_up(ticket, copy).await?
        } else {
            self.place(ticket, &copied(copy.finish(), in_position)).await
        };
        if placed {
            self.route.progress.went(Way::Commands);
        } else {
            self.route.engine.with(|engine| engine.abandon(ticket));
        }
        Ok(placed)
    }

    /// Sends all parts but what puts them in place; false when the copy is void.
    async fn send_parts(
        &mut self,
        ticket: &Ticket,
        copy: &mut Transcription,
        in_position: bool,
    ) -> Result<bool, TranscribeError> {
        let mut began = Instant::now();
        while let Some(part) = copy.next_part(&mut self.connection).await? {
            if !in_position {
                self.route.throttle.rest(SMALL_STEP, began.elapsed()).await;
                began = Instant::now();
            }
            let sent = self.part(ticket, part, in_position).await;
            if !sent || !self.route.engine.look(|engine| engine.is_untouched(ticket)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads again what was written while the parts were read, the last of it while nobody writes to
    /// the key, and puts the value in place.
    async fn catch_up(
        &mut self,
        ticket: &Ticket,
        copy: &mut Transcription,
    ) -> Result<bool, TranscribeError> {
        let engine = self.route.engine.clone();
        for _ in 0..ROUNDS {
            if engine.look(|engine| engine.noted(ticket)) <= copy.few() {
                self.wait_for_room().await;
                let _held = KeyGuard::take(&engine, ticket.key_ref()).await;
                return Ok(self.read_again(ticket, copy, true).await?
                    && self.place_held(ticket, copy).await?);
            }
            self.read_again(ticket, copy, false).await?;
        }
        Ok(false)
    }

    /// Reads what is noted by now, and what has come behind the last part; false when it could not be
    /// sent.
    async fn read_again(
        &mut self,
        ticket: &Ticket,
        copy: &mut Transcription,
        in_position: bool,
    ) -> Result<bool, TranscribeError> {
        let mut names = self.route.engine.with(|engine| engine.take_noted(ticket));
        while !names.is_empty() {
            let part = copy.read_again(&mut names, &mut self.connection).await?;
            if !self.part(ticket, part, in_position).await {
                return Ok(false);
            }
        }
        self.send_parts(ticket, copy, in_position).await
    }

    /// Copies a list from its head on, each part while nobody writes to it.
    async fn copy_list(
        &mut self,
        ticket: &Ticket,
        copy: &mut Transcription,
    ) -> Result<bool, TranscribeError> {
        let engine = self.route.engine.clone();
        loop {
            self.wait_for_room().await;
            let began = Instant::now();
            let held = KeyGuard::take(&engine, ticket.key_ref()).await;
            match self.extend_list(ticket, copy).await? {
                Extended::Void => return Ok(false),
                Extended::ToTheEnd => return self.place_held(ticket, copy).await,
                Extended::Partly => {}
            }
            drop(held);
            self.route.throttle.rest(SMALL_STEP, began.elapsed()).await;
        }
    }

    /// Does to the elements that have been copied what has been done to them, and adds the next ones.
    async fn extend_list(
        &mut self,
        ticket: &Ticket,
        copy: &mut Transcription,
    ) -> Result<Extended, TranscribeError> {
        let engine = self.route.engine.clone();
        let (edits, copied) = engine.with(|engine| engine.take_edits(ticket));
        let (part, read, length) = copy.next_elements(copied, &mut self.connection).await?;
        let edits = edits.iter().map(|edit| copy.edit(edit.command, &edit.arguments));
        let requests = edits.chain(part).collect();
        let goes_on = engine.with(|engine| {
            engine.extend_prefix(ticket, read, length) && engine.is_untouched(ticket)
        });
        Ok(if !goes_on || !self.part(ticket, requests, true).await {
            Extended::Void
        } else if copied + read < length {
            Extended::Partly
        } else {
            Extended::ToTheEnd
        })
    }

    /// Puts the value in place while nobody writes to it; false when it may be another by now.
    async fn place_held(
        &mut self,
        ticket: &Ticket,
        copy: &mut Transcription,
    ) -> Result<bool, TranscribeError> {
        let noted = self.route.engine.with(|engine| engine.noted_end(ticket));
        if !copy.still_lives(noted, &mut self.connection).await? {
            return Ok(false);
        }
        let mut copied = copied(copy.finish(), true);
        if let Some((request, reply)) = copy.size(&mut self.connection).await? {
            // A primary that evicts may have let the key go unseen, and begun it anew.
            copied.steps.push(Step { request, expect: Expect::Reply(Digest::of(&reply)) });
        }
        Ok(self.place(ticket, &copied).await)
    }

    async fn place(&self, ticket: &Ticket, copied: &Copied) -> bool {
        matches!(self.accept(ticket, copied).await, Accepted::At(_))
    }

    /// The secondary cannot hold the value, whatever is tried.
    pub(super) async fn leave_out(&self, ticket: &Ticket, in_position: bool, lack: &Lack) {
        let engine = &self.route.engine;
        let offer = || engine.with(|engine| engine.leave_out(ticket, in_position, lack.clone()));
        while offer() == Accepted::NoRoom {
            self.wait_for_room().await;
        }
    }

    /// Appends a part to the log, waiting for room; false when there is none for a key that is held
    /// meanwhile: nobody waits for a secondary that is away.
    async fn part(&self, ticket: &Ticket, part: Vec<Request>, in_position: bool) -> bool {
        if part.is_empty() {
            return true;
        }
        let steps = steps(part);
        while !self.route.engine.with(|engine| engine.append_part(ticket, &steps)) {
            if in_position {
                return false;
            }
            self.wait_for_more_room().await;
        }
        if !in_position {
            self.wait_for_room().await;
        }
        true
    }
}

/// How far a list has been copied.
enum Extended {
    /// Something else has happened to it.
    Void,
    Partly,
    ToTheEnd,
}

fn steps(requests: Vec<Request>) -> SmallVec<[Step; 1]> {
    let step = |request| Step { request, expect: Expect::Success };
    requests.into_iter().map(step).collect()
}

pub(super) fn copied(requests: Vec<Request>, in_position: bool) -> Copied {
    Copied { steps: steps(requests), in_position }
}
