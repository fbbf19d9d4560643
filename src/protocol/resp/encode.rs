//! Writing requests of our own, many of them and big ones: straight into the buffer that is sent.

use bytes::{BufMut, BytesMut};

use super::number::digits;
use super::write_integer;

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
