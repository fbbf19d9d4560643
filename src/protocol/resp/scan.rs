//! Finding where a reply ends, without understanding it.

use bytes::{Bytes, BytesMut};

use super::line_end;
use super::reply::{ReplyError, length};

/// The longest header or simple line that a server may send, in bytes.
const LINE_LIMIT: usize = 1024 * 1024;
/// The largest reply, in bytes: the largest bulk string is 512 MiB, arrays hold several.
const REPLY_LIMIT: usize = 4 * 1024 * 1024 * 1024;

/// One whole reply as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The reply's bytes.
    pub raw: Bytes,
}

impl Frame {
    /// Whether this is an out-of-band message (RESP3 `>`), not the answer to a request.
    pub fn is_push(&self) -> bool {
        self.raw.first() == Some(&b'>')
    }

    /// Whether this is an error reply, plain or bulk.
    pub fn is_error(&self) -> bool {
        matches!(self.raw.first(), Some(b'-' | b'!'))
    }
}

/// Finds replies in a growing buffer and resumes where it stopped. Nesting costs a counter, not a
/// stack, so its depth does not matter here.
#[derive(Debug)]
pub struct Scanner {
    position: usize,
    /// Elements still to be seen before the reply is whole.
    missing: u64,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { position: 0, missing: 1 }
    }
}

impl Scanner {
    /// A scanner whose first frame holds so many replies, one behind the other.
    pub fn of_row(replies: usize) -> Self {
        Self { position: 0, missing: replies as u64 }
    }

    /// Takes the next whole reply from the front of `buffer`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// What came is not RESP; the connection can't be used any more.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, ReplyError> {
        while self.missing > 0 {
            if !self.element(buffer)? {
                return Ok(None);
            }
        }
        let raw = buffer.split_to(self.position).freeze();
        *self = Self::default();
        Ok(Some(Frame { raw }))
    }

    /// Steps over one element or one aggregate's header; false when it is not all there.
    fn element(&mut self, buffer: &BytesMut) -> Result<bool, ReplyError> {
        let rest = buffer.get(self.position..).unwrap_or_default();
        let Some(&kind) = rest.first() else { return Ok(false) };
        let Some(line) = line_end(rest) else {
            return if rest.len() > LINE_LIMIT { Err(ReplyError::TooLong) } else { Ok(false) };
        };
        let header = line + 2;
        let digits = rest.get(1..line).unwrap_or_default();
        let body = match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => 0,
            b'$' | b'!' | b'=' => match length(digits)? {
                Some(len) => len + 2,
                None => 0,
            },
            b'*' | b'~' | b'>' => self.nested(length(digits)?, 1)?,
            b'%' => self.nested(length(digits)?, 2)?,
            b'|' => {
                self.missing += 1;
                self.nested(length(digits)?, 2)?
            }
            other => return Err(ReplyError::UnknownType(other)),
        };
        let whole = header.saturating_add(body);
        if self.position.saturating_add(whole) > REPLY_LIMIT {
            return Err(ReplyError::TooLong);
        }
        if rest.len() < whole {
            if kind == b'|' {
                self.missing -= 1;
            }
            return Ok(false);
        }
        self.position += whole;
        self.missing -= 1;
        Ok(true)
    }

    fn nested(&mut self, count: Option<usize>, each: u64) -> Result<usize, ReplyError> {
        let count = count.unwrap_or(0) as u64;
        let more = count.checked_mul(each).filter(|more| *more <= REPLY_LIMIT as u64);
        self.missing += more.ok_or(ReplyError::TooLong)?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: [&str; 10] = [
        "+OK\r\n",
        "+a\rb\r\r\n",
        "-ERR no\r\n",
        ":1\r\n",
        "$3\r\na\r\n\r\n",
        "$-1\r\n",
        "*3\r\n*-1\r\n*2\r\n:1\r\n$0\r\n\r\n_\r\n",
        "%1\r\n+a\r\n~1\r\n,1.5\r\n",
        "|1\r\n+ttl\r\n:3\r\n*1\r\n#t\r\n",
        ">2\r\n+invalidate\r\n*0\r\n",
    ];

    #[test]
    fn any_split_gives_the_same_replies() {
        let input = REPLIES.concat();
        for chunk in 1..=input.len() {
            let mut scanner = Scanner::default();
            let mut buffer = BytesMut::new();
            let mut found = Vec::new();
            for part in input.as_bytes().chunks(chunk) {
                buffer.extend_from_slice(part);
                while let Some(frame) = scanner.next(&mut buffer).unwrap() {
                    found.push(String::from_utf8(frame.raw.to_vec()).unwrap());
                }
            }
            assert_eq!(found, REPLIES, "in pieces of {chunk}");
        }
    }

    #[test]
    fn a_row_of_replies_is_one_frame_and_the_next_is_a_single_one() {
        let mut scanner = Scanner::of_row(3);
        let mut buffer = BytesMut::from(&b":1\r\n*1\r\n+a\r\n$2\r\nbc"[..]);
        assert_eq!(scanner.next(&mut buffer), Ok(None));
        buffer.extend_from_slice(b"\r\n+next\r\n");
        let mut frame = || scanner.next(&mut buffer).unwrap().unwrap().raw;
        assert_eq!(frame(), ":1\r\n*1\r\n+a\r\n$2\r\nbc\r\n");
        assert_eq!(frame(), "+next\r\n");
    }

    #[test]
    fn what_is_not_resp_is_refused() {
        for input in ["hello\r\n", "$x\r\n", "*-2\r\n"] {
            let mut buffer = BytesMut::from(input);
            assert!(Scanner::default().next(&mut buffer).is_err(), "{input:?}");
        }
    }
}
