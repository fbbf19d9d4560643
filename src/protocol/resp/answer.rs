//! What the proxy says to clients itself, in the encoding of `redis-protocol`. What a server has
//! said is never written anew: it goes to the client as it came.

use bytes::BytesMut;
use redis_protocol::resp2::{self, types::BorrowedFrame as Frame2};
use redis_protocol::resp3::{self, types::BorrowedFrame as Frame3, types::VerbatimStringFormat};

use super::Protocol;

/// Appends a simple string; `text` must not hold a line end.
pub(crate) fn simple(out: &mut BytesMut, text: &str) {
    append(out, &Frame2::SimpleString(text.as_bytes()));
}

/// Appends an error, `text` with its code first (`ERR …`). Line ends in it become blanks, as Redis
/// does, so that nothing quoted in an error can break the protocol.
pub(crate) fn error(out: &mut BytesMut, text: &str) {
    append(out, &Frame2::Error(&text.replace(['\r', '\n'], " ")));
}

pub(crate) fn integer(out: &mut BytesMut, value: i64) {
    append(out, &Frame2::Integer(value));
}

pub(crate) fn text(out: &mut BytesMut, text: &[u8]) {
    append(out, &Frame2::BulkString(text));
}

/// Appends a text for people: a bulk string, or in RESP3 a verbatim one.
pub(crate) fn verbatim(out: &mut BytesMut, words: &str, protocol: Protocol) {
    let (data, format) = (words.as_bytes(), VerbatimStringFormat::Text);
    match protocol {
        Protocol::Resp2 => text(out, data),
        Protocol::Resp3 => {
            append_resp3(out, &Frame3::VerbatimString { data, format, attributes: None });
        }
    }
}

/// Appends a null where a bulk string was asked for.
pub(crate) fn null(out: &mut BytesMut, protocol: Protocol) {
    match protocol {
        Protocol::Resp2 => append(out, &Frame2::Null),
        Protocol::Resp3 => append_resp3(out, &Frame3::Null),
    }
}

/// Appends a null where an array was asked for.
pub(crate) fn null_array(out: &mut BytesMut, protocol: Protocol) {
    match protocol {
        // The crate writes every null of RESP2 as that of a bulk string.
        Protocol::Resp2 => out.extend_from_slice(b"*-1\r\n"),
        Protocol::Resp3 => null(out, protocol),
    }
}

/// Appends a RESP3 push: what kind of event, and a number that goes with it.
pub(crate) fn push(out: &mut BytesMut, event: &str, number: i64) {
    let event = Frame3::BlobString { data: event.as_bytes(), attributes: None };
    let number = Frame3::Number { data: number, attributes: None };
    append_resp3(out, &Frame3::Push { data: &[event, number], attributes: None });
}

/// What both protocols write alike. The encoder makes its own room, which is the only thing that it
/// could fail for.
fn append(out: &mut BytesMut, frame: &Frame2<'_>) {
    let written = resp2::encode::extend_encode_borrowed(out, frame, false);
    debug_assert!(written.is_ok(), "{written:?}");
}

fn append_resp3(out: &mut BytesMut, frame: &Frame3<'_>) {
    let written = resp3::encode::complete::extend_encode_borrowed(out, frame, false);
    debug_assert!(written.is_ok(), "{written:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        // Behind what is there already.
        let mut out = BytesMut::from("+1\r\n");
        write(&mut out);
        String::from_utf8(out[4..].to_vec()).unwrap()
    }

    #[test]
    fn every_kind_of_answer_is_written_as_a_server_would() {
        assert_eq!(written(|out| simple(out, "OK")), "+OK\r\n");
        assert_eq!(written(|out| text(out, b"a\r\n")), "$3\r\na\r\n\r\n");
        assert_eq!(written(|out| text(out, b"")), "$0\r\n\r\n");
        for value in [0, 7, -7, i64::MAX, i64::MIN] {
            assert_eq!(written(|out| integer(out, value)), format!(":{value}\r\n"));
        }
        assert_eq!(written(|out| push(out, "broken", 12)), ">2\r\n$6\r\nbroken\r\n:12\r\n");
    }

    #[test]
    fn a_line_end_that_an_error_quotes_cannot_end_the_error() {
        assert_eq!(written(|out| error(out, "ERR 'a\r\n+OK'")), "-ERR 'a  +OK'\r\n");
    }

    #[test]
    fn nulls_and_texts_are_those_of_the_clients_protocol() {
        use Protocol::{Resp2, Resp3};
        assert_eq!(written(|out| null(out, Resp2)), "$-1\r\n");
        assert_eq!(written(|out| null_array(out, Resp2)), "*-1\r\n");
        assert_eq!(written(|out| verbatim(out, "id=1", Resp2)), "$4\r\nid=1\r\n");
        assert_eq!(written(|out| null(out, Resp3)), "_\r\n");
        assert_eq!(written(|out| null_array(out, Resp3)), "_\r\n");
        assert_eq!(written(|out| verbatim(out, "id=1", Resp3)), "=8\r\ntxt:id=1\r\n");
    }
}
