//! What a sentinel would answer that watches over a primary which never fails. Without a socket.

use std::collections::BTreeSet;

use bytes::BytesMut;

use crate::protocol::resp::{self, Protocol, Request};

/// Channels that one guest may wait at in vain.
const CHANNELS: usize = 64;
/// The identity of a sentinel, and of the server that it names: clients compare them, no more.
const ID: &str = "c0550fade0000000000000000000000000000000";

/// Where the primary is.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    /// By which names it is listed; asked for by any other, it is the same.
    pub(super) names: Vec<String>,
    pub(super) host: String,
    pub(super) port: u16,
}

/// What comes after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    Leave,
    /// The answer depends on this login; the guest is greeted behind it, or just told.
    LogIn(Request, bool),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Guest {
    announced: Announced,
    protocol: Protocol,
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
}

impl Guest {
    pub(super) fn new(announced: Announced) -> Self {
        let (channels, patterns) = (BTreeSet::new(), BTreeSet::new());
        Self { announced, protocol: Protocol::default(), channels, patterns }
    }

    /// Answers a request, unless somebody must be asked first.
    pub(super) fn answer(&mut self, request: &Request, out: &mut BytesMut) -> Next {
        let name = request.name().to_ascii_uppercase();
        match name.as_slice() {
            b"PING" => self.pong(request, out),
            b"SENTINEL" => self.sentinel(request, out),
            b"SUBSCRIBE" | b"PSUBSCRIBE" => self.subscribe(&name, request, out),
            b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" => self.unsubscribe(&name, request, out),
            b"ROLE" => self.role(out),
            b"INFO" => resp::verbatim(out, &self.info(), self.protocol),
            b"CLIENT" => self.client(request, out),
            b"AUTH" => return Next::LogIn(request.clone(), false),
            b"HELLO" => return self.hello(request, out),
            b"QUIT" => {
                resp::simple(out, "OK");
                return Next::Leave;
            }
            _ => refuse(out, request),
        }
        Next::Stay
    }

    fn pong(&self, request: &Request, out: &mut BytesMut) {
        let word = request.arg(1);
        if self.protocol == Protocol::Resp2 && self.is_subscribed() {
            resp::array_header(out, 2);
            resp::bulk(out, b"pong");
            resp::bulk(out, word.unwrap_or_default());
        } else if let Some(word) = word {
            resp::bulk(out, word);
        } else {
            resp::simple(out, "PONG");
        }
    }

    fn is_subscribed(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    fn sentinel(&self, request: &Request, out: &mut BytesMut) {
        let asked = request.arg(1).unwrap_or_default().to_ascii_uppercase();
        let name = String::from_utf8_lossy(request.arg(2).unwrap_or_default());
        match asked.as_slice() {
            b"MASTERS" | b"PRIMARIES" => {
                resp::array_header(out, self.announced.names.len());
                self.announced.names.iter().for_each(|name| self.primary(name, out));
            }
            b"MYID" => resp::bulk(out, ID.as_bytes()),
            b"IS-MASTER-DOWN-BY-ADDR" => {
                resp::array_header(out, 3);
                resp::integer(out, 0);
                resp::bulk(out, b"*");
                resp::integer(out, 0);
            }
            // Everything else is about a name.
            _ if name.is_empty() => refuse(out, request),
            b"GET-MASTER-ADDR-BY-NAME" | b"GET-PRIMARY-ADDR-BY-NAME" => {
                resp::array_header(out, 2);
                resp::bulk(out, self.announced.host.as_bytes());
                resp::bulk(out, self.announced.port.to_string().as_bytes());
            }
            b"MASTER" | b"PRIMARY" => self.primary(&name, out),
            b"REPLICAS" | b"SLAVES" | b"SENTINELS" => resp::array_header(out, 0),
            b"CKQUORUM" => resp::simple(
                out,
                "OK 1 usable Sentinels. Quorum and failover authorization can be reached",
            ),
            _ => refuse(out, request),
        }
    }

    fn primary(&self, name: &str, out: &mut BytesMut) {
        let port = self.announced.port.to_string();
        let fields = [
            ("name", name),
            ("ip", &self.announced.host),
            ("port", &port),
            ("runid", ID),
            ("flags", "master"),
            ("link-pending-commands", "0"),
            ("link-refcount", "1"),
            ("last-ping-sent", "0"),
            ("last-ok-ping-reply", "0"),
            ("last-ping-reply", "0"),
            ("down-after-milliseconds", "30000"),
            ("info-refresh", "0"),
            ("role-reported", "master"),
            ("role-reported-time", "0"),
            ("config-epoch", "0"),
            ("num-slaves", "0"),
            ("num-other-sentinels", "0"),
            ("quorum", "1"),
            ("failover-timeout", "180000"),
            ("parallel-syncs", "1"),
        ];
        self.map_header(out, fields.len());
        for (field, value) in fields {
            resp::bulk(out, field.as_bytes());
            resp::bulk(out, value.as_bytes());
        }
    }

    /// The head of a map, or of the list that RESP2 has for one.
    fn map_header(&self, out: &mut BytesMut, len: usize) {
        match self.protocol {
            Protocol::Resp2 => resp::array_header(out, 2 * len),
            Protocol::Resp3 => out.extend_from_slice(format!("%{len}\r\n").as_bytes()),
        }
    }

    fn push_header(&self, out: &mut BytesMut, len: usize) {
        match self.protocol {
            Protocol::Resp2 => resp::array_header(out, len),
            Protocol::Resp3 => out.extend_from_slice(format!(">{len}\r\n").as_bytes()),
        }
    }

    /// Nothing is ever said there: the primary never changes.
    fn subscribe(&mut self, kind: &[u8], request: &Request, out: &mut BytesMut) {
        if request.len() < 2 {
            return wrong_number(out, kind);
        }
        if self.channels.len() + self.patterns.len() + request.len() > CHANNELS {
            return resp::error(out, "ERR crossfade: a sentinel has no so many channels");
        }
        for name in request.args().skip(1) {
            self.names(kind).insert(name.to_vec());
            self.subscribed(kind, Some(name), out);
        }
    }

    fn unsubscribe(&mut self, kind: &[u8], request: &Request, out: &mut BytesMut) {
        let mut names: Vec<Vec<u8>> = request.args().skip(1).map(<[u8]>::to_vec).collect();
        if names.is_empty() {
            names = self.names(kind).iter().cloned().collect();
        }
        if names.is_empty() {
            self.subscribed(kind, None, out);
        }
        for name in names {
            self.names(kind).remove(&name);
            self.subscribed(kind, Some(&name), out);
        }
    }

    fn names(&mut self, kind: &[u8]) -> &mut BTreeSet<Vec<u8>> {
        match kind {
            [b'P', ..] => &mut self.patterns,
            _ => &mut self.channels,
        }
    }

    fn subscribed(&self, kind: &[u8], name: Option<&[u8]>, out: &mut BytesMut) {
        self.push_header(out, 3);
        resp::bulk(out, &kind.to_ascii_lowercase());
        match name {
            Some(name) => resp::bulk(out, name),
            None => resp::null(out, self.protocol),
        }
        resp::integer(out, (self.channels.len() + self.patterns.len()) as i64);
    }

    fn role(&self, out: &mut BytesMut) {
        resp::array_header(out, 2);
        resp::bulk(out, b"sentinel");
        resp::array_header(out, self.announced.names.len());
        self.announced.names.iter().for_each(|name| resp::bulk(out, name.as_bytes()));
    }

    fn info(&self) -> String {
        let Announced { names, host, port } = &self.announced;
        let lines = names.iter().enumerate().map(|(index, name)| {
            format!(
                "master{index}:name={name},status=ok,address={host}:{port},slaves=0,sentinels=1\r\n"
            )
        });
        format!(
            "# Server\r\nredis_version:{VERSION}\r\nredis_mode:sentinel\r\nrun_id:{ID}\r\n\r\n\
             # Sentinel\r\nsentinel_masters:{}\r\nsentinel_tilt:0\r\n{}",
            names.len(),
            lines.collect::<String>()
        )
    }

    fn client(&self, request: &Request, out: &mut BytesMut) {
        let asked = request.arg(1).unwrap_or_default().to_ascii_uppercase();
        match asked.as_slice() {
            b"SETNAME" | b"SETINFO" | b"NO-EVICT" | b"NO-TOUCH" => resp::simple(out, "OK"),
            b"GETNAME" => resp::null(out, self.protocol),
            b"ID" => resp::integer(out, 1),
            _ => refuse(out, request),
        }
    }

    fn hello(&mut self, request: &Request, out: &mut BytesMut) -> Next {
        self.protocol = match request.arg(1) {
            None => self.protocol,
            Some(b"2") => Protocol::Resp2,
            Some(b"3") => Protocol::Resp3,
            Some(_) => {
                resp::error(out, "NOPROTO unsupported protocol version");
                return Next::Stay;
            }
        };
        let place = (2..request.len()).find(|index| request.is(*index, "AUTH"));
        let login =
            place.and_then(|place| Some((request.arg(place + 1)?, request.arg(place + 2)?)));
        if let Some((user, password)) = login {
            return Next::LogIn(Request::new([b"AUTH", user, password]), true);
        }
        self.greet(out);
        Next::Stay
    }

    /// The answer to `HELLO`.
    pub(super) fn greet(&self, out: &mut BytesMut) {
        self.map_header(out, 6);
        for (field, value) in [("server", "redis"), ("version", VERSION)] {
            resp::bulk(out, field.as_bytes());
            resp::bulk(out, value.as_bytes());
        }
        resp::bulk(out, b"proto");
        resp::integer(out, if self.protocol == Protocol::Resp3 { 3 } else { 2 });
        resp::bulk(out, b"id");
        resp::integer(out, 1);
        resp::bulk(out, b"mode");
        resp::bulk(out, b"sentinel");
        resp::bulk(out, b"modules");
        resp::array_header(out, 0);
    }
}

/// What the answers are like.
const VERSION: &str = "7.0.0";

fn refuse(out: &mut BytesMut, request: &Request) {
    let words: Vec<_> = request.args().take(2).map(String::from_utf8_lossy).collect();
    resp::error(out, &format!("ERR crossfade: is no sentinel for '{}'", words.join(" ")));
}

fn wrong_number(out: &mut BytesMut, name: &[u8]) {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    resp::error(out, &format!("ERR wrong number of arguments for '{name}' command"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> Guest {
        let names = vec!["orders".to_owned()];
        Guest::new(Announced { names, host: "10.1.2.3".to_owned(), port: 6380 })
    }

    fn said(guest: &mut Guest, words: &str) -> String {
        let mut out = BytesMut::new();
        let next = guest.answer(&Request::new(words.split(' ')), &mut out);
        assert_eq!(next, Next::Stay, "{words}");
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn the_primary_of_every_name_is_the_proxy() {
        for name in ["orders", "other"] {
            let told = said(&mut guest(), &format!("sentinel get-master-addr-by-name {name}"));
            assert_eq!(told, "*2\r\n$8\r\n10.1.2.3\r\n$4\r\n6380\r\n");
            let told = said(&mut guest(), &format!("SENTINEL MASTER {name}"));
            assert!(told.starts_with("*40\r\n") && told.contains(&format!("\r\n{name}\r\n")));
        }
        let told = said(&mut guest(), "SENTINEL MASTERS");
        assert!(told.starts_with("*1\r\n*40\r\n") && told.contains("\r\norders\r\n"));
        for none in ["REPLICAS", "SLAVES", "SENTINELS"] {
            assert_eq!(said(&mut guest(), &format!("SENTINEL {none} orders")), "*0\r\n");
        }
    }

    #[test]
    fn in_resp3_a_map_is_one_and_a_subscription_is_pushed() {
        let mut guest = guest();
        assert!(said(&mut guest, "HELLO 3").starts_with("%6\r\n$6\r\nserver\r\n"));
        assert!(said(&mut guest, "SENTINEL MASTERS").starts_with("*1\r\n%20\r\n"));
        let told = said(&mut guest, "SUBSCRIBE +switch-master");
        assert_eq!(told, ">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n");
        assert_eq!(said(&mut guest, "PING"), "+PONG\r\n");
    }

    #[test]
    fn who_waits_for_news_is_still_answered_and_may_stop_waiting() {
        let mut guest = guest();
        said(&mut guest, "SUBSCRIBE a b");
        said(&mut guest, "PSUBSCRIBE *");
        assert_eq!(said(&mut guest, "PING"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
        let told = said(&mut guest, "UNSUBSCRIBE");
        assert!(told.ends_with("$1\r\nb\r\n:1\r\n"), "{told}");
        assert!(said(&mut guest, "PUNSUBSCRIBE *").ends_with(":0\r\n"));
        assert_eq!(said(&mut guest, "UNSUBSCRIBE"), "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
        for _ in 0..CHANNELS {
            said(&mut guest, "SUBSCRIBE same");
        }
        let many: Vec<String> = (0..CHANNELS).map(|n| n.to_string()).collect();
        assert!(
            said(&mut guest, &format!("SUBSCRIBE {}", many.join(" ")))
                .starts_with("-ERR crossfade: ")
        );
    }

    #[test]
    fn what_a_sentinel_would_do_and_this_one_does_not_is_refused_by_name() {
        for words in ["SENTINEL FAILOVER orders", "SENTINEL RESET *", "GET a", "SENTINEL MASTER"] {
            assert!(said(&mut guest(), words).starts_with("-ERR crossfade: "), "{words}");
        }
    }

    #[test]
    fn a_login_is_for_others_to_judge() {
        let mut out = BytesMut::new();
        let login = guest().answer(&Request::new(["HELLO", "3", "AUTH", "u", "p"]), &mut out);
        assert_eq!(login, Next::LogIn(Request::new(["AUTH", "u", "p"]), true));
        assert!(out.is_empty());
    }
}
