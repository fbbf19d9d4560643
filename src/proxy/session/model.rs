//! The session against a model of what a server does with one client's connection.
//!
//! The client of the model speaks to one connection. Through the session the same requests go as the
//! proxy sends them: what belongs to a connection to one of the client's own, which is now and then
//! left for another that is made anew. Both must end in the same state after each request.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Action, Budget, Queueing, Rules, Session, Share};
use crate::protocol::command::{Connection, lookup};
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Protocol, Request};

/// What a server knows of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "a server has a flag for each of them")]
struct Server {
    db: u32,
    protocol: Protocol,
    name: String,
    watched: usize,
    /// Something has happened to a watched key.
    touched: bool,
    queue: Option<Vec<Request>>,
    /// A command could not be queued.
    refused: bool,
    tracking: BTreeSet<String>,
    no_touch: bool,
    channels: BTreeSet<Vec<u8>>,
    library: String,
    no_evict: bool,
    monitors: bool,
    done: Vec<(u32, String)>,
}

fn line(request: &Request) -> String {
    request.args().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

impl Server {
    fn run(&mut self, request: &Request) -> String {
        let text = line(request);
        let Some(queue) = &mut self.queue else { return self.execute(&text) };
        match text.as_str() {
            "EXEC" => self.exec(),
            "RESET" => {
                self.end();
                self.execute(&text)
            }
            "DISCARD" => {
                self.end();
                "+OK".to_owned()
            }
            "MULTI" | "WATCH k" => "-ERR nested".to_owned(),
            _ if lookup(request).is_none() => {
                self.refused = true;
                "-ERR unknown".to_owned()
            }
            _ => {
                queue.push(request.clone());
                "+QUEUED".to_owned()
            }
        }
    }

    fn exec(&mut self) -> String {
        let queue = self.queue.take().unwrap_or_default();
        let (refused, touched) = (self.refused, self.touched);
        self.end();
        match (refused, touched) {
            (true, _) => "-EXECABORT".to_owned(),
            (_, true) => "nil".to_owned(),
            _ => {
                let answers = queue.iter().map(|queued| self.execute(&line(queued)));
                format!("*{}", answers.collect::<String>())
            }
        }
    }

    fn end(&mut self) {
        (self.queue, self.refused, self.touched, self.watched) = (None, false, false, 0);
    }

    fn execute(&mut self, text: &str) -> String {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["SELECT", db] => match db.parse() {
                Ok(db) if db < 16 => self.db = db,
                _ => return "-ERR DB index is out of range".to_owned(),
            },
            ["HELLO", version] => {
                let modern = *version == "3";
                self.protocol = if modern { Protocol::Resp3 } else { Protocol::Resp2 };
            }
            ["CLIENT", "SETNAME", name] => (*name).clone_into(&mut self.name),
            ["CLIENT", "TRACKING", "ON", ..] => {
                self.tracking.insert(text.to_owned());
            }
            ["CLIENT", "TRACKING", ..] => self.tracking.clear(),
            ["CLIENT", "NO-TOUCH", on] => self.no_touch = *on == "ON",
            ["CLIENT", "NO-EVICT", on] => self.no_evict = *on == "ON",
            ["CLIENT", "SETINFO", _, value] => (*value).clone_into(&mut self.library),
            ["MONITOR"] => self.monitors = true,
            ["MULTI"] => self.queue = Some(Vec::new()),
            ["WATCH", ..] => self.watched += words.len() - 1,
            ["UNWATCH"] => (self.watched, self.touched) = (0, false),
            ["RESET"] => {
                let (done, library) =
                    (std::mem::take(&mut self.done), std::mem::take(&mut self.library));
                *self = Self { library, done, ..Self::default() };
            }
            ["EXEC" | "DISCARD"] => return "-ERR without MULTI".to_owned(),
            ["SUBSCRIBE", channels @ ..] => {
                self.channels.extend(channels.iter().map(|name| name.as_bytes().to_vec()));
            }
            ["UNSUBSCRIBE"] => self.channels.clear(),
            ["UNSUBSCRIBE", channel] => {
                self.channels.remove(channel.as_bytes());
            }
            ["NOSUCH"] => return "-ERR unknown".to_owned(),
            _ => self.done.push((self.db, text.to_owned())),
        }
        "+OK".to_owned()
    }
}

/// What the proxy does about requests, with servers that are the model.
struct Proxy {
    session: Session,
    own: Option<Server>,
    /// What lanes have done.
    done: Vec<(u32, String)>,
}

impl Proxy {
    fn new() -> Self {
        Self { session: Session::default(), own: None, done: Vec::new() }
    }

    fn run(&mut self, request: &Request) -> String {
        self.session.take_skip();
        let Some(command) = lookup(request) else {
            return if self.session.is_queueing() {
                self.refuse()
            } else {
                "-ERR unknown".to_owned()
            };
        };
        let databases = Databases::All;
        let rules = Rules { databases: &databases, allow_admin: false, checks_cursors: false };
        let serve = command.serve(request);
        let answer = match self.session.on_request(request, (command, serve), &rules) {
            Action::Queue => match self.session.on_queued(request, command, &rules) {
                Queueing::Keep(queued) => {
                    assert!(self.session.queue_up(queued));
                    self.on_own(request)
                }
                Queueing::Select => {
                    let db = super::number(request, 1).filter(|db| *db < 16);
                    if let Some(db) = db {
                        self.session.queue_leads_to(db);
                    }
                    assert!(self.session.queue_up(self.session.queued_select(request)));
                    self.on_own(request)
                }
                Queueing::Exec => self.exec(request),
                Queueing::Discard => self.end_by(request),
                Queueing::Pass => self.on_own(request),
                Queueing::Leave(kind) => {
                    self.session.end_transaction();
                    self.connection(request, kind)
                }
                Queueing::Poison(_) => self.refuse(),
            },
            Action::Watch(keys) => {
                self.session.watch(keys);
                self.on_own(request)
            }
            Action::Multi => {
                self.session.begin(Share::of(Budget::of_queues()));
                let answer = self.on_own(request);
                self.session.begun();
                answer
            }
            Action::Unwatch => self.end_by(request),
            Action::Subscribe => {
                self.session.channels.sent(request);
                self.confirm(request);
                "+OK".to_owned()
            }
            Action::Confined | Action::Refuse(_) => "-ERR not now".to_owned(),
            Action::Connection(kind) => self.connection(request, kind),
            _ => self.forward(request),
        };
        if !self.session.needs_connection() {
            self.own = None;
        }
        answer
    }

    /// A connection that is as the client's state has it.
    fn made_anew(&self) -> Server {
        let anew = self.session.anew(&Databases::All, 0).unwrap();
        let mut server =
            Server { db: anew.context.db, protocol: anew.context.protocol, ..Server::default() };
        for request in anew.settings.iter().chain(&anew.queue) {
            server.run(request);
        }
        server
    }

    fn on_own(&mut self, request: &Request) -> String {
        if self.own.is_none() {
            // It is opened before anything that belongs to it is told.
            let (db, protocol) = (self.session.context.db, self.session.context.protocol);
            self.own = Some(Server { db, protocol, ..Server::default() });
        }
        self.own.as_mut().unwrap().run(request)
    }

    /// What a server would have refused to queue.
    fn refuse(&mut self) -> String {
        let poison = self.session.poison();
        self.on_own(&poison);
        self.session.spoil();
        "-ERR refused".to_owned()
    }

    fn end_by(&mut self, request: &Request) -> String {
        self.session.ending();
        let answer = self.on_own(request);
        if answer.starts_with('-') {
            self.session.spoil();
        }
        self.session.ended();
        answer
    }

    fn exec(&mut self, request: &Request) -> String {
        if self.session.breaks_exec() {
            self.on_own(&Request::new(["DISCARD"]));
            self.session.end_transaction();
            return "nil".to_owned();
        }
        let queued = self.session.to_execute();
        let answer = self.on_own(request);
        let own = self.own.as_mut().unwrap();
        self.done.append(&mut own.done);
        if !answer.starts_with('-') && answer != "nil" {
            for request in queued.iter().filter_map(|queued| queued.answered_here.as_ref()) {
                let fails =
                    request.is(0, "SELECT") && super::number(request, 1).is_none_or(|db| db >= 16);
                let element = if fails { b"-ERR".as_slice() } else { b"+OK" };
                self.session.on_answer(request, element);
            }
        }
        self.session.end_transaction();
        answer
    }

    fn connection(&mut self, request: &Request, kind: Connection) -> String {
        match kind {
            Connection::Reset => {
                self.session.reset();
                self.own = None;
                "+OK".to_owned()
            }
            Connection::Client if request.is(1, "REPLY") => {
                self.session.set_replies(request);
                "+OK".to_owned()
            }
            // What belongs to a connection is told on the own one, and asked of it.
            Connection::Client if request.is(1, "TRACKING") || request.is(1, "NO-TOUCH") => {
                let answer = self.on_own(request);
                self.session.on_answer(request, answer.as_bytes());
                answer
            }
            _ => {
                let answer = match &mut self.own {
                    Some(own) => own.run(request),
                    None => Server::default().run(request),
                };
                self.session.on_answer(request, answer.as_bytes());
                answer
            }
        }
    }

    fn forward(&mut self, request: &Request) -> String {
        let mut lane = Server { db: self.session.context.db, ..Server::default() };
        let answer = lane.run(request);
        self.done.append(&mut lane.done);
        answer
    }

    /// The server confirms each channel.
    fn confirm(&mut self, request: &Request) {
        let name = String::from_utf8_lossy(request.name()).to_lowercase();
        let mut named: Vec<Vec<u8>> = request.args().skip(1).map(<[u8]>::to_vec).collect();
        if named.is_empty() {
            named = open_channels(&self.session).into_iter().collect();
        }
        for channel in &named {
            let parts = [name.as_bytes(), channel, b"1"];
            self.session.channels.note(Request::new(parts).raw());
        }
        if named.is_empty() {
            self.session
                .channels
                .note(&Bytes::from_static(b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"));
        }
    }

    /// A flip, or another user.
    fn move_own(&mut self) {
        if self.own.is_some() {
            self.session.moved();
            self.own = Some(self.made_anew());
        }
    }
}

fn open_channels(session: &Session) -> BTreeSet<Vec<u8>> {
    let anew = session.anew(&Databases::All, 0).unwrap();
    let (requests, confirmations) = anew.subscriptions;
    let channels = requests.iter().flat_map(|request| request.args().skip(1).map(<[u8]>::to_vec));
    let channels: BTreeSet<Vec<u8>> = channels.collect();
    assert_eq!(channels.len(), confirmations);
    channels
}

/// The commands in a server's queue. A `CLIENT` command is queued as a question that does no harm.
fn names(server: &Server) -> Vec<&[u8]> {
    server.queue.iter().flatten().map(Request::name).collect()
}

/// Commands that nobody has to refuse by words of crossfade.
const LINES: [&str; 29] = [
    "SET k 1",
    "GET k",
    "INCR n",
    "NOSUCH",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH k",
    "WATCH a b",
    "UNWATCH",
    "SELECT 1",
    "SELECT 2",
    "SELECT 99",
    "HELLO 3",
    "HELLO 2",
    "CLIENT SETNAME me",
    "CLIENT SETNAME you",
    "CLIENT TRACKING ON BCAST PREFIX a",
    "CLIENT TRACKING OFF",
    "CLIENT NO-TOUCH ON",
    "CLIENT NO-TOUCH OFF",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-EVICT OFF",
    "CLIENT SETINFO LIB-NAME mine",
    "CLIENT SETINFO LIB-NAME yours",
    "MONITOR",
    "SUBSCRIBE news sports",
    "UNSUBSCRIBE news",
    "RESET",
];

/// What crossfade refuses in its own words, or a RESP2 subscriber may not ask.
fn is_out_of_the_model(server: &Server, line: &str) -> bool {
    let confined = server.protocol == Protocol::Resp2 && !server.channels.is_empty();
    let subscribes = line.contains("SUBSCRIBE");
    let not_queued = subscribes
        || line.starts_with("HELLO")
        || line.contains("TRACKING")
        || line.contains("NO-TOUCH")
        || line == "MONITOR"
        || line == "WATCH a b";
    (confined && !subscribes && line != "RESET") || (server.queue.is_some() && not_queued)
}

proptest! {
    #[test]
    fn a_client_is_in_the_state_that_a_server_would_have_it_in(
        steps in prop::collection::vec((0..LINES.len(), prop::bool::weighted(0.2)), 1..60)
    ) {
        let (mut server, mut proxy) = (Server::default(), Proxy::new());
        for (line, moves) in steps {
            let line = LINES[line];
            if is_out_of_the_model(&server, line) {
                continue;
            }
            let request = Request::new(line.split(' '));
            let (expected, answer) = (server.run(&request), proxy.run(&request));
            prop_assert_eq!(expected.starts_with('-'), answer.starts_with('-'), "{}", line);
            prop_assert_eq!(expected == "nil", answer == "nil", "{}", line);
            let session = &proxy.session;
            prop_assert_eq!(session.context.db, server.db, "{}", line);
            prop_assert_eq!(session.context.protocol, server.protocol);
            prop_assert_eq!(&session.name, &server.name);
            prop_assert_eq!(&session.library.name, &server.library);
            prop_assert_eq!((session.no_evict, session.monitors), (server.no_evict, server.monitors));
            prop_assert_eq!(session.watched(), server.watched);
            prop_assert_eq!(session.is_queueing(), server.queue.is_some());
            prop_assert_eq!(open_channels(session), server.channels.clone());
            prop_assert!(session.channels.is_confirmed());
            prop_assert_eq!(&proxy.done, &server.done);
            if moves {
                proxy.move_own();
                server.touched |= server.watched > 0;
            }
            let made = proxy.made_anew();
            prop_assert_eq!(&made.tracking, &server.tracking);
            prop_assert_eq!(made.no_touch, server.no_touch);
            prop_assert_eq!(made.queue.is_some(), server.queue.is_some());
            prop_assert_eq!(made.refused, server.refused, "a queue that must fail fails anywhere");
            if !server.refused {
                prop_assert_eq!(names(&made), names(&server));
            }
        }
    }
}
