//! The measure of transparency: a plain server beside a proxied one, told the same things.

use super::migration::Migration;
use super::resp::{Resp, encode};
use super::server::Server;

/// A server, and another one behind the proxy.
pub struct Twins {
    /// The server that clients reach directly.
    pub plain: Server,
    /// The one that they reach through the proxy.
    pub migration: Migration,
}

impl Twins {
    /// Both, empty.
    pub fn start() -> Self {
        Self { plain: Server::source(), migration: Migration::start() }
    }

    /// Says the same to both, each word list by the client of its number, and compares the replies.
    pub fn agree_on(&self, script: &[(usize, &str)]) {
        let clients = 1 + script.iter().map(|(client, _)| *client).max().unwrap();
        let mut plain: Vec<Resp> = (0..clients).map(|_| self.plain.client()).collect();
        let mut proxied: Vec<Resp> = (0..clients).map(|_| self.migration.client()).collect();
        for (client, line) in script {
            let request = encode(*line);
            let (expected, got) = (&mut plain[*client], &mut proxied[*client]);
            expected.send_raw(&request);
            got.send_raw(&request);
            assert_same(line, &expected.raw_reply(), &got.raw_reply());
        }
    }
}

/// Fails the test unless the bytes are equal, with the request that they answer.
pub fn assert_same(request: &str, expected: &[u8], got: &[u8]) {
    if let Some(difference) = difference(request, expected, got) {
        panic!("{difference}");
    }
}

/// How two replies to one request differ, in words.
pub fn difference(request: &str, expected: &[u8], got: &[u8]) -> Option<String> {
    let (server, proxy) = (expected.escape_ascii(), got.escape_ascii());
    (expected != got).then(|| format!("{request}\n  server: {server}\n  proxy:  {proxy}"))
}
