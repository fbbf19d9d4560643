//! For tests: a server on the loopback that holds a few small values, answers as it is told, and
//! remembers what it heard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::io::read_buf;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Endpoint;
use crate::protocol::resp::{Decoder, Request};

/// `SET k 1` and `DUMP k` on Redis 7.0.
pub(crate) const ONE: &[u8] = b"\x00\xc0\x01\x0a\x00\x26x\xe7\xb6\xd1\x01\x11\xfc";
/// An answer that closes the connection.
pub(crate) const HANG_UP: &[u8] = b"";

/// What a test says to a request, in words; `None`: what a server would.
type Say = dyn Fn(&str) -> Option<&'static [u8]> + Send + Sync;

struct State {
    say: Box<Say>,
    heard: Mutex<Vec<String>>,
    values: Mutex<BTreeMap<Bytes, Bytes>>,
    run_id: Mutex<&'static str>,
}

/// A served script; it ends when dropped.
pub(crate) struct Scripted {
    pub(crate) endpoint: Endpoint,
    state: Arc<State>,
    _stop: DropGuard,
}

impl Scripted {
    pub(crate) async fn start(
        say: impl Fn(&str) -> Option<&'static [u8]> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            say: Box::new(say),
            heard: Mutex::default(),
            values: Mutex::default(),
            run_id: Mutex::new("one"),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, state.clone())));
        Self { endpoint: url.parse().unwrap(), state, _stop: stop.drop_guard() }
    }

    /// One that says what a server would.
    pub(crate) async fn holding(keys: &[&'static str]) -> Self {
        let server = Self::start(|_| None).await;
        for key in keys {
            server.put(key, ONE);
        }
        server
    }

    pub(crate) fn put(&self, key: &'static str, payload: &'static [u8]) {
        let payload = Bytes::from_static(payload);
        self.state.values.lock().insert(Bytes::from_static(key.as_bytes()), payload);
    }

    /// Another process answers from now on.
    pub(crate) fn replace(&self, run_id: &'static str) {
        *self.state.run_id.lock() = run_id;
    }

    /// Requests that begin so.
    pub(crate) fn heard(&self, beginning: &str) -> Vec<String> {
        let heard = self.state.heard.lock();
        heard.iter().filter(|request| request.starts_with(beginning)).cloned().collect()
    }

    /// Waits until it has heard so many of them.
    pub(crate) async fn until_heard(&self, beginning: &str, times: usize) {
        let heard = async {
            while self.heard(beginning).len() < times {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), heard).await.unwrap();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    for id in 1_u64.. {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, state.clone(), id));
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>, id: u64) {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    loop {
        while let Some(request) = decoder.next(&mut buffer).unwrap() {
            let answer = state.answer(&request, id);
            if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        if read_buf(&mut stream, &mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

impl State {
    fn answer(&self, request: &Request, id: u64) -> Vec<u8> {
        let words: Vec<_> = request.args().map(String::from_utf8_lossy).collect();
        let words = words.join(" ");
        self.heard.lock().push(words.clone());
        match (self.say)(&words) {
            Some(answer) => answer.to_vec(),
            None => self.as_a_server(request, &words, id),
        }
    }

    fn as_a_server(&self, request: &Request, words: &str, id: u64) -> Vec<u8> {
        let values = self.values.lock();
        let key = request.arg(1).unwrap_or_default();
        let of = |key: &[u8], there: &str, gone: &str| {
            if values.contains_key(key) { there } else { gone }.as_bytes().to_vec()
        };
        match words.split(' ').next().unwrap_or_default() {
            "PING" => b"+PONG\r\n".to_vec(),
            "CLIENT" if words == "CLIENT ID" => format!(":{id}\r\n").into_bytes(),
            "INFO" if words == "INFO keyspace" => {
                bulk(format!("db0:keys={},expires=0\r\n", values.len()).as_bytes())
            }
            "INFO" => {
                let run_id = *self.run_id.lock();
                bulk(
                    format!("redis_version:7.0.15\r\nrun_id:{run_id}\r\nrole:master\r\n")
                        .as_bytes(),
                )
            }
            "SCAN" => {
                let keys: Vec<u8> = values.keys().flat_map(|key| bulk(key)).collect();
                [format!("*2\r\n$1\r\n0\r\n*{}\r\n", values.len()).as_bytes(), &keys].concat()
            }
            "DUMP" => values.get(key).map_or(b"$-1\r\n".to_vec(), |payload| bulk(payload)),
            "EXISTS" | "STRLEN" => of(key, ":1\r\n", ":0\r\n"),
            "PTTL" | "PEXPIRETIME" => of(key, ":-1\r\n", ":-2\r\n"),
            "TYPE" => of(key, "+string\r\n", "+none\r\n"),
            "MEMORY" | "OBJECT" => of(request.arg(2).unwrap_or_default(), ":1\r\n", "$-1\r\n"),
            _ => b"+OK\r\n".to_vec(),
        }
    }
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}
