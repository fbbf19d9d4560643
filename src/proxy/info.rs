//! `INFO`: the primary's, but what it counts of clients are the proxy's, as `CLIENT LIST` has them.

use bytes::{Bytes, BytesMut};

use super::Shared;
use super::client::{Client, Close};
use super::registry::Seen;
use super::session::Wait;
use crate::protocol::resp::Request;

impl Client {
    pub(super) async fn info(&mut self, request: Request) -> Result<(), Close> {
        if let Some(answer) = self.ask(|_| request.clone()).await? {
            self.answer_info(&answer);
        }
        Ok(())
    }

    /// Passes on what the server says of itself, with the clients that are here.
    pub(super) fn answer_info(&mut self, answer: &Bytes) {
        self.show();
        let figures = Figures::of(&self.shared);
        let told = rewritten(answer, |name| figures.get(name)).unwrap_or_else(|| answer.clone());
        self.reply(|out| out.extend_from_slice(&told));
    }
}

/// What `INFO` counts of the clients. Keys that they watch or wait for are counted by the server,
/// where each of them does so on a connection of its own.
#[derive(Debug)]
struct Figures {
    clients: Vec<Seen>,
    limit: usize,
}

impl Figures {
    fn of(shared: &Shared) -> Self {
        let entries = shared.registry.all();
        let clients = entries.iter().map(|entry| entry.seen.lock().clone()).collect();
        Self { clients, limit: shared.limits.clients }
    }

    /// The figure of this name, if it is one of clients.
    fn get(&self, name: &[u8]) -> Option<usize> {
        Some(match name {
            b"connected_clients" => self.clients.len(),
            b"maxclients" => self.limit,
            b"blocked_clients" => self.count(|seen| seen.wait.is_some()),
            b"tracking_clients" => self.count(|seen| seen.tracking.on),
            b"pubsub_clients" => self.count(Seen::subscribes),
            b"watching_clients" => self.count(|seen| seen.watched > 0),
            b"clients_in_timeout_table" => self.count(|seen| seen.wait == Some(Wait::Timed)),
            _ => return None,
        })
    }

    fn count(&self, is: impl Fn(&Seen) -> bool) -> usize {
        self.clients.iter().filter(|seen| is(seen)).count()
    }
}

/// The bulk or verbatim string `reply` with other figures in its lines `name:figure`. `None`: it is
/// no such string.
fn rewritten(reply: &Bytes, figure: impl Fn(&[u8]) -> Option<usize>) -> Option<Bytes> {
    let kind = reply.first().filter(|kind| matches!(kind, b'$' | b'='))?;
    let header = reply.iter().position(|byte| *byte == b'\n')? + 1;
    let text = reply.get(header..)?.strip_suffix(b"\r\n")?;
    let mut told = Vec::with_capacity(text.len() + 32);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, _) = line.split_at(colon);
        let Some(figure) = figure(name) else {
            told.extend_from_slice(line);
            continue;
        };
        told.extend_from_slice(name);
        told.extend_from_slice(format!(":{figure}\r\n").as_bytes());
    }
    let mut out = BytesMut::with_capacity(told.len() + 32);
    out.extend_from_slice(&[*kind]);
    out.extend_from_slice(format!("{}\r\n", told.len()).as_bytes());
    out.extend_from_slice(&told);
    out.extend_from_slice(b"\r\n");
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reply: &'static str) -> Option<String> {
        let figure = |name: &[u8]| (name == b"blocked_clients").then_some(17);
        let told = rewritten(&Bytes::from_static(reply.as_bytes()), figure)?;
        Some(String::from_utf8(told.to_vec()).unwrap())
    }

    #[test]
    fn figures_are_put_in_their_lines_and_the_length_is_right() {
        let bulk = "$30\r\n# Clients\r\nblocked_clients:0\r\n\r\n";
        let expected = "$31\r\n# Clients\r\nblocked_clients:17\r\n\r\n";
        assert_eq!(told(bulk).as_deref(), Some(expected));
        let verbatim = "=37\r\ntxt:# Clients\r\nblocked_clients:0\r\nx\r\n\r\n";
        let expected = "=38\r\ntxt:# Clients\r\nblocked_clients:17\r\nx\r\n\r\n";
        assert_eq!(told(verbatim).as_deref(), Some(expected));
        let other = "$27\r\nmy_blocked_clients:0\r\nx:y\r\n\r\n";
        assert_eq!(told(other).as_deref(), Some(other));
    }

    #[test]
    fn what_is_no_text_stays_as_it_is() {
        for reply in ["-NOPERM no\r\n", "_\r\n", ":1\r\n"] {
            assert_eq!(told(reply), None);
        }
    }
}
