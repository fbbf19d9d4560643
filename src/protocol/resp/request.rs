//! One request: the bytes as they came, and where its arguments lie in them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::write_integer;

/// Where an argument lies in the raw bytes: start and end.
pub(super) type Span = (u32, u32);
pub(super) type Spans = SmallVec<[Span; 6]>;

/// A request, found once and forwarded as it came. Cheap to clone: the bytes are shared.
///
/// The raw form is always an array of bulk strings; inline commands are written anew as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    raw: Bytes,
    args: Spans,
}

impl Request {
    pub(super) fn from_parts(raw: Bytes, args: Spans) -> Self {
        Self { raw, args }
    }

    /// A request of our own, from its arguments.
    pub fn new<A: AsRef<[u8]>>(args: impl IntoIterator<Item = A>) -> Self {
        let mut builder = Builder::default();
        for arg in args {
            builder.push(arg.as_ref());
        }
        builder.finish()
    }

    /// The bytes to send upstream.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// How many arguments there are, the command's name included.
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Whether there is not even a name. The decoder never yields such a request.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// Argument `index`; 0 is the command's name.
    pub fn arg(&self, index: usize) -> Option<&[u8]> {
        let (start, end) = *self.args.get(index)?;
        self.raw.get(start as usize..end as usize)
    }

    /// The command's name as the client wrote it.
    pub fn name(&self) -> &[u8] {
        self.arg(0).unwrap_or_default()
    }

    /// Argument `index`, sharing the request's memory.
    pub fn arg_bytes(&self, index: usize) -> Option<Bytes> {
        let (start, end) = *self.args.get(index)?;
        Some(self.raw.slice(start as usize..end as usize))
    }

    /// All arguments in order, the name first.
    pub fn args(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.args
            .iter()
            .map(|(start, end)| self.raw.get(*start as usize..*end as usize).unwrap_or_default())
    }

    /// Whether argument `index` is this keyword, in any case.
    pub fn is(&self, index: usize, keyword: &str) -> bool {
        self.arg(index).is_some_and(|arg| arg.eq_ignore_ascii_case(keyword.as_bytes()))
    }
}

/// Room for the array's header before its elements, in bytes: `*`, ten digits, a line end.
const HEADER: usize = 13;

/// Writes a request whose number of arguments is not known beforehand, in one buffer: the header is
/// put before the arguments when they are all there.
#[derive(Debug, Default)]
pub struct Builder {
    raw: BytesMut,
    args: Spans,
}

impl Builder {
    /// Appends one argument.
    pub fn push(&mut self, arg: &[u8]) -> &mut Self {
        if self.raw.is_empty() {
            self.raw.reserve(HEADER + 64 + arg.len());
            self.raw.put_bytes(0, HEADER);
        }
        super::bulk_len(&mut self.raw, arg.len());
        let start = self.raw.len() as u32;
        self.args.push((start, start + arg.len() as u32));
        self.raw.put_slice(arg);
        self.raw.put_slice(b"\r\n");
        self
    }

    /// Appends an integer argument.
    pub fn push_integer(&mut self, value: i64) -> &mut Self {
        let mut text = BytesMut::with_capacity(20);
        write_integer(&mut text, value);
        self.push(&text)
    }

    /// Appends a count or an index.
    pub fn push_count(&mut self, count: usize) -> &mut Self {
        self.push(count.to_string().as_bytes())
    }

    /// The request as an array of bulk strings; the builder is empty again.
    pub fn finish(&mut self) -> Request {
        let Self { mut raw, mut args } = std::mem::take(self);
        let mut header = BytesMut::with_capacity(HEADER);
        super::array_header(&mut header, args.len());
        let unused = HEADER - header.len();
        raw.advance(unused.min(raw.len()));
        if let Some(place) = raw.get_mut(..header.len()) {
            place.copy_from_slice(&header);
        }
        for (start, end) in &mut args {
            *start -= unused as u32;
            *end -= unused as u32;
        }
        Request { raw: raw.freeze(), args }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_request_gives_its_arguments_back() {
        let request = Request::new(["SET", "key", ""]);
        assert_eq!(request.raw().as_ref(), b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n");
        assert_eq!(request.args().collect::<Vec<_>>(), [b"SET".as_ref(), b"key", b""]);
        assert!(request.is(0, "set"));
    }
}
