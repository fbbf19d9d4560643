//! Deciding where each request goes, and sending many at once.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::client::{Client, Close, Replies, Way};
use super::numbers;
use crate::command::{self, Command, Serve};
use crate::databases::Databases;
use crate::engine::{Keyer, Unit, Write};
use crate::lane::{Job, Lane, Mailbox, Purpose, Refusal, Shape, Sink};
use crate::metrics::{ClientErrorKind, CommandKind};
use crate::resp::{self, Request};

type Requests = SmallVec<[Request; 1]>;

/// Steps that were decided and not submitted yet, all for one lane.
#[derive(Debug, Default)]
pub(super) struct Batch {
    steps: Vec<Step>,
    jobs: Vec<Job>,
}

/// A step before the engine has seen it. It is kept until a lane has taken its job, because a flip
/// may come between, and then it means something else to another engine.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// As the client sent them.
    pub(super) requests: Requests,
    pub(super) meaning: Meaning,
    pub(super) silent: bool,
}

/// What a step means to the engine.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    /// Nothing; may be asked twice.
    Read,
    /// Nothing, but it does something.
    Pass,
    /// Nothing yet: the server queues it for an `EXEC`.
    Queue,
    /// One write.
    Write(Option<&'static Command>, Vec<Bytes>),
    /// A whole transaction, `MULTI` first and `EXEC` last.
    Block(Vec<Queued>),
    /// The `EXEC` of a transaction that a session has queued.
    Exec(Vec<Queued>),
    /// A blocking command wrapped in a transaction.
    Attempt(&'static Command),
}

/// A command queued in a transaction.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) request: Request,
    pub(super) command: Option<&'static Command>,
    /// The client's database when it runs.
    pub(super) db: u32,
    pub(super) writes: bool,
    /// The keys that a command writes which only the server knows.
    pub(super) unknown_keys: Vec<Bytes>,
    /// What the client sent, when the server's answer is not all that comes of it.
    pub(super) answered_here: Option<Request>,
}

impl Queued {
    /// One that writes no key.
    pub(super) fn passive(request: Request, db: u32) -> Self {
        let (command, unknown_keys, answered_here) = (None, Vec::new(), None);
        Self { request, command, db, writes: false, unknown_keys, answered_here }
    }
}

impl Client {
    /// Handles one request.
    pub(super) async fn handle(&mut self, request: Request) -> Result<(), Close> {
        if self.shared.pause.is_on() {
            self.wait_out_pause(self.is_paused_as_write(&request)).await?;
        }
        if self.shared.registry.is_monitored() {
            self.show_monitors(&request);
        }
        let Some(command) = command::lookup(&request) else {
            // A web page that makes a browser speak to this port: the server hangs up too.
            if request.is(0, "POST") || request.is(0, "HOST:") {
                self.shared.complain(self.entry.id, "it speaks HTTP: possibly a cross-site attack");
                return Err(Close::Now);
            }
            return Box::pin(self.handle_unknown(request)).await;
        };
        self.last_command = command.name;
        self.take_skip();
        let serve = command.serve(&request);
        self.entry.tally.came(kind(serve));
        if self.is_queueing() {
            // What is seldom under way takes no room in the task of every client.
            return Box::pin(self.queue(request, command, serve)).await;
        }
        if self.is_confined(serve) {
            return self.handle_confined(request).await;
        }
        if let Some(db) = self.unmigrated(&request) {
            return self.refuse(&numbers::refusal(db)).await;
        }
        match serve {
            Serve::Read { .. } if self.must_check_cursor(command) => {
                Box::pin(self.scan(request, command)).await
            }
            // Its body is to be known on both servers.
            Serve::Read { .. } if self.brings_script(command, &request) => {
                self.write(request, Some(command), Vec::new()).await
            }
            Serve::Read { bulky } => self.beside_writes(request, Meaning::Read, !bulky).await,
            Serve::Once { rides } => self.beside_writes(request, Meaning::Pass, rides).await,
            Serve::Write | Serve::Barrier | Serve::Script => {
                self.write(request, Some(command), Vec::new()).await
            }
            Serve::Blocking => Box::pin(self.block(request, command)).await,
            Serve::Transaction(kind) => Box::pin(self.transact(request, kind)).await,
            Serve::Subscribe => Box::pin(self.subscribe(request)).await,
            Serve::Connection(kind) => Box::pin(self.connection(request, kind)).await,
            Serve::Session => Box::pin(self.in_session(request)).await,
            Serve::Admin if self.shared.allow_admin => self.pass(request).await,
            Serve::Admin => {
                let name = command.name;
                self.refuse(&format!("{name} passes only with --allow-admin")).await
            }
            Serve::Refused(reason) => self.refuse(reason).await,
        }
    }

    /// `CLIENT REPLY SKIP` means the next command, once.
    fn take_skip(&mut self) {
        self.replies = match self.replies {
            Replies::SkipNext => Replies::Skip,
            Replies::Skip => Replies::On,
            other => other,
        };
    }

    pub(super) async fn refuse(&mut self, reason: &str) -> Result<(), Close> {
        self.settle().await?;
        self.blame(ClientErrorKind::Refused);
        self.error(&format!("ERR crossfade: {reason}"));
        Ok(())
    }

    fn brings_script(&self, command: &Command, request: &Request) -> bool {
        command.name == "EVAL_RO" && self.route.hub.look(|engine| engine.brings_script(request))
    }

    /// A command that changes no key. One whose answer is short may ride behind what the client has
    /// under way; another would make others wait.
    async fn beside_writes(
        &mut self,
        request: Request,
        meaning: Meaning,
        rides: bool,
    ) -> Result<(), Close> {
        let purpose = match self.way {
            _ if !rides => Purpose::LongRead,
            Way::Lane(purpose) if self.is_busy() => purpose,
            _ => Purpose::Read,
        };
        self.enter(Way::Lane(purpose)).await?;
        self.add(SmallVec::from_iter([request]), meaning);
        Ok(())
    }

    /// Whether steps are under way.
    fn is_busy(&self) -> bool {
        self.submitted > self.answered || !self.batch.steps.is_empty()
    }

    /// A command that changes no key but must not be asked twice.
    pub(super) async fn pass(&mut self, request: Request) -> Result<(), Close> {
        self.beside_writes(request, Meaning::Pass, false).await
    }

    pub(super) async fn write(
        &mut self,
        request: Request,
        command: Option<&'static Command>,
        unknown_keys: Vec<Bytes>,
    ) -> Result<(), Close> {
        self.enter(Way::Lane(Purpose::Write)).await?;
        self.add(SmallVec::from_iter([request]), Meaning::Write(command, unknown_keys));
        Ok(())
    }

    /// Makes `way` the one that serves; before changing it, all steps in flight are answered.
    pub(super) async fn enter(&mut self, way: Way) -> Result<(), Close> {
        let way = if self.pinned.is_some() { Way::Session } else { way };
        if way != self.way {
            self.settle().await?;
            self.way = way;
            self.lane = None;
        }
        Ok(())
    }

    pub(super) fn add(&mut self, requests: Requests, meaning: Meaning) {
        let silent = self.replies != Replies::On;
        self.batch.steps.push(Step { requests, meaning, silent });
    }

    /// Gives the batched steps to the lane, waiting while it is held, or has given the client enough.
    ///
    /// A server executes what it has read of a client before it sees that the client is gone; but what
    /// only reads need not be done.
    pub(super) async fn submit(&mut self) -> Result<(), Close> {
        if self.gone {
            self.batch.forget_reads();
        }
        while !self.batch.steps.is_empty() {
            self.current_route().await?;
            if self.breaks_exec() {
                return Ok(());
            }
            if self.room() == 0 {
                self.make_room().await?;
                if self.gone {
                    self.batch.forget_reads();
                }
                continue;
            }
            let Some(lane) = self.lane().await? else { continue };
            // Behind a step of its own a client waits, as on the server.
            if self.under_way() == 0
                && lane.is_stuck()
                && let Some(busy) = self.route.clone().pool.upstream().busy().await
            {
                self.refuse_as_busy(&busy);
                continue;
            }
            let context_db = self.context.db;
            let Some(db) = self.route.databases.to(context_db) else {
                self.refuse_batch(&numbers::refusal(context_db));
                continue;
            };
            let room = self.room();
            self.batch.build(
                room,
                self.route.hub.keyer(),
                db,
                &self.mailbox,
                &self.route.databases,
            );
            let count = self.batch.jobs.len();
            if lane.submit(&mut self.batch.jobs) {
                self.submitted += count as u64;
                for step in self.batch.steps.drain(..count) {
                    self.asked +=
                        step.requests.iter().map(|request| request.raw().len()).sum::<usize>();
                    self.stopwatch.start(self.came, step.meaning.kind());
                }
            } else {
                self.batch.jobs.clear();
                if self.way != Way::Session {
                    self.lane = None;
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// The lane of the current way; when there is none, the batch is answered with the reason.
    async fn lane(&mut self) -> Result<Option<Arc<Lane>>, Close> {
        if let Some(lane) = &self.lane {
            return Ok(Some(lane.clone()));
        }
        if let (Way::Session, Some(lane)) = (self.way, self.session_lane()) {
            return Ok(Some(lane));
        }
        let context = match self.upstream_context() {
            Ok(context) => context,
            Err(reason) => {
                self.refuse_batch(&reason);
                return Ok(None);
            }
        };
        if self.lanes.as_ref().is_none_or(|lanes| !lanes.serve(&context)) {
            self.lanes = None;
            match self.route.clone().pool.lanes(&context).await {
                Ok(lanes) => self.lanes = Some(lanes),
                Err(refusal) => return self.refuse_all(&refusal).map(|()| None),
            }
        }
        let purpose = match self.way {
            Way::Lane(purpose) => purpose,
            Way::Session => Purpose::Write,
        };
        self.lane = self.lanes.as_ref().map(|lanes| lanes.pick(purpose));
        Ok(self.lane.clone())
    }

    /// Answers the batch with what the server says of this client. Whom it does not know any more, it
    /// would have disconnected.
    fn refuse_all(&mut self, refusal: &Refusal) -> Result<(), Close> {
        for _ in 0..self.batch.take_answers() {
            self.refused(refusal);
        }
        match refusal {
            Refusal::Server(error) if error.starts_with("WRONGPASS") => Err(Close::Gracefully),
            _ => Ok(()),
        }
    }

    pub(super) fn session_lane(&self) -> Option<Arc<Lane>> {
        let own = self.transaction.as_ref().map(|open| open.session().clone());
        own.or_else(|| self.pinned.clone())
    }

    /// The client's context with the database under the primary's number.
    pub(super) fn upstream_context(&self) -> Result<crate::lane::Context, String> {
        let client = &self.context;
        let db = self.route.databases.to(client.db);
        let db = db.ok_or_else(|| numbers::refusal(client.db))?;
        Ok(crate::lane::Context { db, ..client.clone() })
    }

    fn refuse_batch(&mut self, reason: &str) {
        for _ in 0..self.batch.take_answers() {
            self.blame(ClientErrorKind::Refused);
            self.error(&format!("ERR crossfade: {reason}"));
        }
    }

    /// Answers the batch as a server does while a script runs: a transaction may begin and end, but
    /// not hold anything.
    fn refuse_as_busy(&mut self, busy: &Bytes) {
        let busy = String::from_utf8_lossy(busy);
        for request in self.batch.take_requests() {
            if request.is(0, "MULTI") {
                self.reply(|out| resp::simple(out, "OK"));
            } else if request.is(0, "EXEC") {
                self.error(&format!("EXECABORT Transaction discarded because of: {busy}"));
            } else {
                self.error(&busy);
            }
        }
    }
}

fn kind(serve: Serve) -> CommandKind {
    match serve {
        Serve::Read { .. } => CommandKind::Read,
        Serve::Write | Serve::Barrier | Serve::Blocking | Serve::Script => CommandKind::Write,
        _ => CommandKind::Other,
    }
}

impl Batch {
    /// Steps that a server is to queue for an `EXEC`.
    pub(super) fn to_be_queued(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.meaning, Meaning::Queue)).count()
    }

    pub(super) fn ends_with_exec(&self) -> bool {
        self.steps.last().is_some_and(|step| matches!(step.meaning, Meaning::Exec(_)))
    }

    pub(super) fn clear(&mut self) {
        self.steps.clear();
    }

    /// How many replies its clients wait for; it is empty afterwards.
    fn take_answers(&mut self) -> usize {
        let answers = |step: Step| step.meaning.shape().answers(step.requests.len());
        self.steps.drain(..).map(answers).sum()
    }

    /// Gives up the steps: the requests that their client expects an answer to.
    fn take_requests(&mut self) -> Vec<Request> {
        let steps = std::mem::take(&mut self.steps).into_iter();
        steps.flat_map(Step::answered).collect()
    }

    /// Nobody waits for answers any more.
    pub(super) fn forget_reads(&mut self) {
        self.steps.retain(|step| !matches!(step.meaning, Meaning::Read));
    }

    /// Makes jobs of the first `most` steps.
    fn build(
        &mut self,
        most: usize,
        keyer: &Keyer,
        db: u32,
        mailbox: &Arc<Mailbox>,
        databases: &Databases,
    ) {
        self.jobs.clear();
        let Self { steps, jobs } = self;
        let steps = steps.get(..most).unwrap_or(steps);
        jobs.extend(steps.iter().map(|step| {
            let requests = step.translated(databases);
            let unit = step.meaning.unit(&requests, keyer, db, databases);
            step.job(requests, unit, mailbox)
        }));
    }
}

impl Step {
    /// The requests as the server has to get them.
    fn translated(&self, databases: &Databases) -> Requests {
        self.requests.iter().map(|request| numbers::translated(request, databases)).collect()
    }

    /// The requests that the client is answered one by one.
    fn answered(self) -> SmallVec<[Request; 1]> {
        match self.meaning {
            Meaning::Attempt(_) => self.requests.into_iter().skip(1).take(1).collect(),
            _ => self.requests,
        }
    }

    fn job(&self, requests: Requests, unit: Option<Unit>, mailbox: &Arc<Mailbox>) -> Job {
        let sink =
            if self.silent { Sink::Silent(mailbox.clone()) } else { Sink::Client(mailbox.clone()) };
        let shape = self.meaning.shape();
        let repeatable = matches!(self.meaning, Meaning::Read);
        Job { requests, unit: unit.map(Box::new), sink, shape, repeatable }
    }
}

impl Meaning {
    fn shape(&self) -> Shape {
        match self {
            Self::Attempt(_) => Shape::Attempt,
            Self::Queue => Shape::Queue,
            _ => Shape::Each,
        }
    }

    fn kind(&self) -> CommandKind {
        match self {
            Self::Read => CommandKind::Read,
            Self::Pass | Self::Queue => CommandKind::Other,
            Self::Write(..) | Self::Block(_) | Self::Exec(_) | Self::Attempt(_) => {
                CommandKind::Write
            }
        }
    }

    fn unit(
        &self,
        requests: &[Request],
        keyer: &Keyer,
        db: u32,
        databases: &Databases,
    ) -> Option<Unit> {
        match self {
            Self::Read | Self::Pass | Self::Queue => None,
            Self::Write(command, unknown) => {
                let request = requests.first()?.clone();
                Some(keyer.unit([keyer.write(*command, request, db, unknown)], false))
            }
            Self::Attempt(command) => {
                let request = requests.get(1)?.clone();
                Some(keyer.unit([keyer.write(Some(command), request, db, &[])], true))
            }
            Self::Block(queued) | Self::Exec(queued) => {
                let writes = queued.iter().map(|queued| {
                    let request = numbers::translated(&queued.request, databases);
                    // Where one of them leads elsewhere, probes behind all would ask there.
                    let db = databases.to(queued.db).unwrap_or(db);
                    if queued.writes {
                        keyer.write(queued.command, request, db, &queued.unknown_keys)
                    } else {
                        Write::passive(request, db)
                    }
                });
                Some(keyer.unit(writes, true))
            }
        }
    }
}
