//! A connection of crossfade's own: questions in, answers out, in order. What is asked seldom is written
//! and understood by the `redis` crate; the way there is ours, so that TLS, credentials, names and
//! timeouts are the same for everything that is said to a server.

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Value, cmd, parse_redis_value};

use super::{Broken, ConnectError, Endpoint, Info, Setup, Wire};
use crate::protocol::resp::{self, Reply, Request};

/// One pipelined connection, owned by one task.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
}

impl From<Wire> for Connection {
    fn from(wire: Wire) -> Self {
        Self { wire }
    }
}

impl Connection {
    /// Connects and logs in.
    pub async fn open(endpoint: &Endpoint, setup: &Setup) -> Result<Self, ConnectError> {
        Ok(endpoint.connect(setup).await?.into())
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
    pub async fn command<A: AsRef<[u8]>>(
        &mut self,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Reply, Broken> {
        self.ask(&Request::new(args)).await
    }

    /// Asks all at once and collects the answers in order.
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
    pub async fn answer(&mut self) -> Result<Reply, Broken> {
        Ok(Reply::parse(&self.frame().await?)?)
    }

    /// The next answer as it came.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn frame(&mut self) -> Result<Bytes, Broken> {
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

    /// The wire, to take the frames as they come.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

/// The answer to a question, or the server's refusal.
pub(crate) type Answer<T> = RedisResult<T>;

impl Connection {
    /// Asks a question. The inner error is the server's, or an answer of another kind than `T`.
    pub async fn query<T: FromRedisValue>(&mut self, question: &Cmd) -> Result<Answer<T>, Broken> {
        self.wire().push(&question.get_packed_command().into());
        let frame = self.frame().await?;
        Ok(understood(&frame).and_then(|value| Ok(T::from_redis_value(value)?)))
    }

    /// Asks for `INFO`, of some section or (empty) of the usual ones.
    pub async fn info(&mut self, section: &str) -> Result<Answer<Info>, Broken> {
        match section {
            "" => self.query(&cmd("INFO")).await,
            section => self.query(cmd("INFO").arg(section)).await,
        }
    }
}

/// The value, or the error that it is. The crate reads errors only as UTF-8, and a user whom one names
/// may be called anything.
fn understood(frame: &[u8]) -> Answer<Value> {
    let value = match frame {
        [b'-', ..] => parse_redis_value(String::from_utf8_lossy(frame).as_bytes()),
        _ => parse_redis_value(frame),
    };
    value?.extract_error()
}

/// An error in the server's own words, code first.
pub(crate) fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_the_words_of_the_server() {
        for said in ["ERR no such thing: x", "WRONGPASS invalid username-password pair", "OOPS"] {
            let answer = understood(format!("-{said}\r\n").as_bytes());
            assert_eq!(words(&answer.unwrap_err()), said);
        }
    }

    #[test]
    fn a_refusal_that_names_a_user_in_other_letters_is_still_a_refusal() {
        let answer = understood(b"-NOPERM User \xe9va has no permissions\r\n");
        assert!(words(&answer.unwrap_err()).starts_with("NOPERM User \u{fffd}va"));
    }
}
