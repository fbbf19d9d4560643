//! What `redis-protocol` makes of bytes, beside what our scanner and reader make of them.
//!
//! Where both understand a reply they understand the same. Where only one does, there is a reason in
//! [`on_purpose`].

use bytes::Bytes;
use crossfade::protocol::resp::{Reply, Request};
use redis_protocol::resp2::{self, types::BytesFrame as Frame2};
use redis_protocol::resp3::{self, types::BytesFrame as Frame};

/// What stands at the front of some bytes.
#[derive(Debug)]
pub(crate) enum Front<T> {
    /// So many bytes, and what they say.
    Whole(usize, T),
    /// The beginning of something.
    Part,
    /// Nothing that can be understood.
    Refused,
}

/// The oracle's reading. It must be told the protocol, ours need not be: a null of RESP2 is the
/// beginning of a stream in its RESP3. So it is asked for both.
pub(crate) fn front(input: &Bytes) -> Front<Frame> {
    let two = resp2::decode::decode_bytes(input)
        .map(|found| found.map(|(frame, length): (Frame2, usize)| (frame.into_resp3(), length)));
    match two.or_else(|_| resp3::decode::complete::decode_bytes(input)) {
        Ok(Some((frame, length))) => Front::Whole(length, frame),
        Ok(None) => Front::Part,
        Err(_) => Front::Refused,
    }
}

/// Whether both have understood the same. A map of the oracle has each key once, and no order.
pub(crate) fn agree(ours: &Reply, theirs: &Frame) -> bool {
    let each = |ours: &[Reply], theirs: &[Frame]| {
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| agree(a, b))
    };
    match (ours, theirs) {
        (Reply::Simple(a), Frame::SimpleString { data: b, .. })
        | (
            Reply::Bulk(a),
            Frame::BlobString { data: b, .. } | Frame::VerbatimString { data: b, .. },
        )
        | (Reply::Error(a), Frame::BlobError { data: b, .. })
        | (Reply::BigNumber(a), Frame::BigNumber { data: b, .. }) => a == b,
        (Reply::Error(a), Frame::SimpleError { data: b, .. }) => a == b.inner(),
        (Reply::Integer(a), Frame::Number { data: b, .. }) => a == b,
        (Reply::Boolean(a), Frame::Boolean { data: b, .. }) => a == b,
        (Reply::Double(a), Frame::Double { data: b, .. }) => {
            double(a).is_some_and(|a| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
        }
        (Reply::Null, Frame::Null) => true,
        (Reply::Array(a), Frame::Array { data: b, .. })
        | (Reply::Push(a), Frame::Push { data: b, .. }) => each(a, b),
        (Reply::Set(a), Frame::Set { data: b, .. }) => {
            a.iter().all(|a| b.iter().any(|b| agree(a, b)))
                && b.iter().all(|b| a.iter().any(|a| agree(a, b)))
        }
        (Reply::Map(a), Frame::Map { data: b, .. }) => {
            a.iter().all(|(key, _)| b.keys().any(|other| agree(key, other)))
                && b.iter()
                    .all(|(key, value)| a.iter().any(|(k, v)| agree(k, key) && agree(v, value)))
        }
        _ => false,
    }
}

/// Whether these bytes are exactly this request for the oracle too.
pub(crate) fn is_request(raw: &Bytes, request: &Request) -> bool {
    let Ok(Some((Frame2::Array(args), length))) = resp2::decode::decode_bytes(raw) else {
        return false;
    };
    let same = |arg: &Frame2, ours: &[u8]| matches!(arg, Frame2::BulkString(arg) if arg == ours);
    length == raw.len()
        && args.len() == request.len()
        && args.iter().zip(request.args()).all(|(arg, ours)| same(arg, ours))
}

/// Why the oracle may read a request otherwise.
pub(crate) fn on_purpose_in_requests(raw: &[u8]) -> Option<&'static str> {
    raw.windows(2)
        .any(|pair| pair[0] == b'\r' && pair[1] != b'\n')
        .then_some("servers end a request's line at its carriage return, whatever comes behind it")
}

/// Why one of the two may understand the front of these bytes and the other not.
pub(crate) fn on_purpose(input: &[u8]) -> Option<&'static str> {
    let (mut rest, mut wraps) = (input, 0);
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, after) = (&rest[..end], &rest[end + 2..]);
        let (kind, text) = line.split_first()?;
        if let Some(reason) = of_line(*kind, text) {
            return Some(reason);
        }
        wraps += usize::from(b"*~>%|".contains(kind));
        if wraps > 64 {
            return Some("ours does not go down without end");
        }
        let body = match kind {
            b'$' | b'!' | b'=' => number(text)? + 2,
            _ => 0,
        };
        rest = after.get(body..)?;
    }
    None
}

fn of_line(kind: u8, text: &[u8]) -> Option<&'static str> {
    let length = number(text);
    match kind {
        b'$' | b'*' if text == b"-1" => Some(
            "a null of RESP2 amid types of RESP3 is one for ours; the oracle's is a stream's head",
        ),
        b'!' | b'=' | b'~' | b'>' | b'%' | b'|' if text == b"-1" => {
            Some("whatever has the length -1 is a null for ours")
        }
        b':' | b'$' | b'*' | b'!' | b'=' | b'~' | b'>' | b'%' | b'|' if !is_canonical(text) => {
            Some("the oracle reads +1 and 01, which no server writes, and the ? of streams")
        }
        b'$' | b'*' | b'!' | b'=' | b'~' | b'>' | b'%' | b'|' if length > Some(1 << 31) => {
            Some("ours refuses at once what is larger than any reply, the oracle waits for it")
        }
        b';' | b'.' => Some("no server sends streams, ours does not know them"),
        b'H' => Some("the oracle knows a HELLO line, which no server sends"),
        b',' if double(text).is_none() => Some("ours keeps a double's digits as they came"),
        b'#' if !matches!(text, b"t" | b"f") => Some("ours takes what is not t for false"),
        b'=' => Some("ours does not care for the format, nor whether there is one"),
        b'-' if std::str::from_utf8(text).is_err() => {
            Some("an error goes on to the byte, UTF-8 or not")
        }
        b'|' => Some("ours skips attributes wherever they stand; the oracle knows of where not"),
        b'%' | b'~' => Some("the oracle has no aggregates as keys and elements"),
        _ => None,
    }
}

fn is_canonical(text: &[u8]) -> bool {
    let value = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    value.is_some_and(|value| value.to_string().as_bytes() == text)
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
