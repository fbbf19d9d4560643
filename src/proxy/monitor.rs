//! `MONITOR`: the clients' commands as they reach the proxy.
//!
//! The server's own would show the lanes: commands of many clients under one address, and probes
//! that no client sent. So the monitor is fed here. It sees every client in every phase, also
//! across a flip; it does not see writers that go round crossfade, nor what scripts call.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};

use super::client::{Client, Close};
use crate::lane::Job;
use crate::protocol::command::{self, Connection, Serve};
use crate::protocol::resp::Request;

impl Client {
    /// The server decides whether this user may, on a connection that is spoilt by it.
    pub(super) async fn monitor(&mut self, request: Request) -> Result<(), Close> {
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(refusal) => {
                self.refused(&refusal);
                return Ok(());
            }
        };
        let answer = connection.ask(Job::pass, request.clone()).await;
        let answer = answer.and_then(Result::ok).ok_or(Close::Now)?;
        self.take_note(&request, &answer);
        if self.session.monitors {
            self.shared.registry.monitor(&self.entry);
        }
        Ok(())
    }

    /// Shows a request to all monitors, as the server would: a monitor that leaves by `RESET` is one
    /// no more when its turn has come.
    pub(super) fn show_monitors(&self, request: &Request) {
        if !is_shown(request) {
            return;
        }
        let line = self.monitored(request);
        let leaves = request.is(0, "RESET");
        for monitor in self.shared.registry.monitors() {
            if !(leaves && monitor.id == self.entry.id) {
                monitor.replies.push(&line);
            }
        }
    }

    fn monitored(&self, request: &Request) -> Bytes {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let address = self.entry.address.map_or_else(|| "unix:".to_owned(), |own| own.to_string());
        let mut line = BytesMut::new();
        let head = format!(
            "+{}.{:06} [{} {address}]",
            now.as_secs(),
            now.subsec_micros(),
            self.session.context.db
        );
        line.put_slice(head.as_bytes());
        for arg in request.args() {
            line.put_u8(b' ');
            quote(&mut line, arg);
        }
        line.put_slice(b"\r\n");
        line.freeze()
    }
}

/// Administration and passwords are not shown.
fn is_shown(request: &Request) -> bool {
    let serve = command::lookup(request).map(|command| command.serve);
    !matches!(
        serve,
        Some(
            Serve::Admin
                | Serve::Refused(_)
                | Serve::Connection(Connection::Auth | Connection::Hello | Connection::Monitor)
        )
    )
}

/// As the server quotes: what is not printable becomes an escape.
fn quote(line: &mut BytesMut, arg: &[u8]) {
    line.put_u8(b'"');
    for byte in arg {
        match byte {
            b'\\' | b'"' => line.put_slice(&[b'\\', *byte]),
            b'\n' => line.put_slice(b"\\n"),
            b'\r' => line.put_slice(b"\\r"),
            b'\t' => line.put_slice(b"\\t"),
            0x07 => line.put_slice(b"\\a"),
            0x08 => line.put_slice(b"\\b"),
            b' '..=b'~' => line.put_u8(*byte),
            other => line.put_slice(format!("\\x{other:02x}").as_bytes()),
        }
    }
    line.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_quoted_as_the_server_does() {
        let mut line = BytesMut::new();
        quote(&mut line, b"a \"b\"\\\n\r\t\x07\x08\x00\xff");
        assert_eq!(line, br#""a \"b\"\\\n\r\t\a\b\x00\xff""#.as_slice());
    }

    #[test]
    fn passwords_and_administration_are_not_shown() {
        for hidden in ["AUTH secret", "HELLO 3 AUTH a b", "CONFIG SET requirepass x", "MONITOR"] {
            assert!(!is_shown(&Request::new(hidden.split(' '))), "{hidden}");
        }
        assert!(is_shown(&Request::new(["GET", "k"])) && is_shown(&Request::new(["NOSUCH"])));
    }
}
