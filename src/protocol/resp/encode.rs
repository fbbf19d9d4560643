//! Writing integers and requests of our own, many of them and big ones, straight into the buffer that is
//! sent; and integers as Redis reads them.

use bytes::{BufMut, BytesMut};

/// Appends `*N\r\n`.
pub(crate) fn array_header(out: &mut BytesMut, len: usize) {
    header(out, b'*', len);
}

/// Appends `$N\r\n`, the head of a bulk string whose bytes follow.
pub(crate) fn bulk_len(out: &mut BytesMut, len: usize) {
    header(out, b'$', len);
}

pub(crate) fn bulk(out: &mut BytesMut, bytes: &[u8]) {
    bulk_len(out, bytes.len());
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Appends the decimal form of `value` as a bulk string.
pub(crate) fn bulk_integer(out: &mut BytesMut, value: i64) {
    bulk(out, itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a request made of `args`.
pub(crate) fn command(out: &mut BytesMut, args: &[&[u8]]) {
    array_header(out, args.len());
    for arg in args {
        bulk(out, arg);
    }
}

/// Appends a request whose last argument is `key`: for what is asked about each of millions of keys.
/// `head` is what stands before it, as it is sent.
pub(crate) fn about(out: &mut BytesMut, head: &[u8], key: &[u8]) {
    out.put_slice(head);
    bulk(out, key);
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

/// Reads a signed integer exactly as Redis' `string2ll` does: no plus sign, no leading zero, no
/// blanks, no overflow. `None` is what Redis calls "not an integer".
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    digits.iter().try_fold(0i64, |value, byte| {
        let digit = i64::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        let value = value.checked_mul(10)?;
        if negative { value.checked_sub(digit) } else { value.checked_add(digit) }
    })
}

/// Appends the decimal form of `value`.
pub(crate) fn write_integer(out: &mut BytesMut, value: i64) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_read() {
        for (text, value) in [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX)] {
            assert_eq!(parse_integer(text.as_bytes()), Some(value));
        }
        assert_eq!(parse_integer(b"-9223372036854775808"), Some(i64::MIN));
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "9223372036854775808", "1a"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn written_integers_are_read_back() {
        for value in [0, 7, -7, 10, i64::MAX, i64::MIN] {
            let mut out = BytesMut::new();
            write_integer(&mut out, value);
            assert_eq!(parse_integer(&out), Some(value));
        }
    }

    #[test]
    fn a_request_about_a_key_is_the_request_of_its_words() {
        let (mut whole, mut about_it) = (BytesMut::new(), BytesMut::new());
        for key in [&b""[..], b"k", &[b'x'; 9], &[b'x'; 10], &[b'x'; 100]] {
            command(&mut whole, &[b"OBJECT", b"FREQ", key]);
            about(&mut about_it, b"*3\r\n$6\r\nOBJECT\r\n$4\r\nFREQ\r\n", key);
        }
        assert_eq!(whole, about_it);
    }
}
