//! Writing RESP: requests of our own, and the few replies that the proxy gives itself.

use bytes::{BufMut, BytesMut};

use super::number::digits;
use super::{Protocol, write_integer};

/// Appends `*N\r\n`.
pub fn array_header(out: &mut BytesMut, len: usize) {
    header(out, b'*', len);
}

/// Appends `$N\r\n`, the head of a bulk string whose bytes follow.
pub fn bulk_len(out: &mut BytesMut, len: usize) {
    header(out, b'$', len);
}

/// Appends a whole bulk string.
pub fn bulk(out: &mut BytesMut, bytes: &[u8]) {
    bulk_len(out, bytes.len());
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Appends the decimal form of `value` as a bulk string.
pub fn bulk_integer(out: &mut BytesMut, value: i64) {
    bulk_len(out, digits(value));
    write_integer(out, value);
    out.put_slice(b"\r\n");
}

/// Appends a request made of `args`.
pub fn command(out: &mut BytesMut, args: &[&[u8]]) {
    array_header(out, args.len());
    for arg in args {
        bulk(out, arg);
    }
}

/// Appends a text for people: a bulk string, or in RESP3 a verbatim one.
pub fn verbatim(out: &mut BytesMut, text: &str, protocol: Protocol) {
    match protocol {
        Protocol::Resp2 => bulk(out, text.as_bytes()),
        Protocol::Resp3 => {
            header(out, b'=', text.len() + 4);
            out.put_slice(b"txt:");
            out.put_slice(text.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
}

/// Appends a simple string; `text` must not hold a line end.
pub fn simple(out: &mut BytesMut, text: &str) {
    out.put_u8(b'+');
    out.put_slice(text.as_bytes());
    out.put_slice(b"\r\n");
}

/// Appends an error, `text` with its code first (`ERR …`). Line ends in it become blanks, as Redis
/// does, so that nothing quoted in an error can break the protocol.
pub fn error(out: &mut BytesMut, text: &str) {
    out.put_u8(b'-');
    for byte in text.bytes() {
        out.put_u8(if byte == b'\r' || byte == b'\n' { b' ' } else { byte });
    }
    out.put_slice(b"\r\n");
}

/// Appends an integer reply.
pub fn integer(out: &mut BytesMut, value: i64) {
    out.put_u8(b':');
    write_integer(out, value);
    out.put_slice(b"\r\n");
}

/// Appends a null where a bulk string was asked for.
pub fn null(out: &mut BytesMut, protocol: Protocol) {
    out.put_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// Appends a null where an array was asked for.
pub fn null_array(out: &mut BytesMut, protocol: Protocol) {
    out.put_slice(match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

fn header(out: &mut BytesMut, kind: u8, len: usize) {
    match u8::try_from(len) {
        // Nearly all of them: written at once.
        Ok(digit @ 0..10) => out.put_slice(&[kind, b'0' + digit, b'\r', b'\n']),
        Ok(digits @ 10..100) => {
            out.put_slice(&[kind, b'0' + digits / 10, b'0' + digits % 10, b'\r', b'\n']);
        }
        _ => {
            out.put_u8(kind);
            write_integer(out, len as i64);
            out.put_slice(b"\r\n");
        }
    }
}
