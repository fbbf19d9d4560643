//! Commands that wait for data.
//!
//! First such a command is tried on the write lane, wrapped in a transaction, which never waits: if
//! there is data its effect has an exact place. Only when there is none the client gets a session
//! to wait on; what serves it then came by some other write, and its result settles the keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::client::{Client, Close, Meaning, Requests, Until, Way};
use super::session::Needs;
use super::turns::Turn;
use crate::engine::Unit;
use crate::lane::{Job, Lost, Purpose, Sink};
use crate::protocol::command::{Access, Command};
use crate::protocol::resp::{Reply, Request};
use crate::server::ServerInfo;

/// How long a wait that is ended may take to be answered, and how often it is ended again.
const UNBLOCK_TIMEOUT: Duration = Duration::from_millis(100);
const UNBLOCK_ATTEMPTS: u32 = 20;

type Replies = Result<Vec<Bytes>, Lost>;

/// What came of a try without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Answered,
    FoundNothing,
    /// The client's user or its session stands against it.
    Impossible,
}

/// How a wait ended.
enum Woken {
    Served(Bytes, Box<Unit>),
    /// A flip is under way: ask the new primary.
    Flip,
    Unblocked {
        error: bool,
    },
}

impl Client {
    pub(super) async fn block(
        &mut self,
        request: Request,
        command: &'static Command,
    ) -> Result<(), Close> {
        let since = Instant::now();
        let Some(request) = self.with_last_ids(request, command).await? else { return Ok(()) };
        self.session.block(request.clone());
        let done = self.wait_for_data(request, command, since).await;
        self.session.unblock();
        done
    }

    async fn wait_for_data(
        &mut self,
        mut request: Request,
        command: &'static Command,
        since: Instant,
    ) -> Result<(), Close> {
        let mut turn = self.turn(&request, command);
        loop {
            turn.take().await;
            // Since this began to wait another server may serve.
            self.prepare(Needs::Route).await?;
            let attempted = self.attempt(&request, command).await?;
            if attempted == Attempt::Answered {
                turn.pass_on(true);
                return Ok(());
            }
            match self.wait(&request, command, &mut turn).await? {
                None => return Ok(()),
                Some(Woken::Served(reply, unit)) => {
                    let reply = match attempted {
                        Attempt::FoundNothing => self.missed(&request, command, reply).await?,
                        _ => reply,
                    };
                    return self.hand_over(&reply, &unit).await;
                }
                Some(Woken::Unblocked { error: true }) => {
                    self.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
                    return Ok(());
                }
                Some(Woken::Unblocked { error: false }) => {
                    self.answer_nothing();
                    return Ok(());
                }
                Some(Woken::Flip) => {
                    let Some(rest) = self.session.blocked_again(since.elapsed()) else {
                        self.answer_nothing();
                        return Ok(());
                    };
                    request = rest;
                }
            }
        }
    }

    fn answer_nothing(&mut self) {
        let mut nothing = BytesMut::new();
        self.session.answer_nothing(&mut nothing);
        self.reply(|out| out.extend_from_slice(&nothing));
    }

    /// Answers what a wait has brought.
    async fn hand_over(&mut self, reply: &Bytes, unit: &Unit) -> Result<(), Close> {
        if is_nothing(reply) || self.session.is_silent() {
            self.reply(|out| out.extend_from_slice(reply));
            return Ok(());
        }
        self.answer_as_lane(unit, reply).await
    }

    fn turn(&self, request: &Request, command: &'static Command) -> Turn {
        let keys = command.keys(request).unwrap_or_default().into_iter();
        let written = keys.filter(|key| key.access == Access::Write);
        let names = written.filter_map(|key| request.arg_bytes(key.index));
        Turn::new(self.shared.turns.clone(), self.session.context.db, names)
    }

    /// The request with the entry that is the last one now in the place of each `$`: what comes
    /// between the attempt and the wait, or while a flip repeats it, is to be read. `None`: the client
    /// has been told why nothing can be asked.
    async fn with_last_ids(
        &mut self,
        request: Request,
        command: &'static Command,
    ) -> Result<Option<Request>, Close> {
        if command.name != "XREAD" || self.session.is_pinned() {
            return Ok(Some(request));
        }
        let keys = command.keys(&request).unwrap_or_default();
        let mut args: Vec<Bytes> =
            (0..request.len()).filter_map(|at| request.arg_bytes(at)).collect();
        for key in &keys {
            let place = key.index + keys.len();
            let (Some(name), Some(b"$")) = (request.arg(key.index), request.arg(place)) else {
                continue;
            };
            let last = Request::new([b"XREVRANGE".as_ref(), name, b"+", b"-", b"COUNT", b"1"]);
            let Some(answer) = self.ask(|_| last.clone()).await? else { return Ok(None) };
            // Where it can't be told, the server finds it, a moment later.
            let Some(last) = last_id(&answer) else { continue };
            if let Some(slot) = args.get_mut(place) {
                *slot = last;
            }
        }
        Ok(Some(Request::new(args)))
    }

    /// Tries without waiting.
    async fn attempt(
        &mut self,
        request: &Request,
        command: &'static Command,
    ) -> Result<Attempt, Close> {
        if self.session.is_pinned() || !self.may_attempt().await {
            return Ok(Attempt::Impossible);
        }
        self.would_block = false;
        let (multi, exec) = (Request::new(["MULTI"]), Request::new(["EXEC"]));
        let requests = Requests::from_iter([multi, request.clone(), exec]);
        self.perform(Way::Lane(Purpose::Write), requests, Meaning::Attempt(command)).await?;
        let found_nothing = std::mem::take(&mut self.would_block);
        Ok(if found_nothing { Attempt::FoundNothing } else { Attempt::Answered })
    }

    /// The answer to a wait as a client gets it that has waited since the attempt: its stream or its
    /// group may have gone between the two. Redis 7.0 has words of its own for that, later servers
    /// have not.
    async fn missed(
        &mut self,
        request: &Request,
        command: &'static Command,
        reply: Bytes,
    ) -> Result<Bytes, Close> {
        let is_gone =
            reply.starts_with(b"-NOGROUP No such key") || reply.starts_with(b"-WRONGTYPE");
        if !is_gone || command.name != "XREADGROUP" || !self.is_redis_7_0().await {
            return Ok(reply);
        }
        let keys = command.keys(request).unwrap_or_default();
        let names = keys.iter().filter_map(|key| request.arg(key.index));
        let question = Request::new(std::iter::once(b"EXISTS".as_ref()).chain(names));
        let all = format!(":{}\r\n", keys.len());
        let there = reply.starts_with(b"-NOGROUP")
            && self.ask(|_| question.clone()).await?.is_some_and(|there| there == all.as_bytes());
        Ok(Bytes::from_static(if there {
            b"-NOGROUP the consumer group this client was blocked on no longer exists\r\n"
        } else {
            b"-UNBLOCKED the stream key no longer exists\r\n"
        }))
    }

    async fn is_redis_7_0(&self) -> bool {
        let question = Request::new(["INFO", "server"]);
        let answer = self.route.pool.upstream().ask(&question).await;
        let server = answer.and_then(|reply| ServerInfo::answered(&[reply]));
        server.is_some_and(|server| server.version.starts_with("7.0."))
    }

    /// Whether the client's user may use transactions; if not, a wrapped command would block the
    /// lane, and the commands of a block would be run one by one.
    pub(super) async fn may_attempt(&self) -> bool {
        let Ok(context) = self.upstream_context() else { return true };
        self.route.pool.lanes(&context).await.ok().is_none_or(|lanes| lanes.may_transact())
    }

    /// Waits on a session. `None`: the client has been answered with an error.
    async fn wait(
        &mut self,
        request: &Request,
        command: &'static Command,
        turn: &mut Turn,
    ) -> Result<Option<Woken>, Close> {
        if !self.prepare(Needs::Connection).await? {
            return Ok(None);
        }
        let Some(own) = self.own.clone() else { return Ok(None) };
        let route = self.route.clone();
        let id = own.id();
        let db = route.databases.to(self.session.context.db).unwrap_or(self.session.context.db);
        let keyer = route.engine.keyer();
        let unit = keyer.waiting_unit(keyer.write(Some(command), request.clone(), db, &[]));
        let (sender, mut receiver) = oneshot::channel();
        // The server does both in one go: the wait stands when the first is answered. A session of
        // the client's own is not told more than the client said (`CLIENT CACHING`).
        let (begun, mut begins) = oneshot::channel();
        let ping = || Job::pass(Request::new(["PING"]), Sink::Task(begun));
        let mut jobs: Vec<Job> = (!self.session.is_pinned()).then(ping).into_iter().collect();
        jobs.push(Job::write(request.clone(), unit.clone(), Sink::Task(sender)));
        if !own.submit(&mut jobs) {
            return Ok(Some(Woken::Flip));
        }
        let woken = self.until_served(&mut begins, &mut receiver, turn).await;
        let reply = match woken {
            Some(Ok(ref replies)) => replies.first().cloned(),
            Some(Err(_)) => None,
            None => self.end_wait(&route, id, &mut receiver).await,
        };
        let unblocked = self.entry.seen.lock().unblocked.take();
        match (woken.is_some(), reply) {
            (_, None) => Err(Close::Now),
            (true, Some(reply)) => Ok(Some(Woken::Served(reply, Box::new(unit)))),
            (false, Some(reply)) if !is_nothing(&reply) => {
                Ok(Some(Woken::Served(reply, Box::new(unit))))
            }
            (false, Some(_)) if self.is_gone() => Err(Close::Now),
            (false, Some(_)) => Ok(Some(match unblocked {
                Some(error) => Woken::Unblocked { error },
                None => Woken::Flip,
            })),
        }
    }

    /// Waits for the server; `None` when something else ended the wait.
    async fn until_served(
        &mut self,
        begins: &mut oneshot::Receiver<Replies>,
        receiver: &mut oneshot::Receiver<Replies>,
        turn: &mut Turn,
    ) -> Option<Replies> {
        let notify = Arc::new(Notify::new());
        let mut begun = false;
        self.show();
        let mut stage = self.stage.clone();
        let stop = self.stop.clone();
        let served = loop {
            if stage.borrow_and_update().held {
                break None;
            }
            tokio::select! {
                biased;
                served = &mut *receiver => {
                    let lost = Lost::Connection("server".to_owned());
                    break Some(served.unwrap_or(Err(lost)));
                }
                _ = &mut *begins, if !begun => {
                    begun = true;
                    turn.pass_on(false);
                    let mut seen = self.entry.seen.lock();
                    (seen.blocked, seen.wait) = (Some(notify.clone()), self.session.wait());
                }
                changed = stage.changed() => if changed.is_err() { break None },
                () = notify.notified() => break None,
                () = stop.cancelled() => { self.give_up(); break None }
                _ = self.pump(Until::Gone) => { self.give_up(); break None }
            }
        };
        let mut seen = self.entry.seen.lock();
        (seen.blocked, seen.wait) = (None, None);
        drop(seen);
        served
    }

    /// Ends the wait on the server, and learns whether it was served after all.
    async fn end_wait(
        &mut self,
        route: &super::Route,
        id: Option<i64>,
        receiver: &mut oneshot::Receiver<Replies>,
    ) -> Option<Bytes> {
        let id = id?;
        for _ in 0..UNBLOCK_ATTEMPTS {
            let unblock = Request::new(["CLIENT", "UNBLOCK", &id.to_string()]);
            route.pool.upstream().ask(&unblock).await?;
            if let Ok(Ok(Ok(replies))) = timeout(UNBLOCK_TIMEOUT, &mut *receiver).await {
                return replies.first().cloned();
            }
        }
        None
    }
}

/// The ID of the only entry of an `XREVRANGE`, or one before all entries.
fn last_id(answer: &Bytes) -> Option<Bytes> {
    let entries = Reply::parse(answer).ok()?;
    match entries.items()?.first() {
        Some(entry) => entry.items()?.first()?.text().cloned(),
        None => Some(Bytes::from_static(b"0-0")),
    }
}

fn is_nothing(reply: &Bytes) -> bool {
    matches!(reply.as_ref(), b"$-1\r\n" | b"*-1\r\n" | b"_\r\n") || reply.first() == Some(&b'-')
}
