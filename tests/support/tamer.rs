//! A TCP proxy with moods, between crossfade and a server: it delays, swallows, refuses and cuts.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the proxy treats what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Everything passes at once.
    Calm,
    /// Every piece waits so long before it passes.
    Slow(Duration),
    /// Every piece waits, on each connection for a time of its own up to so long: what one connection
    /// says comes before or after what another said first.
    Uneven(Duration),
    /// Requests pass, replies vanish.
    SwallowReplies,
    /// Everything vanishes, and nobody is told.
    Swallow,
    /// Requests pass; the replies look well and are wrong.
    Lie,
    /// Requests pass; the replies are no RESP.
    Garble,
    /// Nothing is read any more; what was read stays where it is.
    Stuck,
    /// New connections are closed at once.
    Refusing,
}

struct Shared {
    upstream: Mutex<String>,
    temper: Mutex<Temper>,
    connections: Mutex<Vec<TcpStream>>,
    accepted: AtomicU64,
    refused: AtomicU64,
    over: AtomicBool,
}

/// The proxy; every connection is cut on drop.
pub struct Tamer {
    shared: Arc<Shared>,
    port: u16,
}

impl Tamer {
    /// Listens on a free port and passes everything to the address.
    pub fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream.to_owned()),
            temper: Mutex::new(Temper::Calm),
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { shared, port }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of a server without a password behind it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Changes the mood, for open connections too.
    pub fn set(&self, temper: Temper) {
        *self.shared.temper.lock().unwrap() = temper;
    }

    /// Passes new connections to another address, as a name or a virtual address does that moves.
    pub fn switch(&self, upstream: &str) {
        upstream.clone_into(&mut self.shared.upstream.lock().unwrap());
    }

    /// Closes every open connection.
    pub fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _already_closed = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many connections have been closed at once.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Tamer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the accepting thread, which then ends.
        let _refused = TcpStream::connect(self.address());
    }
}

impl Shared {
    fn temper(&self) -> Temper {
        *self.temper.lock().unwrap()
    }

    fn wait_while_stuck(&self) {
        while self.temper() == Temper::Stuck && !self.is_over() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// One way of one connection.
#[derive(Clone, Copy)]
struct Direction {
    replies: bool,
    /// Its share of an uneven delay, in eighths.
    patience: u64,
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().map_while(Result::ok) {
        if shared.is_over() {
            return;
        }
        if shared.temper() == Temper::Refusing {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let upstream = shared.upstream.lock().unwrap().clone();
        let Ok(server) = TcpStream::connect(upstream) else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
        pass(&client, &server, shared, Direction { replies: false, patience: number * 5 % 8 });
        pass(&server, &client, shared, Direction { replies: true, patience: number * 3 % 8 });
        shared.connections.lock().unwrap().extend([client, server]);
    }
}

/// Passes one direction in a thread of its own.
fn pass(from: &TcpStream, to: &TcpStream, shared: &Arc<Shared>, direction: Direction) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let shared = Arc::clone(shared);
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 * 1024];
        while !shared.is_over() {
            shared.wait_while_stuck();
            match from.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => {
                    // It may have been set while this was waited for.
                    shared.wait_while_stuck();
                    if !forward(&shared, &mut to, &mut piece[..length], direction) {
                        break;
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
        let _already_closed = to.shutdown(std::net::Shutdown::Both);
        let _already_closed = from.shutdown(std::net::Shutdown::Both);
    });
}

/// Passes a piece as the mood wants; false when the other side is gone.
fn forward(shared: &Shared, to: &mut TcpStream, piece: &mut [u8], direction: Direction) -> bool {
    let Direction { replies, patience } = direction;
    match shared.temper() {
        Temper::SwallowReplies if replies => return true,
        Temper::Swallow => return true,
        Temper::Lie if replies => turn_into_lies(piece),
        Temper::Garble if replies => piece.fill(b'?'),
        Temper::Slow(delay) => std::thread::sleep(delay),
        Temper::Uneven(most) => std::thread::sleep(most.mul_f64(patience as f64 / 8.0)),
        _ => {}
    }
    to.write_all(piece).is_ok()
}

/// Says 1 for 0, 0 for 1, and something else than `OK`.
fn turn_into_lies(piece: &mut [u8]) {
    for at in 0..piece.len().saturating_sub(3) {
        match &mut piece[at..at + 4] {
            [b':', digit @ (b'0' | b'1'), b'\r', b'\n'] => *digit ^= 1,
            [b'+', first @ b'O', second @ b'K', b'\r'] => std::mem::swap(first, second),
            _ => {}
        }
    }
}
