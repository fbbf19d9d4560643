//! A blocking RESP client of the tests' own, so that what the product understands and what the tests
//! understand are two opinions. It hands back replies byte for byte, and never reconnects.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How long one read may take before the connection counts as stuck.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Whatever a request can be written as: a line of words, or exact words.
pub trait Words {
    /// The words of the request.
    fn words(self) -> Vec<Vec<u8>>;
}

impl Words for &str {
    fn words(self) -> Vec<Vec<u8>> {
        self.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
    }
}

impl Words for &String {
    fn words(self) -> Vec<Vec<u8>> {
        self.as_str().words()
    }
}

impl Words for String {
    fn words(self) -> Vec<Vec<u8>> {
        self.as_str().words()
    }
}

impl<const N: usize> Words for [&str; N] {
    fn words(self) -> Vec<Vec<u8>> {
        self.iter().map(|word| word.as_bytes().to_vec()).collect()
    }
}

impl<const N: usize> Words for [&[u8]; N] {
    fn words(self) -> Vec<Vec<u8>> {
        self.iter().map(|word| word.to_vec()).collect()
    }
}

impl Words for Vec<Vec<u8>> {
    fn words(self) -> Vec<Vec<u8>> {
        self
    }
}

/// A request as an array of bulk strings.
pub fn encode(request: impl Words) -> Vec<u8> {
    let words = request.words();
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(&word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A reply understood.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `+`, and RESP3's `,` `#` `(` in the server's own letters.
    Simple(Vec<u8>),
    /// `-` and `!`.
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$` and `=`.
    Bulk(Vec<u8>),
    /// Every null.
    Null,
    /// `*`, `~`, and `%` with keys and values in turn, as RESP2 shows it.
    Array(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
}

impl Value {
    /// The text of a string, number or error; lossy, for messages and comparisons with ASCII.
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) | Self::Bulk(text) => {
                String::from_utf8_lossy(text).into_owned()
            }
            Self::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        }
    }

    /// The number of an integer reply, or of a string that holds one.
    pub fn integer(&self) -> i64 {
        self.text().parse().unwrap_or_else(|_| panic!("not an integer: {self:?}"))
    }

    /// The elements of an aggregate.
    pub fn elements(self) -> Vec<Value> {
        match self {
            Self::Array(elements) | Self::Push(elements) => elements,
            other => panic!("not an array: {other:?}"),
        }
    }

    /// The elements as texts.
    pub fn texts(self) -> Vec<String> {
        self.elements().iter().map(Self::text).collect()
    }

    /// The exact bytes of a string.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) => bytes,
            other => panic!("not a string: {other:?}"),
        }
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// One connection.
pub struct Resp {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl Resp {
    /// Connects, or fails the test.
    pub fn connect(address: &str) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects.
    pub fn try_connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { stream, buffer: Vec::new(), start: 0 })
    }

    /// Connects and speaks RESP3.
    pub fn connect_resp3(address: &str) -> Self {
        let mut client = Self::connect(address);
        let hello = client.call("HELLO 3");
        assert!(!hello.is_error(), "HELLO 3: {hello:?}");
        client
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the connection takes bytes");
    }

    /// Sends bytes; false when the other side does not take all of them in the time.
    pub fn send_raw_for(&mut self, bytes: &[u8], time: Duration) -> bool {
        self.stream.set_write_timeout(Some(time)).unwrap();
        let taken = self.stream.write_all(bytes).is_ok();
        self.stream.set_write_timeout(None).unwrap();
        taken
    }

    /// Sends a request without waiting for its reply.
    pub fn send(&mut self, request: impl Words) {
        self.send_raw(&encode(request));
    }

    /// One request, one reply.
    pub fn call(&mut self, request: impl Words) -> Value {
        let words = request.words();
        self.try_call(words.clone()).unwrap_or_else(|error| panic!("{}: {error}", describe(&words)))
    }

    /// One request, one reply, on a connection that may be gone.
    pub fn try_call(&mut self, request: impl Words) -> io::Result<Value> {
        self.stream.write_all(&encode(request))?;
        self.try_reply()
    }

    /// A request that must not be answered by an error.
    pub fn ok(&mut self, request: impl Words) -> Value {
        let words = request.words();
        let reply = self.call(words.clone());
        assert!(!reply.is_error(), "{}: {}", describe(&words), reply.text());
        reply
    }

    /// Sends all requests at once and reads as many replies.
    pub fn pipeline<R: Words>(&mut self, requests: impl IntoIterator<Item = R>) -> Vec<Value> {
        self.try_pipeline(requests).expect("a pipeline is answered")
    }

    /// The same on a connection that may be gone.
    pub fn try_pipeline<R: Words>(
        &mut self,
        requests: impl IntoIterator<Item = R>,
    ) -> io::Result<Vec<Value>> {
        let mut bytes = Vec::new();
        let mut count = 0;
        for request in requests {
            bytes.extend_from_slice(&encode(request));
            count += 1;
        }
        // Written beside the reading: two full socket buffers would wait for each other for ever.
        let mut writer = self.stream.try_clone()?;
        std::thread::scope(|scope| {
            let written = scope.spawn(move || writer.write_all(&bytes));
            let replies = (0..count).map(|_| self.try_reply()).collect();
            written.join().unwrap()?;
            replies
        })
    }

    /// The next reply.
    pub fn reply(&mut self) -> Value {
        self.try_reply().expect("a reply comes")
    }

    /// The next reply, if the connection lives.
    pub fn try_reply(&mut self) -> io::Result<Value> {
        self.try_raw_reply().map(|raw| parse(&raw, &mut 0))
    }

    /// The next reply as the bytes that came.
    pub fn raw_reply(&mut self) -> Vec<u8> {
        self.try_raw_reply().expect("a reply comes")
    }

    /// The next reply as the bytes that came, if the connection lives.
    pub fn try_raw_reply(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = reply_end(&self.buffer, self.start) {
                let reply = self.buffer[self.start..end].to_vec();
                self.start = end;
                return Ok(reply);
            }
            self.fill()?;
        }
    }

    /// A reply if one is complete within the time; `None` when nothing came.
    pub fn reply_within(&mut self, time: Duration) -> Option<Value> {
        let reply = self.try_reply_within(time);
        reply.unwrap_or_else(|error| panic!("waiting for a reply: {error}"))
    }

    /// The same on a connection that may be gone.
    pub fn try_reply_within(&mut self, time: Duration) -> io::Result<Option<Value>> {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let reply = self.try_reply();
        self.stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        match reply {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            reply => reply.map(Some),
        }
    }

    /// Everything that comes until the other side closes.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        while self.fill().is_ok() {}
        self.buffer.split_off(self.start)
    }

    /// Sends nothing more; replies still come.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let mut chunk = vec![0; 64 * 1024];
        let read = self.stream.read(&mut chunk)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(&chunk[..read]);
        Ok(())
    }
}

/// A request for a message: its words, shortened.
fn describe(words: &[Vec<u8>]) -> String {
    let line = words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
    line.chars().take(120).collect()
}

/// Where the reply that begins at `at` ends, if all of it is there.
fn reply_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut position = at;
    let mut wanted = 1_usize;
    while wanted > 0 {
        wanted -= 1;
        let (kind, header, after) = header(bytes, position)?;
        position = after;
        match kind {
            b'$' | b'=' | b'!' => {
                if let Ok(length) = usize::try_from(header) {
                    position = after + length + 2;
                }
            }
            b'*' | b'~' | b'>' => wanted += usize::try_from(header).unwrap_or(0),
            b'%' => wanted += 2 * usize::try_from(header).unwrap_or(0),
            _ => {}
        }
        if position > bytes.len() {
            return None;
        }
    }
    Some(position)
}

/// The type byte, the number beside it (0 where it is none) and the position after the line.
fn header(bytes: &[u8], at: usize) -> Option<(u8, i64, usize)> {
    let rest = bytes.get(at..)?;
    let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let number = std::str::from_utf8(&rest[1..length]).ok().and_then(|text| text.parse().ok());
    Some((rest[0], number.unwrap_or(0), at + length + 2))
}

/// Understands a reply that is known to be complete.
fn parse(bytes: &[u8], at: &mut usize) -> Value {
    let (kind, number, after) = header(bytes, *at).expect("a complete reply");
    let line = bytes[*at + 1..after - 2].to_vec();
    *at = after;
    match kind {
        b'+' | b',' | b'#' | b'(' => Value::Simple(line),
        b'-' => Value::Error(line),
        b':' => Value::Integer(number),
        b'_' => Value::Null,
        b'$' | b'*' if number < 0 => Value::Null,
        b'$' => Value::Bulk(body(bytes, at, number)),
        b'=' => Value::Bulk(body(bytes, at, number).split_off(4)),
        b'!' => Value::Error(body(bytes, at, number)),
        b'*' | b'~' => Value::Array((0..number).map(|_| parse(bytes, at)).collect()),
        b'%' => Value::Array((0..2 * number).map(|_| parse(bytes, at)).collect()),
        b'>' => Value::Push((0..number).map(|_| parse(bytes, at)).collect()),
        other => panic!("unknown reply type {other:#04x}"),
    }
}

fn body(bytes: &[u8], at: &mut usize, length: i64) -> Vec<u8> {
    let start = *at;
    let end = start + usize::try_from(length).unwrap();
    *at = end + 2;
    bytes[start..end].to_vec()
}
