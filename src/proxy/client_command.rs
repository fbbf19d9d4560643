//! `CLIENT`: the proxy's own clients, not the connections behind it.

use std::fmt::Write as _;

use super::client::{Client, Close, Replies};
use super::registry::Entry;
use crate::resp::{self, Request, parse_integer};

impl Client {
    pub(super) async fn client_command(&mut self, request: Request) -> Result<(), Close> {
        let subcommand = request.arg(1).unwrap_or_default().to_ascii_uppercase();
        if subcommand == b"REPLY" && request.len() == 3 {
            return self.client_reply(&request).await;
        }
        self.settle().await?;
        match (subcommand.as_slice(), request.len()) {
            (b"ID", 2) => self.reply_integer(self.entry.id as i64),
            (b"GETNAME", 2) => self.client_getname(),
            (b"SETNAME", 3) => self.client_setname(&request),
            (b"SETINFO", 4) => self.client_setinfo(&request),
            (b"INFO", 2) => {
                let line = describe(&self.entry);
                self.reply(|out| resp::bulk(out, line.as_bytes()));
            }
            (b"LIST", _) => self.client_list(&request),
            (b"NO-EVICT" | b"NO-TOUCH", 3) if request.is(2, "ON") || request.is(2, "OFF") => {
                self.reply(|out| resp::simple(out, "OK"));
            }
            (b"KILL", 3..) => return self.client_kill(&request),
            (b"UNBLOCK", 3 | 4) => self.client_unblock(&request),
            (b"PAUSE" | b"UNPAUSE", _) => {
                return self.refuse("CLIENT PAUSE would stop every client of the lanes").await;
            }
            (b"TRACKING" | b"CACHING" | b"TRACKINGINFO" | b"GETREDIR", _) => {
                return self.track(request).await;
            }
            // Unknown or malformed: the server says so, and nothing has changed.
            _ => return self.pass(request).await,
        }
        Ok(())
    }

    async fn client_reply(&mut self, request: &Request) -> Result<(), Close> {
        self.settle().await?;
        if request.is(2, "ON") {
            self.replies = Replies::On;
            self.reply(|out| resp::simple(out, "OK"));
        } else if request.is(2, "OFF") {
            self.replies = Replies::Off;
        } else if request.is(2, "SKIP") {
            if self.replies != Replies::Off {
                self.replies = Replies::SkipNext;
            }
        } else {
            self.error("ERR syntax error");
        }
        Ok(())
    }

    fn reply_integer(&mut self, value: i64) {
        self.reply(|out| resp::integer(out, value));
    }

    fn client_getname(&mut self) {
        let name = self.entry.seen.lock().name.clone();
        let protocol = self.context.protocol;
        self.reply(|out| match name.as_str() {
            "" => resp::null(out, protocol),
            name => resp::bulk(out, name.as_bytes()),
        });
    }

    fn client_setname(&mut self, request: &Request) {
        let name = request.arg(2).unwrap_or_default();
        if name.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
            return self
                .error("ERR Client names cannot contain spaces, newlines or special characters.");
        }
        self.entry.seen.lock().name = String::from_utf8_lossy(name).into_owned();
        self.reply(|out| resp::simple(out, "OK"));
    }

    fn client_setinfo(&mut self, request: &Request) {
        let value = request.arg(3).unwrap_or_default();
        let attribute = request.arg(2).unwrap_or_default().to_ascii_lowercase();
        if value.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
            let attribute = String::from_utf8_lossy(&attribute).into_owned();
            return self.error(&format!(
                "ERR {attribute} cannot contain spaces, newlines or special characters."
            ));
        }
        let value = String::from_utf8_lossy(value).into_owned();
        let mut seen = self.entry.seen.lock();
        match attribute.as_slice() {
            b"lib-name" => seen.library = value,
            b"lib-ver" => seen.library_version = value,
            _ => {
                drop(seen);
                let option = String::from_utf8_lossy(request.arg(2).unwrap_or_default());
                return self.error(&format!("ERR Unrecognized option '{option}'"));
            }
        }
        drop(seen);
        self.reply(|out| resp::simple(out, "OK"));
    }

    fn client_list(&mut self, request: &Request) {
        let ids: Option<Vec<u64>> = request.is(2, "ID").then(|| {
            let ids = request.args().skip(3).filter_map(parse_integer);
            ids.filter_map(|id| u64::try_from(id).ok()).collect()
        });
        let mut list = String::new();
        for entry in self.shared.registry.all() {
            if ids.as_ref().is_none_or(|ids| ids.contains(&entry.id)) {
                list.push_str(&describe(&entry));
            }
        }
        self.reply(|out| resp::bulk(out, list.as_bytes()));
    }

    fn client_kill(&mut self, request: &Request) -> Result<(), Close> {
        let by_address = request.len() == 3;
        let matches = |entry: &Entry| {
            let address = entry.address.map(|address| address.to_string()).unwrap_or_default();
            if by_address {
                return request.arg(2) == Some(address.as_bytes());
            }
            let args: Vec<&[u8]> = request.args().skip(2).collect();
            args.chunks(2).all(|pair| match pair {
                [name, value] if name.eq_ignore_ascii_case(b"ID") => {
                    parse_integer(value) == Some(entry.id as i64)
                }
                [name, value] if name.eq_ignore_ascii_case(b"ADDR") => *value == address.as_bytes(),
                [name, value] if name.eq_ignore_ascii_case(b"USER") => {
                    *value == entry.seen.lock().user.as_bytes()
                }
                [name, value] if name.eq_ignore_ascii_case(b"SKIPME") => {
                    !value.eq_ignore_ascii_case(b"yes") || entry.id != self.entry.id
                }
                _ => false,
            })
        };
        let victims: Vec<_> =
            self.shared.registry.all().into_iter().filter(|entry| matches(entry)).collect();
        for victim in victims.iter().filter(|victim| victim.id != self.entry.id) {
            victim.mailbox.doom();
        }
        match (by_address, victims.len()) {
            (true, 0) => self.error("ERR No such client"),
            (true, _) => self.reply(|out| resp::simple(out, "OK")),
            (false, count) => self.reply_integer(count as i64),
        }
        let suicide = victims.iter().any(|victim| victim.id == self.entry.id);
        if suicide { Err(Close::Gracefully) } else { Ok(()) }
    }

    fn client_unblock(&mut self, request: &Request) {
        let id = request.arg(2).and_then(parse_integer).and_then(|id| u64::try_from(id).ok());
        let error = request.is(3, "ERROR");
        let Some(id) = id else {
            return self.error("ERR value is not an integer or out of range");
        };
        let waiting = self.shared.registry.find(id).and_then(|entry| {
            let mut seen = entry.seen.lock();
            let waiting = seen.blocked.take()?;
            seen.unblocked = Some(error);
            Some(waiting)
        });
        let found = waiting.is_some();
        if let Some(waiting) = waiting {
            waiting.notify_one();
        }
        self.reply_integer(i64::from(found));
    }
}

/// A client as `CLIENT LIST` shows it.
fn describe(entry: &Entry) -> String {
    let seen = entry.seen.lock().clone();
    let address = |address: Option<std::net::SocketAddr>| {
        address.map_or_else(|| "?:0".to_owned(), |address| address.to_string())
    };
    let mut line = String::new();
    let _ = writeln!(
        line,
        "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags=N db={} sub=0 psub=0 ssub=0 \
         multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 \
         tot-mem=0 events=r cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
        entry.id,
        address(entry.address),
        address(entry.local),
        seen.name,
        entry.since.elapsed().as_secs(),
        seen.last_active.elapsed().as_secs(),
        seen.db,
        seen.last_command,
        seen.user,
        seen.resp,
        seen.library,
        seen.library_version,
    );
    line
}
