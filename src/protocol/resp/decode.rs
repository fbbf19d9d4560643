//! Finding requests in what a client sends, with the limits and the words of Redis.

use bytes::BytesMut;
use thiserror::Error;

use super::inline;
use super::parse_integer;
use super::request::{Request, Span, Spans};

/// Redis' `PROTO_INLINE_MAX_SIZE`: the longest inline command or header line, in bytes.
const LINE_LIMIT: usize = 64 * 1024;
/// Redis' default `proto-max-bulk-len`, in bytes.
const BULK_LIMIT: i64 = 512 * 1024 * 1024;
/// Redis' default `client-query-buffer-limit`, in bytes: the largest whole request.
const REQUEST_LIMIT: usize = 1024 * 1024 * 1024;
/// What a client may send before it has logged in: arguments of a request, and bytes of each.
const STRANGER_ARGS: i64 = 10;
const STRANGER_BULK: i64 = 16 * 1024;

/// What Redis answers to a malformed request before it closes the connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the message says it, in the server's own words")]
pub enum ProtocolError {
    #[error("Protocol error: too big inline request")]
    InlineTooBig,
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("Protocol error: too big mbulk count string")]
    CountLineTooBig,
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    #[error("Protocol error: too big bulk count string")]
    BulkLineTooBig,
    #[error("Protocol error: expected '$', got '{0}'")]
    ExpectedBulk(char),
    #[error("Protocol error: invalid bulk length")]
    InvalidBulk,
    #[error("Protocol error: request larger than 1 GiB")]
    RequestTooBig,
    #[error("Protocol error: unauthenticated multibulk length")]
    StrangersCount,
    #[error("Protocol error: unauthenticated bulk length")]
    StrangersBulk,
}

/// Finds requests in a growing buffer; it remembers where it stopped, so that a value that comes a
/// byte at a time costs one look at each byte.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes of the buffer that have been understood.
    position: usize,
    /// Bytes after them that have been searched for the end of their line.
    searched: usize,
    /// Arguments of the request under way that are still to come.
    missing: usize,
    /// Length of the bulk string under way, once its header has been read.
    bulk: Option<usize>,
    args: Spans,
    /// Whether the client must log in before it may send anything large.
    stranger: bool,
}

/// What one step of the decoder found.
enum Step {
    Continue,
    Incomplete,
    Done,
}

impl Decoder {
    /// Says whether the client must log in first: what strangers may send is small.
    pub fn restrict(&mut self, stranger: bool) {
        self.stranger = stranger;
    }

    /// Takes the next whole request from the front of `buffer`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// A malformed request; the connection must be answered with it and closed.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        loop {
            if self.missing == 0 && self.args.is_empty() {
                match buffer.first() {
                    None => return Ok(None),
                    Some(b'*') => match self.count(buffer)? {
                        Step::Incomplete => return Ok(None),
                        Step::Continue | Step::Done => {}
                    },
                    Some(_) => match self.inline(buffer)? {
                        (Step::Incomplete, _) => return Ok(None),
                        (_, Some(request)) => return Ok(Some(request)),
                        (_, None) => {}
                    },
                }
                continue;
            }
            match self.bulk(buffer)? {
                Step::Continue => {}
                Step::Incomplete => return Ok(None),
                Step::Done => return Ok(Some(self.take(buffer))),
            }
        }
    }

    /// How many more bytes are surely needed before [`Self::next`] can yield, so that the reader
    /// can make room for a large value at once. 0 when unknown.
    pub fn wanted(&self, buffer: &BytesMut) -> usize {
        self.bulk.map_or(0, |len| (self.position + len + 2).saturating_sub(buffer.len()))
    }

    fn take(&mut self, buffer: &mut BytesMut) -> Request {
        let raw = buffer.split_to(self.position).freeze();
        self.position = 0;
        Request::from_parts(raw, std::mem::take(&mut self.args))
    }

    fn count(&mut self, buffer: &mut BytesMut) -> Result<Step, ProtocolError> {
        let Some(line) = self.line(buffer) else {
            return too_long(buffer.len(), ProtocolError::CountLineTooBig);
        };
        let count = buffer
            .get(1..line)
            .and_then(parse_integer)
            .filter(|count| *count <= i64::from(i32::MAX))
            .ok_or(ProtocolError::InvalidCount)?;
        if self.stranger && count > STRANGER_ARGS {
            return Err(ProtocolError::StrangersCount);
        }
        if count <= 0 {
            drop(buffer.split_to(line + 2));
            return Ok(Step::Continue);
        }
        self.missing = usize::try_from(count).unwrap_or(0);
        self.position = line + 2;
        Ok(Step::Continue)
    }

    fn bulk(&mut self, buffer: &BytesMut) -> Result<Step, ProtocolError> {
        let len = match self.bulk {
            Some(len) => len,
            None => match self.bulk_header(buffer)? {
                Some(len) => len,
                None => return Ok(Step::Incomplete),
            },
        };
        if buffer.len() < self.position + len + 2 {
            return Ok(Step::Incomplete);
        }
        self.args.push(span(self.position, len));
        self.position += len + 2;
        self.bulk = None;
        self.missing -= 1;
        Ok(if self.missing == 0 { Step::Done } else { Step::Continue })
    }

    fn bulk_header(&mut self, buffer: &BytesMut) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.line(buffer) else {
            let pending = buffer.len().saturating_sub(self.position);
            return too_long(pending, ProtocolError::BulkLineTooBig).map(|_| None);
        };
        match buffer.get(self.position) {
            Some(b'$') => {}
            other => {
                let got = other.copied().map_or('?', char::from);
                return Err(ProtocolError::ExpectedBulk(got));
            }
        }
        let len = buffer
            .get(self.position + 1..line)
            .and_then(parse_integer)
            .filter(|len| (0..=BULK_LIMIT).contains(len))
            .ok_or(ProtocolError::InvalidBulk)?;
        if self.stranger && len > STRANGER_BULK {
            return Err(ProtocolError::StrangersBulk);
        }
        let len = usize::try_from(len).map_err(|_| ProtocolError::InvalidBulk)?;
        if line + len > REQUEST_LIMIT {
            return Err(ProtocolError::RequestTooBig);
        }
        self.position = line + 2;
        self.bulk = Some(len);
        Ok(Some(len))
    }

    fn inline(&mut self, buffer: &mut BytesMut) -> Result<(Step, Option<Request>), ProtocolError> {
        let Some(end) = self.search(buffer, b'\n') else {
            let step = too_long(buffer.len(), ProtocolError::InlineTooBig)?;
            return Ok((step, None));
        };
        if end > LINE_LIMIT {
            return Err(ProtocolError::InlineTooBig);
        }
        let line = buffer.split_to(end + 1);
        let words = line.get(..end).unwrap_or_default();
        let words = words.strip_suffix(b"\r").unwrap_or(words);
        let request = inline::parse(words).map_err(|()| ProtocolError::UnbalancedQuotes)?;
        Ok((Step::Continue, request))
    }

    /// The end of the line under way: the place of its `\r`, once the `\n` is there too.
    fn line(&mut self, buffer: &BytesMut) -> Option<usize> {
        let end = self.search(buffer, b'\r')?;
        (end + 1 < buffer.len()).then_some(end)
    }

    /// Where `byte` is in the line under way; each byte of it is looked at once, however it comes.
    /// A NUL hides whatever comes behind it: the servers search with C's functions for strings, so a
    /// line that has one never ends, until it is too long.
    fn search(&mut self, buffer: &BytesMut, byte: u8) -> Option<usize> {
        let from = self.position + self.searched;
        let rest = buffer.get(from..)?;
        let stop = rest.iter().position(|other| *other == byte || *other == 0);
        let stop = stop.unwrap_or(rest.len());
        let found = rest.get(stop) == Some(&byte);
        self.searched = if found { 0 } else { self.searched + stop };
        found.then_some(from + stop)
    }
}

fn too_long(pending: usize, error: ProtocolError) -> Result<Step, ProtocolError> {
    if pending > LINE_LIMIT { Err(error) } else { Ok(Step::Incomplete) }
}

fn span(start: usize, len: usize) -> Span {
    (start as u32, (start + len) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(input: &[u8], chunk: usize) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
        let mut decoder = Decoder::default();
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        for part in input.chunks(chunk) {
            buffer.extend_from_slice(part);
            while let Some(request) = decoder.next(&mut buffer)? {
                found.push(request.args().map(<[u8]>::to_vec).collect());
            }
        }
        Ok(found)
    }

    #[test]
    fn any_split_gives_the_same_requests() {
        let input = b"*1\r\n$4\r\nPING\r\n*0\r\n\r\nget  a\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
        let whole = decode_all(input, input.len()).unwrap();
        assert_eq!(whole.len(), 3);
        for chunk in 1..input.len() {
            assert_eq!(decode_all(input, chunk).unwrap(), whole, "in pieces of {chunk}");
        }
    }

    #[test]
    fn malformed_requests_get_the_error_that_redis_gives() {
        for (input, message) in [
            ("*x\r\n", "Protocol error: invalid multibulk length"),
            ("*2147483648\r\n", "Protocol error: invalid multibulk length"),
            ("*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
            ("*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            ("*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
            ("get 'a\r\n", "Protocol error: unbalanced quotes in request"),
        ] {
            let error = decode_all(input.as_bytes(), input.len()).unwrap_err();
            assert_eq!(error.to_string(), message, "{input:?}");
        }
    }

    #[test]
    fn a_stranger_may_send_a_login_and_little_else() {
        let decode = |input: String| {
            let mut decoder = Decoder::default();
            decoder.restrict(true);
            decoder.next(&mut BytesMut::from(input.as_bytes()))
        };
        let auth = Request::new(["AUTH", &"x".repeat(16 * 1024)]);
        assert_eq!(decode(String::from_utf8_lossy(auth.raw()).into_owned()), Ok(Some(auth)));
        assert_eq!(decode("*11\r\n".to_owned()), Err(ProtocolError::StrangersCount));
        assert_eq!(decode("*1\r\n$16385\r\n".to_owned()), Err(ProtocolError::StrangersBulk));
    }

    #[test]
    fn endless_lines_are_refused() {
        let long = vec![b'1'; LINE_LIMIT + 2];
        assert_eq!(decode_all(&long, 1000), Err(ProtocolError::InlineTooBig));
        let count = [b"*".as_ref(), &long].concat();
        assert_eq!(decode_all(&count, 1000), Err(ProtocolError::CountLineTooBig));
        let bulk = [b"*1\r\n$".as_ref(), &long].concat();
        assert_eq!(decode_all(&bulk, 1000), Err(ProtocolError::BulkLineTooBig));
    }
}
