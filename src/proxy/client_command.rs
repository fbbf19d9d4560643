//! `CLIENT`: the proxy's own clients, not the connections behind it.
//!
//! Whether a user may, and whether the arguments are right, is the server's to say, in the words of
//! its version: it is asked the same in a form that can do no harm there.

use bytes::Bytes;

use super::client::{Client, Close, Replies};
use super::connection::with_integer_behind;
use super::listing::{Filter, describe, fields};
use super::registry::Entry;
use crate::resp::{self, Request, parse_integer};

/// An address that no client has.
const NOBODY: &[u8] = b"crossfade:0";

impl Client {
    pub(super) async fn client_command(&mut self, request: Request) -> Result<(), Close> {
        let subcommand = request.arg(1).unwrap_or_default().to_ascii_uppercase();
        match (subcommand.as_slice(), request.len()) {
            (b"REPLY", 3) => return self.client_reply(&request).await,
            (b"TRACKING", 3..) => return self.client_tracking(request).await,
            (b"NO-TOUCH", 3) => return self.client_no_touch(request).await,
            _ => {}
        }
        self.settle().await?;
        let Some(question) = harmless(&subcommand, &request) else {
            // About the connection's own state, unknown or malformed: the server's answer is it.
            return self.pass(request).await;
        };
        let Some(answer) = self.ask(&question).await? else { return Ok(()) };
        if answer.starts_with(b"-") {
            self.reply(|out| out.extend_from_slice(&answer));
            return Ok(());
        }
        // Whom the server does not find may be here; then another list shows what a line looks like.
        let is_empty = subcommand == b"LIST" && !contains(&answer, b"id=");
        let every = Request::new(["CLIENT", "LIST"]);
        let answer = if is_empty { self.ask(&every).await? } else { Some(answer) };
        answer.map_or(Ok(()), |answer| self.answer_client(&request, &answer))
    }

    /// Does what `request` asks for and answers it; `answer` is the server's to the harmless
    /// question.
    pub(super) fn answer_client(&mut self, request: &Request, answer: &Bytes) -> Result<(), Close> {
        self.show();
        match request.arg(1).unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"ID" => self.reply_integer(self.entry.id as i64),
            b"GETNAME" => self.client_getname(),
            b"SETNAME" => self.client_setname(request, answer),
            b"SETINFO" => self.client_setinfo(request, answer),
            b"INFO" => {
                let line = describe(&self.entry, &fields(answer), request.raw().len());
                self.reply_text(&line);
            }
            b"LIST" => self.client_list(request, answer),
            b"NO-EVICT" => {
                self.entry.seen.lock().no_evict = request.is(2, "ON");
                self.reply(|out| out.extend_from_slice(answer));
            }
            b"KILL" => return self.client_kill(request),
            b"UNBLOCK" => self.client_unblock(request),
            b"PAUSE" => {
                self.client_pause(request);
                self.reply(|out| out.extend_from_slice(answer));
            }
            b"UNPAUSE" => {
                self.shared.pause.end();
                self.reply(|out| out.extend_from_slice(answer));
            }
            b"GETREDIR" => self.reply_redirect(b":", answer),
            b"TRACKINGINFO" => self.reply_redirect(b"$8\r\nredirect\r\n:", answer),
            _ => self.reply(|out| out.extend_from_slice(answer)),
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

    fn reply_text(&mut self, text: &str) {
        let protocol = self.context.protocol;
        self.reply(|out| resp::verbatim(out, text, protocol));
    }

    /// The answer with the proxy's own number of the client that invalidations go to.
    fn reply_redirect(&mut self, before: &[u8], answer: &Bytes) {
        let answer = match self.standing.redirect() {
            Some(client) => with_integer_behind(answer, before, client),
            None => answer.clone(),
        };
        self.reply(|out| out.extend_from_slice(&answer));
    }

    fn client_getname(&mut self) {
        let name = self.entry.seen.lock().name.clone();
        let protocol = self.context.protocol;
        self.reply(|out| match name.as_str() {
            "" => resp::null(out, protocol),
            name => resp::text(out, name.as_bytes()),
        });
    }

    fn client_setname(&mut self, request: &Request, answer: &Bytes) {
        let name = request.arg(2).unwrap_or_default();
        self.entry.seen.lock().name = String::from_utf8_lossy(name).into_owned();
        self.reply(|out| out.extend_from_slice(answer));
    }

    fn client_setinfo(&mut self, request: &Request, answer: &Bytes) {
        let value = request.arg(3).unwrap_or_default();
        let value = String::from_utf8_lossy(value).into_owned();
        let mut seen = self.entry.seen.lock();
        if request.is(2, "LIB-NAME") {
            seen.library = value;
        } else {
            seen.library_version = value;
        }
        drop(seen);
        self.reply(|out| out.extend_from_slice(answer));
    }

    fn client_list(&mut self, request: &Request, answer: &Bytes) {
        let options: Vec<&[u8]> = request.args().skip(2).collect();
        match Filter::parse(&options) {
            Ok(filter) => {
                let entries = self.shared.registry.all();
                let chosen = entries.iter().filter(|entry| self.chooses(&filter, entry));
                let fields = fields(answer);
                let asks = |entry: &Entry| {
                    if entry.id == self.entry.id { request.raw().len() } else { 0 }
                };
                let list: String =
                    chosen.map(|entry| describe(entry, &fields, asks(entry))).collect();
                self.reply_text(&list);
            }
            Err(option) => self.refuse_option(&option),
        }
    }

    fn chooses(&self, filter: &Filter, entry: &Entry) -> bool {
        let asks = entry.id == self.entry.id;
        filter.admits(entry) && !(asks && filter.skips_asker == Some(true))
    }

    fn refuse_option(&mut self, option: &str) {
        self.error(&format!("ERR crossfade: clients can't be chosen by {option} here"));
    }

    fn client_kill(&mut self, request: &Request) -> Result<(), Close> {
        let by_address = request.len() == 3;
        let options: Vec<&[u8]> = request.args().skip(2).collect();
        let filter = match options.as_slice() {
            [address] => Filter::parse(&[b"ADDR", address, b"SKIPME", b"no"]),
            options => Filter::parse(options),
        };
        let mut filter = match filter {
            Ok(filter) => filter,
            Err(option) => {
                self.refuse_option(&option);
                return Ok(());
            }
        };
        filter.skips_asker.get_or_insert(true);
        let mut victims = self.shared.registry.all();
        victims.retain(|entry| self.chooses(&filter, entry));
        for victim in victims.iter().filter(|victim| victim.id != self.entry.id) {
            // It is gone for everybody who asks now; its task ends in its own time.
            self.shared.registry.leave(victim.id);
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
        let waiting = id.and_then(|id| self.shared.registry.find(id)).and_then(|entry| {
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

/// The same question in a form that does nothing to the server and to the connections that
/// crossfade has there. `None`: as it is it does nothing, and its answer is the client's.
fn harmless(subcommand: &[u8], request: &Request) -> Option<Request> {
    let with = |at: usize, value: &[u8]| {
        let args = request.args().enumerate();
        Request::new(args.map(|(index, arg)| if index == at { value } else { arg }))
    };
    let is_integer = request.arg(2).is_some_and(|arg| parse_integer(arg).is_some());
    match (subcommand, request.len()) {
        // What is accepted becomes the lane's name: its own again.
        (b"SETNAME", 3) if is_clean(request.arg(2)) => Some(with(2, b"crossfade-lane")),
        (b"SETINFO", 4) if is_clean(request.arg(3)) => Some(with(3, b"crossfade")),
        (b"ID" | b"GETNAME" | b"INFO" | b"GETREDIR" | b"TRACKINGINFO" | b"UNPAUSE", 2)
        | (b"SETNAME", 3)
        | (b"SETINFO", 4)
        | (b"LIST", _) => Some(request.clone()),
        (b"NO-EVICT", 3) if request.is(2, "ON") => Some(with(2, b"OFF")),
        (b"KILL", 3) => Some(Request::new([b"CLIENT".as_ref(), b"KILL", b"ADDR", NOBODY])),
        (b"KILL", 4..) => Some(Request::new(request.args().chain([b"ADDR".as_ref(), NOBODY]))),
        (b"UNBLOCK", 3 | 4) => Some(if is_integer { with(2, b"0") } else { request.clone() }),
        (b"PAUSE", 3 | 4) if is_integer && request.arg(2)?.first() != Some(&b'-') => {
            Some(with(2, b"0"))
        }
        (b"CAPA", 3..) => Some(Request::new(["CLIENT", "CAPA", "none"])),
        _ => None,
    }
}

/// What a server is to queue in the place of a `CLIENT` command; `None` for one that would change
/// the connection which the queue is lent, or take away the reply that it is part of.
pub(super) fn queueable_question(request: &Request) -> Option<Request> {
    let subcommand = request.arg(1).unwrap_or_default().to_ascii_uppercase();
    match (subcommand.as_slice(), request.len()) {
        (b"REPLY", 3) if request.is(2, "ON") => Some(request.clone()),
        (b"TRACKING", 3..) | (b"NO-TOUCH" | b"REPLY", 3) => None,
        _ => Some(harmless(&subcommand, request).unwrap_or_else(|| request.clone())),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether a server takes it as a name.
fn is_clean(text: Option<&[u8]>) -> bool {
    text.is_some_and(|text| text.iter().all(|byte| (b'!'..=b'~').contains(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_asked_in_a_form_that_does_nothing() {
        let question = |line: &str| {
            let request = Request::new(line.split(' '));
            let subcommand = request.arg(1).unwrap().to_ascii_uppercase();
            let question = harmless(&subcommand, &request)?;
            let args = question.args().map(String::from_utf8_lossy);
            Some(args.collect::<Vec<_>>().join(" "))
        };
        for (line, expected) in [
            ("CLIENT KILL 1.2.3.4:5", "CLIENT KILL ADDR crossfade:0"),
            ("CLIENT KILL ID 7", "CLIENT KILL ID 7 ADDR crossfade:0"),
            ("CLIENT KILL ADDR a:1 USER b", "CLIENT KILL ADDR a:1 USER b ADDR crossfade:0"),
            ("CLIENT UNBLOCK 17 ERROR", "CLIENT UNBLOCK 0 ERROR"),
            ("CLIENT UNBLOCK x", "CLIENT UNBLOCK x"),
            ("client pause 5000 write", "client pause 0 write"),
            ("CLIENT SETNAME someone", "CLIENT SETNAME crossfade-lane"),
            ("CLIENT NO-EVICT ON", "CLIENT NO-EVICT OFF"),
            ("CLIENT LIST ID 1", "CLIENT LIST ID 1"),
        ] {
            assert_eq!(question(line).as_deref(), Some(expected), "{line}");
        }
        for line in ["CLIENT PAUSE -5", "CLIENT PAUSE x", "CLIENT HELP", "CLIENT KILL"] {
            assert_eq!(question(line), None, "{line} is refused by itself, or harmless");
        }
    }
}
