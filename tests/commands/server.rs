//! A `redis-server` of the test's own, and the smallest client that can speak to it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use crossfade::protocol::resp::{Reply, Request, Scanner};
use tempfile::TempDir;

/// A server on a unix socket in a directory of its own; both go with this value.
pub(crate) struct Server {
    process: Child,
    dir: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let binary = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        Self::of(Path::new(&binary))
    }

    /// The server of a program.
    pub(crate) fn of(program: &Path) -> Self {
        let dir = TempDir::new().unwrap();
        let process = Command::new(program)
            .args(["--port", "0", "--save", "", "--unixsocket", "socket"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, dir }
    }

    /// A connection, as soon as the server takes one.
    pub(crate) fn connect(&self) -> Client {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match UnixStream::connect(self.dir.path().join("socket")) {
                Ok(stream) => return Client { stream, buffer: BytesMut::new() },
                Err(error) if Instant::now() > deadline => panic!("no server: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One blocking connection.
pub(crate) struct Client {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Client {
    /// Sends all requests at once and waits for all replies.
    pub(crate) fn pipeline(&mut self, requests: &[Request]) -> Vec<Reply> {
        let bytes: Vec<u8> = requests.iter().flat_map(|request| request.raw().to_vec()).collect();
        self.stream.write_all(&bytes).unwrap();
        requests.iter().map(|_| self.receive()).collect()
    }

    pub(crate) fn send(&mut self, request: &Request) -> Reply {
        self.pipeline(std::slice::from_ref(request)).remove(0)
    }

    /// A request without blanks in its arguments.
    pub(crate) fn ask(&mut self, text: &str) -> Reply {
        self.send(&Request::new(text.split(' ')))
    }

    fn receive(&mut self) -> Reply {
        let mut scanner = Scanner::default();
        let mut chunk = vec![0; 65536];
        loop {
            if let Some(frame) = scanner.next(&mut self.buffer).unwrap() {
                return Reply::parse(&frame.raw).unwrap();
            }
            let len = self.stream.read(&mut chunk).unwrap();
            assert_ne!(len, 0, "the server has closed the connection");
            self.buffer.extend_from_slice(&chunk[..len]);
        }
    }
}

pub(crate) fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(reply.text().unwrap_or_else(|| panic!("no text: {reply:?}"))).into()
}
