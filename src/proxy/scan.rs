//! `SCAN` and its kin across a flip.
//!
//! A cursor means something only to the server that gave it. After a flip, a cursor that the present
//! primary has not given starts over at 0: what was seen comes again, which the contract of `SCAN`
//! allows; nothing is missed, which it forbids.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::client::{Client, Close};
use crate::lane::{Job, Lane, Lost, Purpose, Refusal, Sink};
use crate::protocol::resp::{Reply, Request};

/// How many cursors are remembered; older ones start over.
const LIMIT: usize = 100_000;

/// The cursors that a primary has given since it serves.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    inner: Mutex<(HashSet<Bytes>, VecDeque<Bytes>)>,
}

impl Cursors {
    fn knows(&self, cursor: &[u8]) -> bool {
        cursor == b"0" || self.inner.lock().0.contains(cursor)
    }

    fn note(&self, cursor: &[u8]) {
        let mut inner = self.inner.lock();
        let cursor = Bytes::copy_from_slice(cursor);
        if inner.0.insert(cursor.clone()) {
            inner.1.push_back(cursor);
        }
        if inner.1.len() > LIMIT
            && let Some(oldest) = inner.1.pop_front()
        {
            inner.0.remove(&oldest);
        }
    }
}

impl Client {
    pub(super) async fn scan(&mut self, request: Request, place: usize) -> Result<(), Close> {
        self.settle().await?;
        let reply = loop {
            self.current_route().await?;
            let cursors = self.route.cursors.as_ref();
            let known = |cursor| cursors.is_none_or(|cursors| cursors.knows(cursor));
            let known = request.arg(place).is_none_or(known);
            let request = if known { request.clone() } else { started_over(&request, place) };
            match self.try_asking(request).await? {
                Asked::Answered(reply) => break reply,
                Asked::Refused => return Ok(()),
                Asked::Held => {}
            }
        };
        let parsed = Reply::parse(&reply).unwrap_or(Reply::Null);
        let next = parsed.items().and_then(|items| items.first()?.text());
        if let (Some(next), Some(cursors)) = (next, &self.route.cursors) {
            cursors.note(next);
        }
        self.reply(|out| out.extend_from_slice(&reply));
        Ok(())
    }

    /// Asks a question of the client's; an error is answered, and there is none here, when it can't
    /// be asked.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Option<Bytes>, Close> {
        loop {
            self.current_route().await?;
            match self.try_asking(request.clone()).await? {
                Asked::Answered(reply) => return Ok(Some(reply)),
                Asked::Refused => return Ok(None),
                Asked::Held => {}
            }
        }
    }

    /// Asks on the client's session, or else on a read lane.
    pub(super) async fn try_asking(&mut self, request: Request) -> Result<Asked, Close> {
        let lane = match self.asking_lane().await {
            Ok(lane) => lane,
            Err(refusal) => {
                self.refused(&refusal);
                return Ok(Asked::Refused);
            }
        };
        let (sender, receiver) = oneshot::channel();
        if !lane.submit(&mut vec![Job::read(request, Sink::Task(sender))]) {
            tokio::task::yield_now().await;
            return Ok(Asked::Held);
        }
        match receiver.await {
            Ok(Ok(replies)) => replies.into_iter().next().map(Asked::Answered).ok_or(Close::Now),
            Ok(Err(Lost::Unreachable(reason))) => {
                self.refused(&Refusal::Unreachable(reason));
                Ok(Asked::Refused)
            }
            Ok(Err(Lost::Refused(error))) => {
                self.refused(&Refusal::Server(error));
                Ok(Asked::Refused)
            }
            Ok(Err(Lost::Connection(_))) | Err(_) => Err(Close::Now),
        }
    }

    async fn asking_lane(&self) -> Result<Arc<Lane>, Refusal> {
        if let Some(own) = self.own.as_ref().filter(|_| self.session.is_pinned()) {
            return Ok(own.clone());
        }
        let context = self.upstream_context().map_err(Refusal::Unreachable)?;
        self.route.pool.lane(&context, Purpose::LongRead).await
    }
}

/// What came of a question.
pub(super) enum Asked {
    Answered(Bytes),
    /// The client has been told why.
    Refused,
    /// A flip is under way: nothing was asked.
    Held,
}

fn started_over(request: &Request, place: usize) -> Request {
    let args = request.args().enumerate();
    Request::new(args.map(|(index, arg)| if index == place { b"0".as_ref() } else { arg }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_server_starts_over() {
        let cursors = Cursors::default();
        cursors.note(b"17");
        assert!(cursors.knows(b"17") && cursors.knows(b"0") && !cursors.knows(b"18"));
        let request = started_over(&Request::new(["HSCAN", "h", "18", "COUNT", "5"]), 2);
        assert_eq!(request, Request::new(["HSCAN", "h", "0", "COUNT", "5"]));
    }
}
