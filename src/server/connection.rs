//! A connection of crossfade's own: questions in, answers out, in order.

use bytes::Bytes;

use super::{Broken, ConnectError, Endpoint, Setup, Wire};
use crate::protocol::resp::{self, Reply, Request};

/// One pipelined connection, owned by one task.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The server can't be reached or refuses.
    pub async fn open(endpoint: &Endpoint, setup: &Setup) -> Result<Self, ConnectError> {
        Ok(Self { wire: endpoint.connect(setup).await? })
    }

    /// Asks one question.
    ///
    /// # Errors
    /// The connection is broken; whether the server has done it is unknown.
    pub async fn ask(&mut self, request: &Request) -> Result<Reply, Broken> {
        self.queue(request);
        self.answer().await
    }

    /// Asks for a list of arguments.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn command<A: AsRef<[u8]>>(
        &mut self,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Reply, Broken> {
        self.ask(&Request::new(args)).await
    }

    /// Asks all at once and collects the answers in order.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_all(&mut self, requests: &[Request]) -> Result<Vec<Reply>, Broken> {
        for request in requests {
            self.queue(request);
        }
        let mut replies = Vec::with_capacity(requests.len());
        for _ in requests {
            replies.push(self.answer().await?);
        }
        Ok(replies)
    }

    /// Queues a question; it is sent while waiting for an answer.
    pub fn queue(&mut self, request: &Request) {
        self.wire.push(request.raw());
    }

    /// Queues a question by its arguments, without making a [`Request`] of them.
    pub fn queue_command(&mut self, args: &[&[u8]]) {
        self.wire.outgoing.write(|out| resp::command(out, args));
    }

    /// Waits for the next answer that is not a push.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn answer(&mut self) -> Result<Reply, Broken> {
        Ok(Reply::parse(&self.frame().await?)?)
    }

    /// The next answer as it came.
    pub(super) async fn frame(&mut self) -> Result<Bytes, Broken> {
        loop {
            let frame = self.wire.frame().await?;
            if !frame.is_push() {
                return Ok(frame.raw);
            }
        }
    }

    /// The bare wire.
    pub fn into_wire(self) -> Wire {
        self.wire
    }

    /// The wire, for who takes the frames as they come.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
}
