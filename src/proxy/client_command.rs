//! `CLIENT`: the proxy's own clients, not the connections behind it.

use bytes::Bytes;

use super::Route;
use super::client::{Client, Close};
use super::connection::with_id;
use super::listing::{Filter, describe, fields};
use super::registry::Entry;
use super::session::harmless;
use crate::protocol::resp::{self, Request, parse_integer};

impl Client {
    pub(super) async fn client_command(&mut self, request: Request) -> Result<(), Close> {
        let subcommand = request.arg(1).unwrap_or_default().to_ascii_uppercase();
        match (subcommand.as_slice(), request.len()) {
            (b"REPLY", 3) => {
                self.client_reply(&request);
                return Ok(());
            }
            (b"TRACKING", 3..) | (b"NO-TOUCH", 3) => return self.client_setting(request).await,
            _ => {}
        }
        let Some(question) = harmless(&subcommand, &request) else {
            // About the connection's own state, unknown or malformed: the server's answer is it.
            return self.pass(request).await;
        };
        let Some(answer) = self.ask(|_| question.clone()).await? else { return Ok(()) };
        if answer.starts_with(b"-") {
            self.reply(|out| out.extend_from_slice(&answer));
            return Ok(());
        }
        // Whom the server does not find may be here; then another list shows what a line looks like.
        let is_empty = subcommand == b"LIST" && !contains(&answer, b"id=");
        let every = |_: &Route| Request::new(["CLIENT", "LIST"]);
        let answer = if is_empty { self.ask(every).await? } else { Some(answer) };
        answer.map_or(Ok(()), |answer| self.answer_client(&request, &answer))
    }

    /// Does what `request` asks for and answers it; `answer` is the server's to the harmless
    /// question.
    pub(super) fn answer_client(&mut self, request: &Request, answer: &Bytes) -> Result<(), Close> {
        self.show();
        match request.arg(1).unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"ID" => self.reply_integer(self.entry.id as i64),
            b"GETNAME" => self.client_getname(),
            b"SETNAME" | b"SETINFO" | b"NO-EVICT" => self.take_note(request, answer),
            b"INFO" => {
                let line = describe(&self.entry, &fields(answer), request.raw().len());
                self.reply_text(&line);
            }
            b"LIST" => self.client_list(request, answer),
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

    fn client_reply(&mut self, request: &Request) {
        if !self.session.set_replies(request) {
            self.error("ERR syntax error");
        } else if request.is(2, "ON") {
            self.reply(|out| resp::simple(out, "OK"));
        }
    }

    fn reply_integer(&mut self, value: i64) {
        self.reply(|out| resp::integer(out, value));
    }

    fn reply_text(&mut self, text: &str) {
        let protocol = self.session.context.protocol;
        self.reply(|out| resp::verbatim(out, text, protocol));
    }

    /// The answer with the proxy's own number of the client that invalidations go to.
    fn reply_redirect(&mut self, before: &[u8], answer: &Bytes) {
        let answer = match self.session.standing.redirect() {
            Some(client) => with_id(answer, before, client),
            None => answer.clone(),
        };
        self.reply(|out| out.extend_from_slice(&answer));
    }

    fn client_getname(&mut self) {
        let name = self.session.name.clone();
        let protocol = self.session.context.protocol;
        self.reply(|out| match name.as_str() {
            "" => resp::null(out, protocol),
            name => resp::text(out, name.as_bytes()),
        });
    }

    /// Answers what says something of the client itself.
    pub(super) fn take_note(&mut self, request: &Request, answer: &Bytes) {
        self.session.on_answer(request, answer);
        self.show_identity();
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
            victim.replies.disconnect();
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

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
