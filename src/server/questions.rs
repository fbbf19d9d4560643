//! What is asked seldom, in the types of the `redis` crate: it writes the question and understands the
//! answer. The way there is ours ([`Connection`]), so that TLS, credentials, names and patience are
//! the same for everything that is said to a server.

use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Value, cmd, parse_redis_value};

use super::{Broken, Connection, Info};

/// The answer to a question, or the server's refusal.
pub type Answer<T> = RedisResult<T>;

impl Connection {
    /// Asks a question. The inner error is the server's, or an answer of another kind than `T`.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn query<T: FromRedisValue>(&mut self, question: &Cmd) -> Result<Answer<T>, Broken> {
        self.wire().push(&question.get_packed_command().into());
        let frame = self.frame().await?;
        Ok(understood(&frame).and_then(|value| Ok(T::from_redis_value(value)?)))
    }

    /// Asks for `INFO`, of some section or (empty) of the usual ones.
    ///
    /// # Errors
    /// As [`Self::query`].
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
pub fn words(error: &RedisError) -> String {
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
