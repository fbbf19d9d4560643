//! Steps of a client on their way into a lane, and what becomes of those that find none.

use bytes::{Bytes, BytesMut};
use tokio::task::yield_now;

use super::batch::{Destination, Meaning, Requests};
use super::{Client, Close, Until, Way};
use crate::engine::Unit;
use crate::lane::{Lane, MOST, Purpose, Refusal, Sink};
use crate::protocol::resp::{self, Request};

impl Client {
    /// Sends a step and waits until it is answered.
    pub(in crate::proxy) async fn perform(
        &mut self,
        way: Way,
        requests: Requests,
        meaning: Meaning,
    ) -> Result<(), Close> {
        self.send(way, requests, meaning).await?;
        self.drain().await
    }

    /// Sends a step; its answer comes behind those that are under way.
    pub(in crate::proxy) async fn send(
        &mut self,
        way: Way,
        requests: Requests,
        meaning: Meaning,
    ) -> Result<(), Close> {
        self.enter(way).await?;
        self.batch.add(requests, meaning, self.session.is_silent());
        Ok(())
    }

    /// Sends a step down the client's own connection whose answer is of no interest to it.
    pub(in crate::proxy) async fn send_silently(
        &mut self,
        request: Request,
        meaning: Meaning,
    ) -> Result<(), Close> {
        self.enter(Way::Own).await?;
        self.batch.add(Requests::from_iter([request]), meaning, true);
        Ok(())
    }

    /// Has a step answered whatever the client has said of replies; here are the answers to it.
    pub(in crate::proxy) async fn perform_here(
        &mut self,
        request: Request,
        meaning: Meaning,
    ) -> Result<BytesMut, Close> {
        self.enter(Way::Own).await?;
        self.batch.add(Requests::from_iter([request]), meaning, false);
        self.withheld = Some(Box::default());
        let drained = self.drain().await;
        let replies = self.withheld.take().unwrap_or_default().into_bytes();
        drained.map(|()| replies)
    }

    /// Answers a step that no lane has settled as one would: with `--ack both`, when the secondary has
    /// it too.
    pub(in crate::proxy) async fn answer_as_lane(
        &mut self,
        unit: &Unit,
        reply: &Bytes,
    ) -> Result<(), Close> {
        self.under_way.submit(0);
        self.route.engine.answer(unit, Sink::Client(self.replies.clone()), reply);
        self.drain().await
    }

    /// Whether nothing is under way, and nothing is about to be.
    pub(super) fn is_drained(&self) -> bool {
        self.under_way.is_empty() && self.batch.is_empty()
    }

    /// Submits what is batched and waits until every step is answered.
    pub(super) async fn drain(&mut self) -> Result<(), Close> {
        self.submit().await?;
        if self.under_way.is_empty() {
            return Ok(());
        }
        self.pump(Until::Drained).await
    }

    /// Gives the batched steps to the lane, waiting while it is held, or has given the client enough.
    ///
    /// A server executes what it has read of a client before it sees that the client is gone; but what
    /// only reads need not be done.
    pub(super) async fn submit(&mut self) -> Result<(), Close> {
        if self.is_gone() {
            self.batch.forget_reads();
        }
        while !self.batch.is_empty() {
            self.current_route().await?;
            if self.session.breaks_exec() && self.batch.ends_with_exec() {
                Box::pin(self.break_exec()).await?;
                continue;
            }
            if self.room() == 0 {
                self.make_room().await?;
                continue;
            }
            let lane = match self.lane().await {
                Ok(lane) => lane,
                Err(refusal) => {
                    Box::pin(self.refuse_batch(&refusal)).await?;
                    continue;
                }
            };
            // Behind a step of its own a client waits, as on the server.
            if self.under_way.is_empty()
                && lane.is_stuck()
                && let Some(busy) = Box::pin(self.route.clone().pool.upstream().busy()).await
            {
                self.refuse_as_busy(&busy);
            } else if !self.submit_to(&lane) {
                yield_now().await;
            }
        }
        Ok(())
    }

    /// Gives the lane as many steps as there is room for; false when it takes none.
    fn submit_to(&mut self, lane: &Lane) -> bool {
        let (databases, db) = (&self.route.databases, self.session.context.db);
        let there = Destination {
            engine: &self.route.engine,
            databases,
            db: databases.to(db).unwrap_or(db),
            protocol: self.session.context.protocol,
            replies: &self.replies,
        };
        let room = self.room();
        let Some(steps) = self.batch.submit(room, lane, &there) else {
            if self.way != Way::Own {
                self.lane = None;
            }
            return false;
        };
        for (bytes, kind) in steps {
            self.under_way.submit(bytes);
            self.stopwatch.start(self.came, kind);
        }
        true
    }

    /// How many steps more may be under way; any number once nobody reads the answers. What a server
    /// queues for a transaction is answered with few words, as are nearly all writes.
    pub(super) fn room(&self) -> usize {
        if self.is_gone() {
            return MOST;
        }
        let writes = self.way == Way::Lane(Purpose::Write) && self.under_way.is_new();
        self.under_way.room(self.out.len(), writes || self.session.has_transaction())
    }

    /// Waits until there is room for one more step.
    async fn make_room(&mut self) -> Result<(), Close> {
        while self.room() == 0 {
            self.pump(Until::Room).await?;
            match self.is_woken() {
                Ok(false) => {}
                Ok(true) => self.follow_stage().await?,
                Err(close) => {
                    self.batch.clear();
                    return Err(close);
                }
            }
        }
        if self.is_gone() {
            self.batch.forget_reads();
        }
        Ok(())
    }

    /// Answers the batch with why there is no lane. Whom the server does not know any more, it would
    /// have disconnected.
    async fn refuse_batch(&mut self, refusal: &Refusal) -> Result<(), Close> {
        let answers = self.batch.take_answers();
        self.drain().await?;
        for _ in 0..answers {
            self.refused(refusal);
        }
        match refusal {
            Refusal::Server(error) if error.starts_with("WRONGPASS") => Err(Close::Gracefully),
            _ => Ok(()),
        }
    }

    /// Answers the batch as a server does while a script runs: a transaction may begin and end, but
    /// not hold anything.
    fn refuse_as_busy(&mut self, busy: &Bytes) {
        let busy = String::from_utf8_lossy(busy);
        for request in self.batch.take_requests() {
            if request.is(0, "MULTI") {
                self.reply(|out| resp::simple(out, "OK"));
            } else if request.is(0, "EXEC") {
                self.error(&format!("EXECABORT Transaction discarded because of: {busy}"));
            } else {
                self.error(&busy);
            }
        }
    }

    /// Answers an `EXEC` that has not been sent, because what its transaction watched was left behind.
    /// The connection may be needed for more than the transaction, which is therefore ended there.
    async fn break_exec(&mut self) -> Result<(), Close> {
        self.batch.clear();
        self.drain().await?;
        let protocol = self.session.context.protocol;
        self.reply(|out| resp::null_array(out, protocol));
        self.batch.add(Requests::from_iter([Request::new(["DISCARD"])]), Meaning::Pass, true);
        Ok(())
    }
}
